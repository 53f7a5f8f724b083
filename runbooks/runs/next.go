package runs

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Action is what is to be done with a run now.
type Action uint8

// The actions.
const (
	// Nothing: the run has ended.
	Nothing Action = iota
	// Advance the step at Index.
	Advance
	// Await a human; the step at Index, if not negative, is the one that waits.
	Await
	// Hold the run: a human asked to pause it and nothing is under way.
	Hold
	// Undo the step at Index.
	Undo
	// Compensate: begin to undo, then end as State.
	Compensate
	// End the run as State.
	End
)

// Decision is what [Next] decided, and why.
type Decision struct {
	Action Action
	// Index of the step, or -1.
	Index int
	// State to end in, with Compensate and End.
	State jv1.RunState
	// Reason in words.
	Reason string
}

// Next decides what is to be done with a run of the plan now. The plan is the normalised runbook revision the run was
// created from.
func Next(run *jv1.Run, plan *jv1.Runbook, now time.Time) Decision {
	switch {
	case Ended(run.GetState()):
		return Decision{Action: Nothing, Index: -1}
	case run.GetState() == compensating:
		return nextUndo(run)
	case run.GetCancelRequested():
		return cancel(run, plan)
	case overdue(run, now):
		return Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_FAILED, Reason: "the run's time is up"}
	}
	i := Current(run, plan)
	if run.GetState() == waiting {
		return Decision{Action: Await, Index: i}
	}
	if i < 0 {
		return Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_SUCCEEDED, Reason: "every step is done"}
	}
	if run.GetSteps()[i].GetState() == jv1.StepState_STEP_STATE_FAILED {
		return failed(run, plan, i)
	}
	if run.GetPauseRequested() && !InFlight(run.GetSteps()[i]) {
		return Decision{Action: Hold, Index: i, Reason: "a human asked to pause"}
	}
	return Decision{Action: Advance, Index: i}
}

// Current returns the index of the first step that is not done with, or -1. A failed step is done with when the plan
// says to continue.
func Current(run *jv1.Run, plan *jv1.Runbook) int {
	for i, s := range run.GetSteps() {
		switch {
		case !StepEnded(s.GetState()):
			return i
		case s.GetState() == jv1.StepState_STEP_STATE_FAILED && onFailure(plan, i) != jv1.OnFailure_ON_FAILURE_CONTINUE:
			return i
		}
	}
	return -1
}

func failed(run *jv1.Run, plan *jv1.Runbook, i int) Decision {
	s := run.GetSteps()[i]
	reason := "step " + s.GetId() + " failed: " + s.GetError()
	state := jv1.RunState_RUN_STATE_FAILED
	if rejected(s) {
		state = jv1.RunState_RUN_STATE_CANCELED
	}
	if onFailure(plan, i) == jv1.OnFailure_ON_FAILURE_COMPENSATE {
		return Decision{Action: Compensate, Index: -1, State: state, Reason: reason}
	}
	return Decision{Action: End, Index: -1, State: state, Reason: reason}
}

func cancel(run *jv1.Run, plan *jv1.Runbook) Decision {
	d := Decision{Action: End, Index: -1, State: jv1.RunState_RUN_STATE_CANCELED, Reason: run.GetOutcome()}
	if i := Current(run, plan); i >= 0 && onFailure(plan, i) == jv1.OnFailure_ON_FAILURE_COMPENSATE {
		d.Action = Compensate
	}
	return d
}

// nextUndo walks back over the steps that replaced something.
func nextUndo(run *jv1.Run) Decision {
	for i := len(run.GetSteps()) - 1; i >= 0; i-- {
		s := run.GetSteps()[i]
		if s.GetUndo() != nil && s.GetState() != jv1.StepState_STEP_STATE_COMPENSATED {
			return Decision{Action: Undo, Index: i}
		}
	}
	return Decision{Action: End, Index: -1, State: run.GetEndState(), Reason: run.GetOutcome()}
}

func overdue(run *jv1.Run, now time.Time) bool {
	return run.GetState() == running && run.GetDeadline() != nil && !now.Before(run.GetDeadline().AsTime())
}

func onFailure(plan *jv1.Runbook, i int) jv1.OnFailure { return plan.GetSteps()[i].GetOnFailure() }

func rejected(s *jv1.StepRun) bool {
	for _, d := range s.GetDecisions() {
		if !d.GetApproved() {
			return true
		}
	}
	return false
}

// InFlight tells whether an outside call of the step may be under way: its intent is stored and its result is not.
func InFlight(s *jv1.StepRun) bool {
	return LastAttempt(s).GetState() == jv1.AttemptState_ATTEMPT_STATE_INTENT
}

// LastAttempt returns the newest attempt of a step, or nil.
func LastAttempt(s *jv1.StepRun) *jv1.Attempt {
	if n := len(s.GetAttempts()); n > 0 {
		return s.GetAttempts()[n-1]
	}
	return nil
}

// StepOf returns the step of that id, or nil.
func StepOf(run *jv1.Run, id string) *jv1.StepRun {
	for _, s := range run.GetSteps() {
		if s.GetId() == id {
			return s
		}
	}
	return nil
}
