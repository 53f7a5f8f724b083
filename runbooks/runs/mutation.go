package runs

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// mutation applies one event to one step.
type mutation struct {
	run  *jv1.Run
	tree *runbooks.Tree
	i    int
	step *jv1.StepRun
	ev   Event
}

// legal refuses what can't happen in the step's place: it has ended, what it is part of does not run, or it would end
// before the steps inside of it have.
func (m *mutation) legal() error {
	if StepEnded(m.step.GetState()) {
		return fmt.Errorf("%v: step %s of run %s has ended: %w", m.ev.Kind, m.ev.Step, m.run.GetName(), ErrIllegal)
	}
	for p := m.tree.Nodes[m.i].Parent; p >= 0; p = m.tree.Nodes[p].Parent {
		if around := m.run.GetSteps()[p]; around.GetState() != jv1.StepState_STEP_STATE_RUNNING {
			return fmt.Errorf("%v: step %s around %s of run %s is %v: %w",
				m.ev.Kind, around.GetId(), m.ev.Step, m.run.GetName(), around.GetState(), ErrIllegal)
		}
	}
	if !runbooks.IsContainer(m.step.GetKind()) {
		return nil
	}
	switch m.ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, jv1.RunEventKind_RUN_EVENT_KIND_RESUMED,
		jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED, jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW,
		jv1.RunEventKind_RUN_EVENT_KIND_RETRY_REQUESTED:
		return nil
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED,
		jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED, jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED,
		jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
	default:
		return fmt.Errorf("%v: step %s of run %s is made of steps: %w", m.ev.Kind, m.ev.Step, m.run.GetName(), ErrIllegal)
	}
	for _, child := range m.tree.Nodes[m.i].Children {
		if s := m.run.GetSteps()[child]; !StepEnded(s.GetState()) && s.GetState() != jv1.StepState_STEP_STATE_PENDING {
			return fmt.Errorf("%v: step %s inside of %s of run %s is %v: %w",
				m.ev.Kind, s.GetId(), m.ev.Step, m.run.GetName(), s.GetState(), ErrIllegal)
		}
	}
	return nil
}

func (m *mutation) apply() error {
	step, ev := m.step, m.ev
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW {
		step.Slow = true // nothing else of it changes
		return nil
	}
	if step.GetStartTime() == nil {
		step.StartTime = timestamppb.New(ev.Time)
	}
	if !ev.Deadline.IsZero() {
		step.Deadline = timestamppb.New(ev.Deadline)
	}
	step.WakeTime = nil
	if !ev.Wake.IsZero() {
		step.WakeTime = timestamppb.New(ev.Wake)
	}
	mergeOutput(step, ev.Output)
	if ev.Undo != nil {
		step.Undo = ev.Undo
	}
	if err := m.move(); err != nil {
		return err
	}
	if !Waits(step) {
		step.Wait, step.WaitText = jv1.RunWait_RUN_WAIT_UNSPECIFIED, ""
	}
	return nil
}

// move brings the step into its next state.
func (m *mutation) move() error {
	step, ev := m.step, m.ev
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_INTENT:
		step.State = jv1.StepState_STEP_STATE_RUNNING
		m.attempt()
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING:
		step.State = jv1.StepState_STEP_STATE_RUNNING
	case jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
		m.wait(jv1.StepState_STEP_STATE_WAITING, ev.Wait)
		if ev.Wait == jv1.RunWait_RUN_WAIT_RESUME {
			// The step failed: so did its call, whose outcome must not be taken for unknown later.
			closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_FAILED)
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_DECIDED:
		if ev.Decision == nil || step.GetState() != jv1.StepState_STEP_STATE_WAITING {
			return fmt.Errorf("%v: step %s of run %s asks nothing: %w", ev.Kind, ev.Step, m.run.GetName(), ErrIllegal)
		}
		step.Decisions = append(step.Decisions, ev.Decision)
		step.State = jv1.StepState_STEP_STATE_RUNNING
	case jv1.RunEventKind_RUN_EVENT_KIND_RESUMED:
		m.again()
	case jv1.RunEventKind_RUN_EVENT_KIND_RETRY_REQUESTED:
		if step.GetState() != jv1.StepState_STEP_STATE_RETRYING {
			m.again()
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_CANDIDATE_FAILED:
		step.Tried = append(step.Tried, ev.Candidate)
	case jv1.RunEventKind_RUN_EVENT_KIND_CONDITION_CHANGED, jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED:
	case jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED:
		step.State = jv1.StepState_STEP_STATE_RETRYING
		closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_FAILED)
	case jv1.RunEventKind_RUN_EVENT_KIND_CHECKED:
		step.State = jv1.StepState_STEP_STATE_RETRYING
		closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_UNKNOWN)
	case jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN:
		m.wait(jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN, jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN)
		closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_UNKNOWN)
	default:
		return m.end()
	}
	return nil
}

// attempt begins an attempt.
func (m *mutation) attempt() {
	m.step.AttemptCount++
	m.step.Attempts = beginAttempt(m.step.GetAttempts(), m.ev)
}

func (m *mutation) wait(state jv1.StepState, what jv1.RunWait) {
	m.step.State, m.step.Wait, m.step.WaitText = state, what, bounded(m.ev.Message, maxError)
}

// again begins a step anew: it has its time once more, and what it gave up is tried once more. Its attempts, and what it
// replaced, stay. Of the steps inside of it those begin anew that failed or were stopped; what succeeded is not done again.
func (m *mutation) again() {
	step := m.step
	step.State = jv1.StepState_STEP_STATE_RUNNING
	step.Error = ""
	step.StartTime, step.Deadline, step.Held, step.Slow = timestamppb.New(m.ev.Time), nil, nil, false
	step.Tried, step.Decisions, step.AttemptCount = nil, nil, 0
	if runbooks.IsContainer(step.GetKind()) {
		m.reopen(m.i, m.ev.Time)
		return
	}
	step.Output = nil
}

// reopen lets a step that is made of steps run again.
func (m *mutation) reopen(i int, now time.Time) {
	s, node := m.run.GetSteps()[i], m.tree.Nodes[i]
	s.State, s.EndTime, s.EndEvent, s.Error = jv1.StepState_STEP_STATE_RUNNING, nil, 0, ""
	s.StartTime, s.Deadline = timestamppb.New(now), nil
	if d := node.Step.GetTimeout(); d != nil {
		s.Deadline = timestamppb.New(now.Add(d.AsDuration()))
	}
	// Steps in a row failed at the last one that began; side by side each one may have.
	from := 0
	if node.Step.GetParallel() == nil {
		from = max(0, len(node.Children)-1)
		for from > 0 && m.run.GetSteps()[node.Children[from]].GetStartTime() == nil {
			from--
		}
	}
	for _, child := range node.Children[from:] {
		c := m.run.GetSteps()[child]
		switch {
		case c.GetState() != jv1.StepState_STEP_STATE_FAILED && c.GetState() != jv1.StepState_STEP_STATE_CANCELED:
		case runbooks.IsContainer(c.GetKind()) && c.GetStartTime() != nil:
			m.reopen(child, now)
		default:
			m.renew(child)
		}
	}
}

// renew lets a step begin from the beginning, with those inside of it, which never began.
func (m *mutation) renew(i int) {
	s := m.run.GetSteps()[i]
	s.State, s.Error = jv1.StepState_STEP_STATE_PENDING, ""
	s.StartTime, s.EndTime, s.Deadline, s.WakeTime, s.EndEvent = nil, nil, nil, nil, 0
	s.Output, s.Tried, s.Decisions, s.AttemptCount = nil, nil, nil, 0
	s.Held, s.Slow = nil, false
	for _, child := range m.tree.Nodes[i].Children {
		m.renew(child)
	}
}

// end ends the step.
func (m *mutation) end() error {
	step, ev := m.step, m.ev
	attempt := jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	never := jv1.StepState_STEP_STATE_CANCELED // for the steps inside that have not begun
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED:
		step.State = jv1.StepState_STEP_STATE_SUCCEEDED
		if ev.Restored && m.run.GetRestoredTime() == nil {
			m.run.RestoredTime = timestamppb.New(ev.Time)
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED:
		step.State, attempt = jv1.StepState_STEP_STATE_FAILED, jv1.AttemptState_ATTEMPT_STATE_FAILED
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED:
		step.State, attempt = jv1.StepState_STEP_STATE_SKIPPED, jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED
		never = jv1.StepState_STEP_STATE_SKIPPED
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED:
		step.State, attempt = jv1.StepState_STEP_STATE_CANCELED, jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED:
		step.State, attempt = jv1.StepState_STEP_STATE_COMPENSATED, jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED
	default:
		return fmt.Errorf("%v is not an event of a step: %w", ev.Kind, ErrIllegal)
	}
	// What was skipped or undone keeps what went wrong, and a call of it whose outcome nobody knows stays so.
	if attempt != jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED {
		closeAttempt(step, ev, attempt)
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED {
		step.Error = ""
	}
	step.EndTime, step.EndEvent = timestamppb.New(ev.Time), m.run.GetLastEvent()+1
	m.closeInside(m.i, never)
	return nil
}

// closeInside ends the steps inside of a step that never began.
func (m *mutation) closeInside(i int, state jv1.StepState) {
	for _, child := range m.tree.Nodes[i].Children {
		if s := m.run.GetSteps()[child]; s.GetState() == jv1.StepState_STEP_STATE_PENDING {
			s.State = state
		}
		m.closeInside(child, state)
	}
}
