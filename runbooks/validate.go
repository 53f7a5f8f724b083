package runbooks

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	// MaxRunbook is the most bytes that a runbook may have in its wire format.
	MaxRunbook = 32 << 10
	// DefaultTimeout is how long a run may act when its runbook doesn't say.
	DefaultTimeout = 24 * time.Hour
	// DefaultCooldown is how long a runbook that doesn't say is held back after a run of it.
	DefaultCooldown = 5 * time.Minute
	// DefaultCooldownMax is the longest cooldown after relapses when a runbook doesn't say.
	DefaultCooldownMax = 2 * time.Hour
)

// celKeywords can't be selected in an expression: `steps.in.failed` doesn't parse.
var celKeywords = []string{"true", "false", "null", "in"}

// Validate finds what is wrong with a runbook, given or normalised, against what is known: problems that keep it from
// being stored, each with the path of its field, and warnings about what will not work as it may look. The catalog may
// be nil, see Catalog.
func Validate(rb *jv1.Runbook, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	r := newReport("runbook", rb.GetName(), catalog)
	validateRunbook(r, rb)
	return r.problems, r.warnings
}

// runbookCheck is what the checks of one runbook share.
type runbookCheck struct {
	*report
	rb       *jv1.Runbook // normalised
	services []*jv1.Service
	timeout  time.Duration
}

func validateRunbook(r *report, rb *jv1.Runbook) {
	if rb == nil {
		r.problem("", "must be given")
		return
	}
	if size := proto.Size(rb); size > MaxRunbook {
		r.problem("", "the runbook has %d bytes, at most %d are allowed", size, MaxRunbook)
		return
	}
	r.rules(rb)
	c := &runbookCheck{report: r, rb: Normalize(rb), timeout: DefaultTimeout}
	if d := rb.GetTimeout(); d != nil {
		c.timeout = d.AsDuration()
	}
	c.checkServices()
	c.checkOn()
	c.checkCooldown()
	c.checkParameters()
	c.checkEscalation()
	c.checkIDs(map[string]string{}, "steps", c.rb.GetSteps())
	c.checkSteps("steps", c.rb.GetSteps(), rb.GetSteps(), nil, false)
	c.checkTree()
}

func (c *runbookCheck) checkServices() {
	for i, name := range c.rb.GetServices() {
		if s, ok := c.catalog.Services[name]; ok {
			c.services = append(c.services, s)
		} else {
			c.missing(at("services", i), "service", name, names(c.catalog.Services))
		}
	}
}

// checkOn looks at what starts the runbook, and at what only makes sense when something does.
func (c *runbookCheck) checkOn() {
	on := c.rb.GetOn()
	if on == nil && !c.scheduled() {
		if c.rb.GetGuards() != nil {
			c.warn("guards hold only automatic starts back, and nothing starts it: give on")
		}
		if level := c.rb.GetAutomation().GetDefault(); level == jv1.AutomationLevel_AUTOMATION_LEVEL_ACT {
			c.warn("automation is about automatic starts, and nothing starts it: give on")
		}
	} else if on != nil && !slices.Contains([]string{"active", "preferred", "any"}, on.GetProvider()) {
		c.provider("on.provider", on.GetProvider())
	}
	if rto := c.rb.GetObjective().GetRto(); rto != nil && rto.AsDuration() > c.timeout {
		c.problem("objective.rto", "the objective of %s is longer than a run may take, %s", words(rto.AsDuration()), words(c.timeout))
	}
}

// checkCooldown looks at what holds automatic starts back.
func (c *runbookCheck) checkCooldown() {
	g := c.rb.GetGuards()
	d := DefaultCooldown
	if g.GetCooldown() != nil {
		d = g.GetCooldown().AsDuration()
	}
	if most := g.GetCooldownMax(); most != nil && most.AsDuration() < d {
		c.problem("guards.cooldown_max", "the longest cooldown, %s, is shorter than the first, %s", words(most.AsDuration()), words(d))
	}
}

// scheduled tells whether a schedule starts the runbook.
func (c *runbookCheck) scheduled() bool {
	for _, s := range c.catalog.Schedules {
		if s.GetRunbook() == c.rb.GetName() {
			return true
		}
	}
	return false
}

// provider checks that a name is a provider of every service the runbook may run for.
func (c *runbookCheck) provider(field, name string) {
	for _, s := range c.services {
		if list := providerNames(s); !slices.Contains(list, name) {
			c.problem(field, "%s is not a provider of %s%s", name, s.GetName(), alternatives(name, list))
			return
		}
	}
}

// checkIDs finds ids that are taken: they are unique in the whole runbook. The normalised runbook has one for each step.
func (c *runbookCheck) checkIDs(taken map[string]string, path string, steps []*jv1.Step) {
	for i, step := range steps {
		id, field := step.GetId(), at(path, i)
		if first, ok := taken[id]; ok && id != "" {
			c.problem(field+".id", "the id %s is taken by %s: give the steps different ids", id, first)
		} else {
			taken[id] = field
			if slices.Contains(celKeywords, id) {
				c.problem(field+".id", "%s is a word of the expression language and can't be an id", id)
			}
		}
		c.checkIDs(taken, field+".parallel.steps", step.GetParallel().GetSteps())
	}
}

// parameters checks that every parameter something names is declared.
func (c *runbookCheck) parameters(field string, used []string) {
	for _, name := range used {
		if _, ok := c.rb.GetParameters()[name]; !ok {
			c.problem(field, "the parameter %q is not declared%s", name, alternatives(name, names(c.rb.GetParameters())))
		}
	}
}

// channels checks that every channel exists.
func (c *runbookCheck) channels(field string, channels []string) {
	for i, name := range channels {
		if _, ok := c.catalog.Channels[name]; !ok {
			c.missing(at(field, i), "channel", name, names(c.catalog.Channels))
		}
	}
}

// words shows a duration as files write it: 2h instead of 2h0m0s.
func words(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
