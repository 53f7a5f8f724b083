package runbooks

import (
	"fmt"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Outline says what a run of a runbook would do, as far as the runbooks alone tell: its steps in words, which of them are
// applied in the transaction that creates a run that acts at once, how each is undone, and the most transactions a run
// needs. included returns the runbooks that it runs by name, nil for one that isn't known; it may be nil itself. Guards,
// health, conditions and the limits of one transaction are not looked at; service, would_start, guard and detail stay
// empty.
func Outline(rb *jv1.Runbook, included func(name string) *jv1.Runbook) *jv1.Plan {
	n := Normalize(rb)
	if included == nil {
		included = func(string) *jv1.Runbook { return nil }
	}
	tree, _ := Expand(n, included, "") // what is wrong with it is told by Validate
	o := &outline{tree: tree, kinds: kinds(), transactions: 1, plan: &jv1.Plan{Runbook: n.GetName()}}
	o.sequence(tree.Top, true)
	o.plan.MaxTransactions = int32(min(o.transactions, tree.Leaves()+1))
	return o.plan
}

// outline is the work of Outline.
type outline struct {
	tree         *Tree
	kinds        map[string]kind
	plan         *jv1.Plan
	transactions int
}

// sequence plans steps that follow each other; fused tells whether all before them is applied with the start. It tells
// whether they are, too.
func (o *outline) sequence(steps []int, fused bool) bool {
	for _, i := range steps {
		fused = o.step(i, fused)
	}
	return fused
}

func (o *outline) step(i int, fused bool) bool {
	node := o.tree.Nodes[i]
	name := StepKind(node.Step)
	k := o.kinds[name]
	planned := &jv1.PlannedStep{
		Id: node.ID, Kind: name, Condition: node.Step.GetIf(), Compensation: compensationSummary(node.Step),
	}
	if node.Parent >= 0 {
		planned.Parent = o.tree.Nodes[node.Parent].ID
	}
	if k.summary != nil {
		planned.Summary = k.summary(node.Step)
	}
	o.plan.Steps = append(o.plan.Steps, planned)
	switch {
	case node.Step.GetParallel() != nil:
		all := fused
		for _, child := range node.Children {
			all = o.step(child, fused) && all
		}
		planned.Fused = all
		return all
	case node.Step.GetRunRunbook() != nil:
		planned.Fused = o.sequence(node.Children, fused && len(node.Children) > 0)
		return planned.Fused
	}
	planned.Fused = fused && k.inStore
	// A switch that has to be confirmed is applied at once, and waits for its proof; so a drain for its end.
	if node.Step.GetSwitchProvider().GetConfirm() != nil || node.Step.GetDrainQueue() != nil || !planned.Fused {
		o.transactions++
		return false
	}
	return true
}

func switchSummary(step *jv1.Step) string {
	s := step.GetSwitchProvider()
	text := "switch to "
	switch to := s.GetTo(); {
	case len(to) == 1 && to[0] == "any":
		text += "the first provider, in order of preference, that passes the guards"
	case len(to) == 1 && to[0] == "preferred":
		text += "the preferred provider"
	case len(to) == 1:
		text += to[0]
	default:
		text += "the first of " + strings.Join(to, ", ") + " that passes the guards"
	}
	confirm := s.GetConfirm()
	if confirm == nil {
		return text
	}
	within := defaultConfirm
	if d := confirm.GetWithin(); d != nil {
		within = d.AsDuration()
	}
	proof := "its health is good"
	if confirm.GetDetector() != "" {
		proof = confirm.GetDetector() + " says it is good"
	}
	return fmt.Sprintf("%s; provisional until %s%s within %s, otherwise the next one", text, proof, times(max(confirm.GetSuccesses(), 1)), words(within))
}

func times(n int32) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" %d times", n)
}

func notifySummary(step *jv1.Step) string {
	n := step.GetNotify()
	what := n.GetTemplate()
	if what == "" {
		what = "a message of its own"
	}
	return fmt.Sprintf("tell %s: %s", strings.Join(n.GetChannels(), ", "), what)
}

func approvalSummary(step *jv1.Step) string {
	a := step.GetApproval()
	who := "an operator"
	if len(a.GetApprovers()) > 0 {
		who = strings.Join(a.GetApprovers(), ", ")
	}
	text := "ask " + who
	if a.GetCount() > 1 {
		text = fmt.Sprintf("%s, of whom %d must approve", text, a.GetCount())
	}
	if a.GetText() != "" {
		text += ": " + a.GetText()
	}
	return text
}

func waitSummary(step *jv1.Step) string {
	w := step.GetWait()
	if w.GetUntil() == "" {
		return "wait " + words(w.GetDuration().AsDuration())
	}
	text := "wait until " + w.GetUntil()
	if t := step.GetTimeout(); t != nil {
		text += ", at most " + words(t.AsDuration())
	}
	return text
}

func verifySummary(step *jv1.Step) string {
	v := step.GetVerify()
	who := v.GetProvider()
	if who == "active" || who == "preferred" {
		who = "the " + who + " provider"
	}
	text := "verify that " + who + " is healthy"
	if d := v.GetFor(); d != nil && d.AsDuration() > 0 {
		text += " for " + words(d.AsDuration())
	}
	return text
}

func requestSummary(step *jv1.Step) string {
	r := step.GetHttpRequest()
	return fmt.Sprintf("%s %s", r.GetMethod(), r.GetUrl())
}
