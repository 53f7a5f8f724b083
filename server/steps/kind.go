package steps

import (
	"context"
	"fmt"
	"maps"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/continuity"
)

// Kind is one kind of step. Implementations are safe for concurrent use.
type Kind interface {
	// Advance decides what happens next in a step that has not ended.
	Advance(in *Input) Move
	// Undo takes back what the step did, for compensation, and says in words what it did or why it could not. It is
	// called only for steps whose record holds what they replaced.
	Undo(in *Input) string
}

// Input is what a kind decides on.
type Input struct {
	// Run and At are the run and the step's part of it; they must not be changed.
	Run *jv1.Run
	At  *jv1.StepRun
	// Step is the plan's step.
	Step *jv1.Step
	// Plan is the runbook revision the run was created from.
	Plan *jv1.Runbook
	// Tree is that revision with those that it runs, Node the index of the step in it.
	Tree *runbooks.Tree
	Node int
	// Desk is the workspace of the run's service; its Now is the time to decide by.
	Desk *continuity.Workspace
	// Owner is the session that executes the run.
	Owner *jv1.Owner
	// Conditions keeps compiled conditions.
	Conditions *Conditions
}

// Frame is the runbook the step stands in: its conditions and templates see that one's steps and parameters alone.
func (in *Input) Frame() runbooks.Frame { return in.Tree.FrameOf(in.Node) }

// Params are the parameters that the step sees.
func (in *Input) Params() map[string]string { return runs.Parameters(in.Run, in.Tree, in.Node) }

// Then is what follows a move.
type Then uint8

// What can follow a move.
const (
	// Again: the event is folded, and the run is decided about anew in the same transaction.
	Again Then = iota
	// Sleep: nothing to do until the facts change or Until has come.
	Sleep
	// Call: once the event, an intent, is stored, the call is made; what it returns is folded next.
	Call
)

// Move is what happens next in a step.
type Move struct {
	Then Then
	// Event is what happened; a zero Kind is nothing to record.
	Event runs.Event
	// Until is when to look again at the latest, with Sleep; zero: only when the facts change.
	Until time.Time
	// Held is the guard the step sleeps for, with Sleep; nil: none.
	Held *continuity.Refusal
	// Call makes the outside call and returns what became of it, with Call. It ends soon after its context does.
	Call func(ctx context.Context) runs.Event
}

// Facts collects what conditions may ask about.
func (in *Input) Facts() expr.Facts {
	w := in.Desk
	f := expr.Facts{
		Phase: w.Phase(), Service: w.Name(), Provider: in.Run.GetProvider(), Active: w.Active(), Preferred: w.Preferred(),
		Queueing: w.State().GetQueueing(), Health: map[string]jv1.HealthState{},
		Params: in.Params(), Steps: map[string]expr.StepFacts{},
	}
	for _, p := range w.Service.Msg.GetProviders() {
		f.Health[p.GetName()] = w.Health(p.GetName()).Msg.GetState()
	}
	for _, i := range in.Frame().Nodes {
		s := in.Run.GetSteps()[i]
		f.Steps[in.Tree.Nodes[i].Step.GetId()] = expr.StepFacts{
			Succeeded: s.GetState() == jv1.StepState_STEP_STATE_SUCCEEDED,
			Failed:    s.GetState() == jv1.StepState_STEP_STATE_FAILED,
			Skipped:   s.GetState() == jv1.StepState_STEP_STATE_SKIPPED,
			Output:    given(in.Tree.Nodes[i].Step, s),
		}
	}
	return f
}

// given is what a step gave. A record keeps no empty texts: an output that a step which succeeded has declared, and that
// is not there, is one.
func given(step *jv1.Step, s *jv1.StepRun) map[string]string {
	outputs := step.GetHttpRequest().GetOutputs()
	if s.GetState() != jv1.StepState_STEP_STATE_SUCCEEDED || len(outputs) == 0 {
		return s.GetOutput()
	}
	out := map[string]string{}
	for name := range outputs {
		out[name] = ""
	}
	maps.Copy(out, s.GetOutput())
	return out
}

// DryRun tells whether nothing may be changed.
func (in *Input) DryRun() bool { return in.Run.GetMode() == jv1.RunMode_RUN_MODE_DRY_RUN }

// Author is who the changes of the run are by.
func (in *Input) Author() continuity.Author {
	return continuity.Author{
		Run: in.Run.GetName(), Actor: in.Run.GetActor(), Machine: in.Run.GetTrigger() != "",
		Reason: fmt.Sprintf("%s: %s", in.Run.GetRunbook(), in.Run.GetReason()),
	}
}

// checkAutomation refuses a machine's run where somebody else stopped the machines, or a human overruled the guards.
// Humans' runs are never stopped.
func (in *Input) checkAutomation() *continuity.Refusal {
	if in.Run.GetTrigger() == "" {
		return nil
	}
	return in.Desk.CheckMachine(in.Run.GetName())
}

// started is when the step began: now, when it has not yet.
func (in *Input) started() time.Time {
	if t := in.At.GetStartTime(); t != nil {
		return t.AsTime()
	}
	return in.Desk.Now
}

// deadline is when the step fails if it has not ended: what the record says, else the plan's timeout, else the default
// of its kind. The zero time: never.
func (in *Input) deadline(byDefault time.Duration) time.Time {
	if t := in.At.GetDeadline(); t != nil {
		return t.AsTime()
	}
	if d := in.Step.GetTimeout(); d != nil {
		byDefault = d.AsDuration()
	}
	if byDefault == 0 {
		return time.Time{}
	}
	return in.started().Add(byDefault)
}

// event begins an event of the step.
func (in *Input) event(kind jv1.RunEventKind, format string, args ...any) runs.Event {
	return runs.Event{Kind: kind, Step: in.At.GetId(), Time: in.Desk.Now, Message: fmt.Sprintf(format, args...)}
}

// done ends the step well.
func (in *Input) done(format string, args ...any) Move {
	return Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, format, args...)}
}

// fail ends the step badly.
func (in *Input) fail(format string, args ...any) Move {
	return Move{Event: in.failure(in.Desk.Now, fmt.Sprintf(format, args...))}
}

// failure is the event of a step that failed for good: it ends, or waits for a human when the plan says pause.
func (in *Input) failure(now time.Time, text string) runs.Event {
	if in.Step.GetOnFailure() == jv1.OnFailure_ON_FAILURE_PAUSE {
		return runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_WAITING, Step: in.At.GetId(), Time: now, Error: text,
			Wait: jv1.RunWait_RUN_WAIT_RESUME, Message: "step " + in.At.GetId() + " failed: " + text,
		}
	}
	return runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED, Step: in.At.GetId(), Time: now, Error: text, Message: text,
	}
}

// sleep records that the step waits, once, and then only sleeps.
func (in *Input) sleep(until, deadline time.Time, format string, args ...any) Move {
	m := Move{Then: Sleep, Until: earliest(until, deadline)}
	if in.At.GetState() != jv1.StepState_STEP_STATE_RUNNING {
		m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, format, args...)
		m.Event.Wake = m.Until
		m.Event.Deadline = deadline
	}
	return m
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// reached tells whether a time that is set has come.
func reached(now, t time.Time) bool { return !t.IsZero() && !now.Before(t) }
