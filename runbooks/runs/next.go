package runs

import (
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// Action is what is to be done with a run now.
type Action uint8

// The actions.
const (
	// Advance the step at Index: it has not begun, or acts, or waits for a time or a condition.
	Advance Action = iota
	// Await a human; the step at Index, if not negative, is one that waits.
	Await
	// Hold the run: a human asked to pause it and nothing is under way.
	Hold
	// Stop the call of the step at Index that may be under way: what it is part of is over.
	Stop
	// Cancel the step at Index, which nothing is under way in: what it is part of is over.
	Cancel
	// Complete the step at Index: the steps inside of it are done.
	Complete
	// Fail the step at Index: the steps inside of it failed and none of them is open any more.
	Fail
	// Undo the step at Index.
	Undo
	// Compensate: begin to undo, then end as State.
	Compensate
	// End the run as State.
	End
)

// Decision is one thing that [Next] decided, and why.
type Decision struct {
	Action Action
	// Index of the step, or -1.
	Index int
	// State to end in, with Compensate and End.
	State jv1.RunState
	// Reason in words.
	Reason string
}

// Next decides what is to be done with a run now: one thing for each of its branches, or one for the whole run. It gives
// nothing for a run that has ended. The tree is that of the runbook revisions the run was created from.
//
// Nothing is ended while something inside of it is open: a call under way is stopped first, and where nobody knows what
// became of one a human says so, except when a human canceled the run or its time is up.
func Next(run *jv1.Run, tree *runbooks.Tree, now time.Time) []Decision {
	switch {
	case Ended(run.GetState()):
		return nil
	case run.GetState() == compensating:
		return []Decision{nextUndo(run, tree)}
	}
	w := &walk{run: run, tree: tree, now: now}
	end := w.top()
	switch {
	case run.GetCancelRequested():
		return w.quit(w.cancel())
	case overdue(run, now):
		return w.quit(Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_FAILED, Reason: "the run's time is up"})
	case Held(run):
		return append(w.only(Await), Decision{Action: Await, Index: -1})
	case w.undo != nil:
		return w.quiet(*w.undo)
	case end != nil:
		return []Decision{*end}
	case run.GetPauseRequested() && run.GetState() == running:
		return w.pause()
	}
	return w.do
}

// walk goes over the steps of a run that are open.
type walk struct {
	run  *jv1.Run
	tree *runbooks.Tree
	now  time.Time

	do   []Decision
	at   []int     // the steps that are open or failed
	undo *Decision // a step failed whose plan says that everything is to be undone
}

func (w *walk) add(a Action, i int, reason string) {
	w.do = append(w.do, Decision{Action: a, Index: i, Reason: reason})
}

func (w *walk) state(i int) jv1.StepState { return w.run.GetSteps()[i].GetState() }

func (w *walk) ended(i int) bool { return StepEnded(w.state(i)) }

// top walks the run's own steps. It returns how the run ends when they are done with.
func (w *walk) top() *Decision {
	open, failed := w.sequence(w.tree.Top)
	switch {
	case open || w.undo != nil:
		return nil
	case failed >= 0:
		return &Decision{Action: End, Index: -1, State: w.failedAs(failed), Reason: w.reason(failed)}
	}
	return &Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_SUCCEEDED, Reason: "every step is done"}
}

// sequence walks steps that follow each other up to the first that is not done with: it is open, or has failed. A failed
// step is done with when the plan says to continue.
func (w *walk) sequence(steps []int) (open bool, failed int) {
	for _, i := range steps {
		switch {
		case !w.ended(i):
			w.open(i)
			return true, -1
		case w.state(i) == jv1.StepState_STEP_STATE_FAILED && w.onFailure(i) != jv1.OnFailure_ON_FAILURE_CONTINUE,
			w.state(i) == jv1.StepState_STEP_STATE_CANCELED:
			w.at = append(w.at, i)
			if w.state(i) == jv1.StepState_STEP_STATE_FAILED && w.onFailure(i) == jv1.OnFailure_ON_FAILURE_COMPENSATE {
				w.undo = &Decision{Action: Compensate, Index: -1, State: w.failedAs(i), Reason: w.reason(i)}
			}
			return false, i
		}
	}
	return false, -1
}

// open decides about a step that has not ended.
func (w *walk) open(i int) {
	w.at = append(w.at, i)
	s := w.run.GetSteps()[i]
	switch {
	case Waits(s):
		w.add(Await, i, "")
	case s.GetState() == jv1.StepState_STEP_STATE_PENDING || !runbooks.IsContainer(s.GetKind()):
		w.add(Advance, i, "")
	case w.run.GetState() == running && s.GetDeadline() != nil && !w.now.Before(s.GetDeadline().AsTime()):
		w.close(i, "the step's time is up")
	case w.tree.Nodes[i].Step.GetParallel() != nil:
		w.parallel(i)
	default:
		open, failed := w.sequence(w.tree.Nodes[i].Children)
		switch {
		case open || w.undo != nil:
		case failed >= 0:
			w.add(Fail, i, w.reason(failed))
		default:
			w.add(Complete, i, "")
		}
	}
}

// parallel walks steps that run side by side.
func (w *walk) parallel(i int) {
	if reason := w.verdict(i); reason != "" {
		w.close(i, reason)
		return
	}
	open := false
	for _, child := range w.tree.Nodes[i].Children {
		if !w.ended(child) {
			open = true
			w.open(child)
		}
	}
	if !open {
		w.add(Complete, i, "")
	}
}

// verdict says why a parallel step has failed; empty: it has not. Steps that were skipped count neither way, and those that
// were stopped only when there is nothing else to say.
func (w *walk) verdict(i int) string {
	parallel := w.tree.Nodes[i].Step.GetParallel()
	failed, stopped, open, others := -1, -1, false, false
	for k, child := range w.tree.Nodes[i].Children {
		switch w.state(child) {
		case jv1.StepState_STEP_STATE_FAILED:
			if failed < 0 && (parallel.GetFailOn() != jv1.FailOn_FAIL_ON_ESSENTIAL || parallel.GetSteps()[k].GetEssential()) {
				failed = child
			}
		case jv1.StepState_STEP_STATE_CANCELED:
			stopped = child
		case jv1.StepState_STEP_STATE_SKIPPED:
		default:
			open, others = open || !w.ended(child), true
		}
	}
	switch {
	case failed >= 0 && parallel.GetFailOn() != jv1.FailOn_FAIL_ON_ALL:
		return w.reason(failed)
	case stopped >= 0 && !open:
		return w.reason(stopped)
	case failed >= 0 && !others && stopped < 0:
		return "every step failed; " + w.reason(failed)
	}
	return ""
}

// close ends a step whose steps inside are over, once none of them is open.
func (w *walk) close(i int, reason string) {
	if !w.stop(w.tree.Nodes[i].Children) {
		w.add(Fail, i, reason)
	}
}

// stop stops steps and those inside of them, and tells whether one is open yet.
func (w *walk) stop(steps []int) (open bool) {
	for _, i := range steps {
		s := w.run.GetSteps()[i]
		switch {
		case StepEnded(s.GetState()) || s.GetState() == jv1.StepState_STEP_STATE_PENDING:
			continue
		case s.GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN:
			w.add(Await, i, "")
		case InFlight(s):
			w.add(Stop, i, "")
		case !w.stop(w.tree.Nodes[i].Children):
			w.add(Cancel, i, "")
		}
		w.at = append(w.at, i)
		open = true
	}
	return open
}

// cancel is how a run ends that a human canceled: undone when a step that is not done with, or one around it, says so, or
// one that is yet to come.
func (w *walk) cancel() Decision {
	d := Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_CANCELED, Reason: w.run.GetOutcome()}
	for _, i := range w.at {
		if w.onFailure(i) == jv1.OnFailure_ON_FAILURE_COMPENSATE {
			d.Action = Compensate
		}
	}
	for i, s := range w.run.GetSteps() {
		if s.GetState() == jv1.StepState_STEP_STATE_PENDING && w.onFailure(i) == jv1.OnFailure_ON_FAILURE_COMPENSATE {
			d.Action = Compensate
		}
	}
	return d
}

// quit ends the run once no call is under way.
func (w *walk) quit(d Decision) []Decision {
	var out []Decision
	for i, s := range w.run.GetSteps() {
		if InFlight(s) {
			out = append(out, Decision{Action: Stop, Index: i})
		}
	}
	if len(out) == 0 {
		out = append(out, d)
	}
	return out
}

// quiet carries a decision about the whole run out once nothing is under way, and nothing is unknown.
func (w *walk) quiet(d Decision) []Decision {
	w.do = nil
	for i, s := range w.run.GetSteps() {
		switch {
		case s.GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN:
			w.add(Await, i, "")
		case InFlight(s):
			w.add(Stop, i, "")
		}
	}
	if len(w.do) == 0 {
		w.do = []Decision{d}
	}
	return w.do
}

// pause lets what is under way end, and holds the run then.
func (w *walk) pause() []Decision {
	out := w.only(Await)
	flying := false
	for _, d := range w.do {
		if d.Index >= 0 && InFlight(w.run.GetSteps()[d.Index]) {
			out, flying = append(out, d), true
		}
	}
	if !flying {
		out = append(out, Decision{Action: Hold, Index: -1, Reason: "a human asked to pause"})
	}
	return out
}

func (w *walk) only(a Action) []Decision {
	return slices.DeleteFunc(slices.Clone(w.do), func(d Decision) bool { return d.Action != a })
}

func (w *walk) onFailure(i int) jv1.OnFailure { return w.tree.Nodes[i].Step.GetOnFailure() }

func (w *walk) reason(i int) string {
	s := w.run.GetSteps()[i]
	if s.GetState() == jv1.StepState_STEP_STATE_CANCELED {
		return "step " + s.GetId() + " was stopped"
	}
	return "step " + s.GetId() + " failed: " + s.GetError()
}

// failedAs is how a run ends that fails with a step: a human who rejects what is asked cancels the run.
func (w *walk) failedAs(i int) jv1.RunState {
	if w.rejected(i) {
		return jv1.RunState_RUN_STATE_CANCELED
	}
	return jv1.RunState_RUN_STATE_FAILED
}

func (w *walk) rejected(i int) bool {
	if w.state(i) != jv1.StepState_STEP_STATE_FAILED {
		return false
	}
	return slices.ContainsFunc(w.run.GetSteps()[i].GetDecisions(), func(d *jv1.Decision) bool { return !d.GetApproved() }) ||
		slices.ContainsFunc(w.tree.Nodes[i].Children, w.rejected)
}

func overdue(run *jv1.Run, now time.Time) bool {
	return run.GetState() == running && run.GetDeadline() != nil && !now.Before(run.GetDeadline().AsTime())
}
