package runs

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ErrIllegal says that an event can't happen in the state of the run. It is a fault of the caller, or the run was
// changed by somebody else.
var ErrIllegal = errors.New("event can't happen in this state")

// maxAttempts is how many attempts a step's record keeps.
const maxAttempts = 10

// Bounds of texts in the record, so that it stays below its 64 KiB whatever a receiver answers.
const (
	maxError  = 1000
	maxOutput = 4096
)

// Fold applies events to a run and returns the next record and the events as they are stored. The run given is not
// changed. ErrIllegal names the first event that can't happen; nothing is applied then.
func Fold(run *jv1.Run, events ...Event) (*jv1.Run, []*jv1.RunEvent, error) {
	next := proto.CloneOf(run)
	stored := make([]*jv1.RunEvent, 0, len(events))
	for _, ev := range events {
		if !Allowed(next.GetState(), ev.Kind) {
			return nil, nil, fmt.Errorf("%v in %v of run %s: %w", ev.Kind, next.GetState(), next.GetName(), ErrIllegal)
		}
		if err := apply(next, ev); err != nil {
			return nil, nil, err
		}
		stored = append(stored, record(next, ev))
	}
	shorten(next)
	return next, stored, nil
}

func record(run *jv1.Run, ev Event) *jv1.RunEvent {
	run.LastEvent++
	actor := ev.Actor
	if actor == "" {
		actor = "jurymast"
	}
	details := maps.Clone(ev.Details)
	add := func(k, v string) {
		if v == "" {
			return
		}
		if details == nil {
			details = map[string]string{}
		}
		details[k] = v
	}
	add("error", bounded(ev.Error, maxError))
	add("attempt", ev.AttemptID)
	add("candidate", ev.Candidate)
	add("trigger", ev.Trigger)
	if ev.Owner != nil {
		add("owner", ev.Owner.GetSession())
	}
	return &jv1.RunEvent{
		Run: run.GetName(), Sequence: run.GetLastEvent(), Time: timestamppb.New(ev.Time), Kind: ev.Kind, Step: ev.Step,
		Actor: actor, Message: bounded(ev.Message, maxError), Details: details,
	}
}

func apply(run *jv1.Run, ev Event) error {
	if ev.Step == "" {
		return applyToRun(run, ev)
	}
	step := StepOf(run, ev.Step)
	if step == nil {
		return fmt.Errorf("%v: run %s has no step %s: %w", ev.Kind, run.GetName(), ev.Step, ErrIllegal)
	}
	if StepEnded(step.GetState()) && ev.Kind != jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED {
		return fmt.Errorf("%v: step %s of run %s has ended: %w", ev.Kind, ev.Step, run.GetName(), ErrIllegal)
	}
	return applyToStep(run, step, ev)
}

func applyToRun(run *jv1.Run, ev Event) error {
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED:
		run.Owner = ev.Owner
	case jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
		wait(run, ev)
	case jv1.RunEventKind_RUN_EVENT_KIND_RESUMED:
		if run.GetState() == waiting && run.GetWait() != jv1.RunWait_RUN_WAIT_RESUME {
			// It takes a wish to pause back; what the run asks stays asked.
			run.PauseRequested = false
			return nil
		}
		goOn(run, ev.Time)
	case jv1.RunEventKind_RUN_EVENT_KIND_DECIDED:
		goOn(run, ev.Time)
	case jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED:
	case jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED:
		run.PauseRequested = true
	case jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED:
		run.CancelRequested = true
		if run.GetOutcome() == "" {
			run.Outcome = bounded(ev.Message, maxError)
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_ATTACHED:
		run.AttachedTriggers = append(run.AttachedTriggers, ev.Trigger)
	case jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING:
		goOn(run, ev.Time)
		run.State = compensating
		run.EndState = ev.State
		run.Outcome = bounded(ev.Message, maxError)
	case jv1.RunEventKind_RUN_EVENT_KIND_ENDED:
		return end(run, ev)
	default:
		return fmt.Errorf("%v needs a step: %w", ev.Kind, ErrIllegal)
	}
	return nil
}

func applyToStep(run *jv1.Run, step *jv1.StepRun, ev Event) error {
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
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_INTENT:
		step.State = jv1.StepState_STEP_STATE_RUNNING
		step.AttemptCount++
		step.Attempts = append(step.Attempts, &jv1.Attempt{
			Id: ev.AttemptID, IdempotencyKey: ev.Key, StartTime: timestamppb.New(ev.Time),
			State: jv1.AttemptState_ATTEMPT_STATE_INTENT,
		})
		if n := len(step.Attempts); n > maxAttempts {
			step.Attempts = step.Attempts[n-maxAttempts:]
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING:
		step.State = jv1.StepState_STEP_STATE_RUNNING
	case jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
		step.State = jv1.StepState_STEP_STATE_WAITING
		if ev.Wait == jv1.RunWait_RUN_WAIT_RESUME {
			// The step failed: so did its call, whose outcome must not be taken for unknown later.
			closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_FAILED)
		}
		wait(run, ev)
	case jv1.RunEventKind_RUN_EVENT_KIND_DECIDED:
		step.Decisions = append(step.Decisions, ev.Decision)
		goOn(run, ev.Time)
		step.State = jv1.StepState_STEP_STATE_RUNNING
	case jv1.RunEventKind_RUN_EVENT_KIND_RESUMED:
		goOn(run, ev.Time)
		again(step, ev.Time)
	case jv1.RunEventKind_RUN_EVENT_KIND_CANDIDATE_FAILED:
		step.Tried = append(step.Tried, ev.Candidate)
	case jv1.RunEventKind_RUN_EVENT_KIND_CONDITION_CHANGED, jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED:
	case jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED:
		step.State = jv1.StepState_STEP_STATE_RETRYING
		closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_FAILED)
	case jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN:
		step.State = jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN
		closeAttempt(step, ev, jv1.AttemptState_ATTEMPT_STATE_UNKNOWN)
		ev.Wait = jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN
		wait(run, ev)
	default:
		return endStep(run, step, ev)
	}
	return nil
}

// again begins a step anew that a human resumes: it has its time once more, and what it gave up is tried once more. Its
// attempts, and what it replaced, stay.
func again(step *jv1.StepRun, now time.Time) {
	step.State = jv1.StepState_STEP_STATE_RUNNING
	step.Error = ""
	step.StartTime, step.Deadline, step.Held, step.Slow = timestamppb.New(now), nil, nil, false
	step.Output, step.Tried, step.Decisions = nil, nil, nil
}

func endStep(run *jv1.Run, step *jv1.StepRun, ev Event) error {
	attempt := jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED:
		step.State = jv1.StepState_STEP_STATE_SUCCEEDED
		step.Error = ""
		if ev.Restored && run.GetRestoredTime() == nil {
			run.RestoredTime = timestamppb.New(ev.Time)
		}
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED:
		step.State = jv1.StepState_STEP_STATE_FAILED
		attempt = jv1.AttemptState_ATTEMPT_STATE_FAILED
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED:
		step.State = jv1.StepState_STEP_STATE_SKIPPED
	case jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED:
		step.State = jv1.StepState_STEP_STATE_COMPENSATED
	default:
		return fmt.Errorf("%v is not an event of a step: %w", ev.Kind, ErrIllegal)
	}
	goOn(run, ev.Time)
	closeAttempt(step, ev, attempt)
	step.EndTime = timestamppb.New(ev.Time)
	return nil
}

func closeAttempt(step *jv1.StepRun, ev Event, state jv1.AttemptState) {
	step.Error = bounded(ev.Error, maxError)
	a := LastAttempt(step)
	if a.GetState() != jv1.AttemptState_ATTEMPT_STATE_INTENT && a.GetState() != jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
		return
	}
	a.State = state
	a.Error = bounded(ev.Error, maxError)
	a.Result = bounded(ev.Message, maxError)
	a.EndTime = timestamppb.New(ev.Time)
}

// wait makes the run wait for a human. A reminder of the same wait leaves its beginning.
func wait(run *jv1.Run, ev Event) {
	if run.GetState() != waiting {
		run.WaitSince = timestamppb.New(ev.Time)
	}
	run.State = waiting
	run.Wait = ev.Wait
	run.WaitText = bounded(ev.Message, maxError)
	run.PauseRequested = false
}

// goOn ends a wait and moves the run's deadline by the time it took: a run is not failed for the time a human needed.
func goOn(run *jv1.Run, now time.Time) {
	if run.GetState() != waiting {
		run.PauseRequested = false
		return
	}
	if waited := now.Sub(run.GetWaitSince().AsTime()); waited > 0 {
		if run.GetDeadline() != nil {
			run.Deadline = timestamppb.New(run.GetDeadline().AsTime().Add(waited))
		}
		hold(run, waited)
	}
	run.State = running
	run.Wait = jv1.RunWait_RUN_WAIT_UNSPECIFIED
	run.WaitText = ""
	run.WaitSince = nil
}

// hold counts the time a run waited for a human to the steps that were under way: it is not theirs.
func hold(run *jv1.Run, waited time.Duration) {
	for _, s := range run.GetSteps() {
		if s.GetStartTime() != nil && !StepEnded(s.GetState()) {
			s.Held = durationpb.New(s.GetHeld().AsDuration() + waited)
		}
	}
}

func end(run *jv1.Run, ev Event) error {
	if !Ended(ev.State) {
		return fmt.Errorf("a run can't end %v: %w", ev.State, ErrIllegal)
	}
	for _, s := range run.GetSteps() {
		if !StepEnded(s.GetState()) && s.GetState() != jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN {
			s.State = jv1.StepState_STEP_STATE_CANCELED
			s.WakeTime = nil
		}
	}
	run.State = ev.State
	run.EndTime = timestamppb.New(ev.Time)
	run.Outcome = bounded(ev.Message, maxError)
	run.Wait, run.WaitText, run.WaitSince = jv1.RunWait_RUN_WAIT_UNSPECIFIED, "", nil
	run.EndState = jv1.RunState_RUN_STATE_UNSPECIFIED
	run.PauseRequested = false
	return nil
}

func mergeOutput(step *jv1.StepRun, output map[string]string) {
	if len(output) == 0 {
		return
	}
	if step.Output == nil {
		step.Output = map[string]string{}
	}
	for k, v := range output {
		if v == "" {
			delete(step.Output, k)
			continue
		}
		step.Output[k] = bounded(v, maxOutput)
	}
}

// bounded shortens a text to n bytes without cutting a rune in two.
func bounded(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
