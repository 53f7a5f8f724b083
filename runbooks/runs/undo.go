package runs

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// undoes tells whether an event is one of undoing a step: it happens when the step has ended.
func undoes(kind jv1.RunEventKind) bool {
	switch kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, jv1.RunEventKind_RUN_EVENT_KIND_UNDO_INTENT,
		jv1.RunEventKind_RUN_EVENT_KIND_UNDO_ATTEMPT_FAILED, jv1.RunEventKind_RUN_EVENT_KIND_UNDO_FAILED:
		return true
	}
	return false
}

// undo applies an event of undoing the step. The step itself changes only when it is undone.
func (m *mutation) undo() error {
	step, ev := m.step, m.ev
	if step.GetState() == jv1.StepState_STEP_STATE_COMPENSATED || step.GetUndoing().GetError() != "" {
		return fmt.Errorf("%v: the undoing of step %s of run %s is over: %w", ev.Kind, ev.Step, m.run.GetName(), ErrIllegal)
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED {
		m.closeUndo(jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED)
		return m.apply()
	}
	if step.Undoing == nil {
		step.Undoing = &jv1.Undoing{}
	}
	u := step.Undoing
	u.WakeTime = nil
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_UNDO_INTENT:
		u.AttemptCount++
		u.Attempts = beginAttempt(u.GetAttempts(), ev)
		if !ev.Deadline.IsZero() {
			u.Deadline = timestamppb.New(ev.Deadline)
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_UNDO_ATTEMPT_FAILED:
		m.closeUndo(jv1.AttemptState_ATTEMPT_STATE_FAILED)
		if !ev.Wake.IsZero() {
			u.WakeTime = timestamppb.New(ev.Wake)
		}
	default:
		m.closeUndo(jv1.AttemptState_ATTEMPT_STATE_FAILED)
		if u.Error = bounded(ev.Error, maxError); u.Error == "" {
			u.Error = "it could not be undone"
		}
	}
	return nil
}

// closeUndo writes down what became of the last attempt to undo the step.
func (m *mutation) closeUndo(state jv1.AttemptState) {
	if m.ev.Attempt != jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED {
		state = m.ev.Attempt
	}
	a := lastOf(m.step.GetUndoing().GetAttempts())
	if a.GetState() != underWay {
		return
	}
	a.State = state
	a.Error, a.Result = bounded(m.ev.Error, maxError), bounded(m.ev.Message, maxError)
	a.EndTime = timestamppb.New(m.ev.Time)
}

// UndoInFlight tells whether a call that undoes the step may be under way.
func UndoInFlight(s *jv1.StepRun) bool {
	return LastUndo(s).GetState() == underWay
}

// LastUndo returns the newest attempt to undo a step by a call, or nil.
func LastUndo(s *jv1.StepRun) *jv1.Attempt { return lastOf(s.GetUndoing().GetAttempts()) }

// lastOf returns the newest attempt of a list, or nil.
func lastOf(list []*jv1.Attempt) *jv1.Attempt {
	if n := len(list); n > 0 {
		return list[n-1]
	}
	return nil
}

// nextUndo walks back over the steps that are to be undone, in the reverse order in which they ended: those that replaced
// something, and those with a compensation of their own that took effect, or may have. A step that never came to its end
// was the last.
func nextUndo(run *jv1.Run, tree *runbooks.Tree) Decision {
	last := -1
	for i, s := range run.GetSteps() {
		if toUndo(s, tree.Nodes[i].Step) && (last < 0 || ended(s) >= ended(run.GetSteps()[last])) {
			last = i
		}
	}
	if last >= 0 {
		return Decision{Action: Undo, Index: last}
	}
	return Decision{Action: End, Index: -1, State: run.GetEndState(), Reason: undone(run, tree)}
}

func toUndo(s *jv1.StepRun, plan *jv1.Step) bool {
	switch {
	case s.GetState() == jv1.StepState_STEP_STATE_COMPENSATED || s.GetUndoing().GetError() != "":
		return false
	case s.GetUndo() != nil:
		return true
	}
	return plan.GetCompensate() != nil && EffectOf(s) != NoEffect
}

// ended orders steps by their end.
func ended(s *jv1.StepRun) int64 {
	if n := s.GetEndEvent(); n != 0 {
		return n
	}
	return 1 << 62
}

// undone is the outcome of a run that has undone what it could, with what it could not.
func undone(run *jv1.Run, tree *runbooks.Tree) string {
	var failed, maybe []string
	for i, s := range run.GetSteps() {
		switch {
		case s.GetUndoing().GetError() != "":
			failed = append(failed, s.GetId()+" ("+bounded(s.GetUndoing().GetError(), 200)+")")
		case s.GetState() == jv1.StepState_STEP_STATE_COMPENSATED && tree.Nodes[i].Step.GetCompensate() != nil && doubtful(s):
			maybe = append(maybe, s.GetId())
		}
	}
	text := run.GetOutcome()
	if len(failed) > 0 {
		// What a human has to look after comes before what led to it.
		text = "could not be undone: " + strings.Join(failed, ", ") + "; " + text
	}
	if len(maybe) > 0 {
		text += "; undone without knowing whether they took effect: " + strings.Join(maybe, ", ")
	}
	return text
}

// doubtful tells of a step that was undone that nobody knows whether it took effect.
func doubtful(s *jv1.StepRun) bool {
	if len(s.GetAttempts()) == 0 {
		return false
	}
	attempts := &jv1.StepRun{Attempts: s.GetAttempts()}
	return EffectOf(attempts) == MaybeEffect
}
