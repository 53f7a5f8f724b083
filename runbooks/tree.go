package runbooks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jurymast/jurymast/runbooks/expr"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Bounds of a runbook with all that it runs.
const (
	// MaxSteps is the most steps of one runbook, those inside of its steps counted.
	MaxSteps = 50
	// MaxNodes is the most steps of a run.
	MaxNodes = 100
	// MaxDepth is how deep runbooks may run runbooks.
	MaxDepth = 3
	// MaxIncluded is the most runbooks that one may run, directly or not.
	MaxIncluded = 16
	// MaxStepID is the most bytes of the id of a step in a run.
	MaxStepID = 128
)

// Tree is a runbook with the steps inside of its steps, in the order in which files write them. It is made by Expand and
// never changed; safe for concurrent use.
type Tree struct {
	// Nodes are the steps. A step stands before the steps inside of it.
	Nodes []Node
	// Frames are the runbooks whose steps these are: the runbook itself first, then one for each `run_runbook` step.
	Frames []Frame
	// Top are the indexes of the runbook's own steps.
	Top []int
	// Included are the versions of the runbooks that are run, by name.
	Included map[string]int64
}

// Node is one step of a tree.
type Node struct {
	// ID of the step in the run: its own, with those of the `run_runbook` steps around it before, e.g. `sub.tell`.
	ID string
	// Step as its runbook has it.
	Step *jv1.Step
	// Parent is the index of the step it is part of, or -1.
	Parent int
	// Children are the indexes of the steps directly inside of it.
	Children []int
	// Frame is the index of the runbook it stands in.
	Frame int
	// Path of the step in that runbook, e.g. `steps[2].parallel.steps[1]`.
	Path string
}

// Frame is one runbook of a tree: its conditions and templates see its own parameters and steps, and no others.
type Frame struct {
	// Plan is the runbook.
	Plan *jv1.Runbook
	// Node is the index of the `run_runbook` step that runs it, or -1.
	Node int
	// Prefix stands before the ids of its steps: empty for the runbook itself.
	Prefix string
	// Nodes are the indexes of its steps, without those of the runbooks it runs.
	Nodes []int
}

// Plan is the runbook itself.
func (t *Tree) Plan() *jv1.Runbook { return t.Frames[0].Plan }

// Index returns the index of the step of that id, or -1.
func (t *Tree) Index(id string) int {
	return slices.IndexFunc(t.Nodes, func(n Node) bool { return n.ID == id })
}

// FrameOf is the runbook that the step at i stands in.
func (t *Tree) FrameOf(i int) Frame { return t.Frames[t.Nodes[i].Frame] }

// Scope is what conditions of the step at i may ask for.
func (t *Tree) Scope(i int) expr.Scope {
	frame := t.FrameOf(i)
	steps := make([]*jv1.Step, 0, len(frame.Nodes))
	for _, n := range frame.Nodes {
		steps = append(steps, t.Nodes[n].Step)
	}
	return Scope(frame.Plan, steps)
}

// Leaves counts the steps that have none inside of them.
func (t *Tree) Leaves() int {
	n := 0
	for i := range t.Nodes {
		if !IsContainer(StepKind(t.Nodes[i].Step)) {
			n++
		}
	}
	return n
}

// IsContainer tells whether steps of the kind are made of other steps.
func IsContainer(stepKind string) bool { return stepKind == "parallel" || stepKind == "run_runbook" }

// TreeError says why a runbook can't be laid out.
type TreeError struct {
	// Problems are what is wrong, with the paths of fields of the runbook itself.
	Problems []*jv1.Problem
	// Missing are the runbooks that are not known, by the path of the field that names one.
	Missing map[string]string
}

// Error tells the first problem.
func (e *TreeError) Error() string {
	for _, p := range e.Problems {
		return p.GetField() + ": " + p.GetMessage()
	}
	for _, field := range names(e.Missing) { // always the same one: triggers that it holds back keep the words
		return fmt.Sprintf("%s: there is no runbook %s", field, e.Missing[field])
	}
	return "the runbook can't be laid out"
}

// Expand lays a normalised runbook out with all that it runs. included returns the runbook of a name; nil: there is none.
// For a service that is not empty only that one must be among the services of what is run, otherwise all of the
// runbook's. The error is a *TreeError; the tree is then as much as there is.
func Expand(plan *jv1.Runbook, included func(name string) *jv1.Runbook, service string) (*Tree, error) {
	e := &expansion{tree: &Tree{}, included: included, services: plan.GetServices()}
	if service != "" {
		e.services = []string{service}
	}
	e.tree.Frames = []Frame{{Plan: plan, Node: -1}}
	e.tree.Top = e.steps(place{parent: -1, path: "steps", chain: []string{plan.GetName()}}, plan.GetSteps())
	if e.full {
		e.problem("steps", "there are more than %d steps with those of the runbooks it runs", MaxNodes)
	}
	e.rivals()
	if len(e.failure.Problems) > 0 || len(e.failure.Missing) > 0 {
		return e.tree, &e.failure
	}
	return e.tree, nil
}

// expansion is the work of Expand.
type expansion struct {
	tree     *Tree
	included func(string) *jv1.Runbook
	services []string
	failure  TreeError
	full     bool
}

// place is where steps stand.
type place struct {
	parent   int
	frame    int
	path     string   // of the list of steps, in its own runbook
	blame    string   // the field of the runbook itself that brings them in; empty: they are its own
	chain    []string // the runbooks around them, the own one first
	parallel bool     // they stand inside of a parallel step
}

func (e *expansion) problem(field, format string, args ...any) {
	e.failure.Problems = append(e.failure.Problems, &jv1.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

// field is the place of something in the runbook itself.
func (p place) field(own string) string {
	if p.blame != "" {
		return p.blame
	}
	return own
}

// steps adds a list of steps and returns their indexes.
func (e *expansion) steps(p place, list []*jv1.Step) []int {
	out := make([]int, 0, len(list))
	for i, step := range list {
		if len(e.tree.Nodes) == MaxNodes {
			e.full = true
			break
		}
		n, frame := len(e.tree.Nodes), &e.tree.Frames[p.frame]
		path := at(p.path, i)
		id := frame.Prefix + step.GetId()
		if len(id) > MaxStepID {
			e.problem(p.field(path+".id"), "the id %s is longer than %d bytes", id, MaxStepID)
		}
		out = append(out, n)
		frame.Nodes = append(frame.Nodes, n)
		e.tree.Nodes = append(e.tree.Nodes, Node{ID: id, Step: step, Parent: p.parent, Frame: p.frame, Path: path})
		inner := p
		inner.parent = n
		switch action := step.GetAction().(type) {
		case *jv1.Step_Parallel:
			if p.parallel {
				e.problem(p.field(path+".parallel"), "steps that run side by side can't hold further ones that do%s", p.where(path))
				continue
			}
			inner.path, inner.parallel = path+".parallel.steps", true
			e.tree.Nodes[n].Children = e.steps(inner, action.Parallel.GetSteps())
		case *jv1.Step_RunRunbook:
			e.tree.Nodes[n].Children = e.include(inner, path, id, action.RunRunbook)
		}
	}
	return out
}

// where says in which runbook a problem stands when it is not the own one.
func (p place) where(path string) string {
	if p.blame == "" {
		return ""
	}
	return fmt.Sprintf(" (in %s, %s)", p.chain[len(p.chain)-1], path)
}

// include adds the steps of another runbook.
func (e *expansion) include(p place, path, id string, run *jv1.RunRunbookStep) []int {
	name, own := run.GetRunbook(), path
	path = p.field(own + ".run_runbook.runbook")
	book := e.included(name)
	switch {
	case slices.Contains(p.chain, name):
		e.problem(path, "%s runs itself: %s", name, strings.Join(append(slices.Clone(p.chain), name), " -> "))
		return nil
	case len(p.chain) > MaxDepth:
		e.problem(path, "runbooks may run runbooks at most %d deep: %s", MaxDepth, strings.Join(append(slices.Clone(p.chain), name), " -> "))
		return nil
	case book == nil:
		if e.failure.Missing == nil {
			e.failure.Missing = map[string]string{}
		}
		e.failure.Missing[path] = name
		return nil
	}
	book = Normalize(book)
	for _, s := range e.services {
		if !slices.Contains(book.GetServices(), s) {
			e.problem(path, "%s is not for the service %s: it is for %s", name, s, strings.Join(book.GetServices(), ", "))
		}
	}
	e.given(p, own, run, book)
	if e.tree.Included == nil {
		e.tree.Included = map[string]int64{}
	}
	if _, known := e.tree.Included[name]; !known && len(e.tree.Included) == MaxIncluded {
		e.problem(path, "more than %d runbooks are run", MaxIncluded)
		return nil
	}
	e.tree.Included[name] = book.GetVersion()
	e.tree.Frames = append(e.tree.Frames, Frame{Plan: book, Node: p.parent, Prefix: id + "."})
	p.frame, p.path, p.chain = len(e.tree.Frames)-1, "steps", append(slices.Clone(p.chain), name)
	p.blame = path
	return e.steps(p, book.GetSteps())
}

// given checks the parameters that a step gives to the runbook it runs.
func (e *expansion) given(p place, path string, run *jv1.RunRunbookStep, book *jv1.Runbook) {
	for _, name := range names(run.GetParameters()) {
		if _, ok := book.GetParameters()[name]; !ok {
			e.problem(p.field(quoted(path+".run_runbook.parameters", name)), "the runbook %s has no parameter %q%s",
				book.GetName(), name, alternatives(name, names(book.GetParameters())))
		}
	}
	for _, name := range names(book.GetParameters()) {
		if _, ok := run.GetParameters()[name]; !ok && book.GetParameters()[name].GetRequired() {
			e.problem(p.field(path+".run_runbook.parameters"), "the runbook %s needs the parameter %s", book.GetName(), name)
		}
	}
}

// rivals finds steps that run side by side and change the same: which one wins would be chance.
func (e *expansion) rivals() {
	for i := range e.tree.Nodes {
		if e.tree.Nodes[i].Step.GetParallel() == nil {
			continue
		}
		first := map[string]int{}
		for _, child := range e.tree.Nodes[i].Children {
			changed := e.changes(child)
			for _, what := range names(changed) {
				by := changed[what]
				other, taken := first[what]
				if !taken {
					first[what] = by
					continue
				}
				e.problem(e.placeOf(by), "%s changes %s, and so does %s, which runs at the same time: let one follow the other",
					e.tree.Nodes[by].ID, what, e.tree.Nodes[other].ID)
			}
		}
	}
}

// changes tells what a step and those inside of it change of the service, and by which step first.
func (e *expansion) changes(i int) map[string]int {
	out := map[string]int{}
	switch StepKind(e.tree.Nodes[i].Step) {
	case "switch_provider", "set_weight":
		out["the route"] = i
	case "enable_queueing", "disable_queueing", "drain_queue":
		out["queueing"] = i
	case "update_incident":
		out["the incident"] = i
	}
	for _, child := range e.tree.Nodes[i].Children {
		for what, by := range e.changes(child) {
			if _, ok := out[what]; !ok {
				out[what] = by
			}
		}
	}
	return out
}

// placeOf is the field of the runbook itself by which a step comes in.
func (e *expansion) placeOf(i int) string {
	n := e.tree.Nodes[i]
	if n.Frame == 0 {
		return n.Path + "." + StepKind(n.Step)
	}
	for n.Frame != 0 {
		n = e.tree.Nodes[e.tree.Frames[n.Frame].Node]
	}
	return n.Path + ".run_runbook.runbook"
}
