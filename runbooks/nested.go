package runbooks

import (
	"errors"
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Steps lists the steps of a runbook with those inside of its `parallel` steps, in the order of the file; not those of the
// runbooks it runs.
func Steps(rb *jv1.Runbook) []*jv1.Step { return flat(rb.GetSteps()) }

func flat(steps []*jv1.Step) []*jv1.Step {
	out := make([]*jv1.Step, 0, len(steps))
	for _, s := range steps {
		out = append(out, s)
		out = append(out, flat(s.GetParallel().GetSteps())...)
	}
	return out
}

// included lists the runbooks that a runbook itself runs.
func included(rb *jv1.Runbook) []string {
	var list []string
	for _, s := range Steps(rb) {
		if name := s.GetRunRunbook().GetRunbook(); name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// includers lists the stored runbooks that run the runbook of that name, directly or not.
func (c *Catalog) includers(name string) []string {
	found := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, other := range names(c.Runbooks) {
			if found[other] {
				continue
			}
			if slices.ContainsFunc(included(c.Runbooks[other]), func(n string) bool { return n == name || found[n] }) {
				found[other], grown = true, true
			}
		}
	}
	return names(found)
}

// checkTree lays the runbook out with those that it runs.
func (c *runbookCheck) checkTree() {
	if n := len(Steps(c.rb)); n > MaxSteps {
		c.problem("steps", "there are %d steps with those inside of others, at most %d are allowed", n, MaxSteps)
	}
	_, err := Expand(c.rb, func(name string) *jv1.Runbook { return c.catalog.Runbooks[name] }, "")
	e, ok := errors.AsType[*TreeError](err)
	if !ok {
		return
	}
	for _, p := range e.Problems {
		c.problem(p.GetField(), "%s", p.GetMessage())
	}
	for _, field := range names(e.Missing) {
		c.missing(field, "runbook", e.Missing[field], names(c.catalog.Runbooks))
	}
}

// checkParallel looks at steps that run side by side. What they are of themselves is checked as for all steps.
func checkParallel(s *stepCheck) {
	parallel := s.step.GetParallel()
	essential := false
	for i, child := range parallel.GetSteps() {
		path := at(s.field("steps"), i)
		essential = essential || child.GetEssential()
		if child.GetEssential() && parallel.GetFailOn() != jv1.FailOn_FAIL_ON_ESSENTIAL {
			s.warn("%s.essential: it counts only with fail_on: essential", path)
		}
		switch child.GetOnFailure() {
		case jv1.OnFailure_ON_FAILURE_CONTINUE, jv1.OnFailure_ON_FAILURE_COMPENSATE:
			s.problem(path+".on_failure", "what a failure does here is said by fail_on; only pause may be given")
		}
	}
	if parallel.GetFailOn() == jv1.FailOn_FAIL_ON_ESSENTIAL && !essential {
		s.problem(s.field("fail_on"), "no step is essential, so nothing could fail it: mark one with essential: true")
	}
}

// checkRunRunbook looks at what is given to a runbook inside; whether it fits is seen when all is laid out.
func checkRunRunbook(s *stepCheck) {
	run := s.step.GetRunRunbook()
	book := s.catalog.Runbooks[run.GetRunbook()]
	for _, name := range names(run.GetParameters()) {
		field, src := quoted(s.field("parameters"), name), run.GetParameters()[name]
		s.text(field, src, MaxParameter, s.earlier())
		declared, ok := book.GetParameters()[name]
		if !ok || strings.Contains(src, "{{") {
			continue // what a template gives is judged when the step begins
		}
		if reason, text := parameterProblem(declared, src); reason != "" {
			s.problem(field, "%s", text)
		} else if isProvider(declared) {
			s.provider(field, src)
		}
	}
}

func parallelSummary(step *jv1.Step) string {
	switch step.GetParallel().GetFailOn() {
	case jv1.FailOn_FAIL_ON_ESSENTIAL:
		return "side by side; fails with the first essential step that fails"
	case jv1.FailOn_FAIL_ON_ALL:
		return "side by side; fails when every step failed"
	default:
		return "side by side; fails with the first step that fails"
	}
}

func runSummary(step *jv1.Step) string {
	run := step.GetRunRunbook()
	text := "run the steps of " + run.GetRunbook()
	var given []string
	for _, name := range names(run.GetParameters()) {
		given = append(given, name+"="+run.GetParameters()[name])
	}
	if len(given) > 0 {
		text += " with " + strings.Join(given, ", ")
	}
	return text
}
