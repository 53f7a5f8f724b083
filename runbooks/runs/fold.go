package runs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// ErrIllegal says that an event can't happen in the state of the run. It is a fault of the caller, or the run was
// changed by somebody else.
var ErrIllegal = errors.New("event can't happen in this state")

// Bounds of texts in the record, so that it stays below its 64 KiB whatever a receiver answers.
const (
	maxError  = 1000
	maxOutput = 4096
)

// Fold applies events to a run and returns the next record and the events as they are stored. The run given is not
// changed. The tree is that of the run's runbook revisions; the end of a run needs none. ErrIllegal names the first event
// that can't happen; nothing is applied then.
//
// A run waits for a human exactly while each of its open branches does, or while it is held as a whole.
func Fold(run *jv1.Run, tree *runbooks.Tree, events ...Event) (*jv1.Run, []*jv1.RunEvent, error) {
	next := proto.CloneOf(run)
	stored := make([]*jv1.RunEvent, 0, len(events))
	for _, ev := range events {
		if !Allowed(next.GetState(), ev.Kind) {
			return nil, nil, fmt.Errorf("%v in %v of run %s: %w", ev.Kind, next.GetState(), next.GetName(), ErrIllegal)
		}
		if err := apply(next, tree, ev); err != nil {
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

func apply(run *jv1.Run, tree *runbooks.Tree, ev Event) error {
	if ev.Step == "" {
		return applyToRun(run, tree, ev)
	}
	if tree == nil {
		return fmt.Errorf("%v of step %s without the runbook: %w", ev.Kind, ev.Step, ErrIllegal)
	}
	i := tree.Index(ev.Step)
	if i < 0 || i >= len(run.GetSteps()) || run.GetSteps()[i].GetId() != ev.Step {
		return fmt.Errorf("%v: run %s has no step %s: %w", ev.Kind, run.GetName(), ev.Step, ErrIllegal)
	}
	m := &mutation{run: run, tree: tree, i: i, step: run.GetSteps()[i], ev: ev}
	if undoes(ev.Kind) {
		return m.undo()
	}
	if err := m.legal(); err != nil {
		return err
	}
	held := Held(run)
	if err := m.apply(); err != nil {
		return err
	}
	if !held {
		settle(run, tree, ev.Time)
	}
	return nil
}

func applyToRun(run *jv1.Run, tree *runbooks.Tree, ev Event) error {
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED:
		run.Owner = ev.Owner
	case jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
		wait(run, ev.Wait, ev.Message, ev.Time)
	case jv1.RunEventKind_RUN_EVENT_KIND_DECIDED, jv1.RunEventKind_RUN_EVENT_KIND_RESUMED:
		return release(run, tree, ev)
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
		run.PauseRequested = false
		run.State = compensating
		run.EndState = ev.State
		run.Outcome = bounded(ev.Message, maxError)
		closeSteps(run, ev, func(s *jv1.StepRun) bool { return s.GetState() != jv1.StepState_STEP_STATE_PENDING })
	case jv1.RunEventKind_RUN_EVENT_KIND_ENDED:
		return end(run, ev)
	default:
		return fmt.Errorf("%v needs a step: %w", ev.Kind, ErrIllegal)
	}
	return nil
}

// release lets a run go on that waits as a whole. Resuming one that asks something takes a wish to pause back, and leaves
// what it asks.
func release(run *jv1.Run, tree *runbooks.Tree, ev Event) error {
	if tree == nil {
		return fmt.Errorf("%v without the runbook: %w", ev.Kind, ErrIllegal)
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_RESUMED {
		asks := run.GetState() == waiting && run.GetWait() != jv1.RunWait_RUN_WAIT_RESUME
		run.PauseRequested = false
		if asks {
			return nil
		}
	} else if !Held(run) {
		return fmt.Errorf("%v: run %s asks nothing: %w", ev.Kind, run.GetName(), ErrIllegal)
	}
	settle(run, tree, ev.Time)
	return nil
}

// wait makes the run wait for a human. What it waits for may change without its wait beginning anew.
func wait(run *jv1.Run, what jv1.RunWait, text string, now time.Time) {
	if run.GetState() != waiting {
		run.WaitSince = timestamppb.New(now)
	}
	run.State, run.Wait, run.WaitText = waiting, what, bounded(text, maxError)
}

// settle finds out whether the run waits for a human: each of its open branches does.
func settle(run *jv1.Run, tree *runbooks.Tree, now time.Time) {
	if run.GetState() != running && run.GetState() != waiting {
		return
	}
	steps := Waiting(run)
	if len(steps) > 0 && !acts(run, tree) {
		text := steps[0].GetWaitText()
		if text == "" {
			text = run.GetWaitText()
		}
		wait(run, WaitOf(run, steps[0]), text, now)
		if run.GetWait() == jv1.RunWait_RUN_WAIT_RESUME {
			run.PauseRequested = false // it is held as it is
		}
		return
	}
	goOn(run, now)
}

// acts tells whether there is anything to be done with a run besides waiting for humans, its own end in time left aside.
func acts(run *jv1.Run, tree *runbooks.Tree) bool {
	free := &jv1.Run{State: running, Steps: run.GetSteps()}
	return slices.ContainsFunc(Next(free, tree, time.Time{}), func(d Decision) bool { return d.Action != Await })
}

// goOn ends a wait and moves the deadlines of the run, and of its steps but those that ask, by the time it took: nothing
// fails for the time a human needed.
func goOn(run *jv1.Run, now time.Time) {
	if run.GetState() != waiting {
		return
	}
	if waited := now.Sub(run.GetWaitSince().AsTime()); waited > 0 {
		later := func(t *timestamppb.Timestamp) *timestamppb.Timestamp {
			if t == nil {
				return nil
			}
			return timestamppb.New(t.AsTime().Add(waited))
		}
		run.Deadline = later(run.GetDeadline())
		for _, s := range run.GetSteps() {
			if s.GetKind() != "approval" && !StepEnded(s.GetState()) { // a question's time is that of humans
				s.Deadline = later(s.GetDeadline())
			}
			if s.GetStartTime() != nil && !StepEnded(s.GetState()) {
				s.Held = durationpb.New(s.GetHeld().AsDuration() + waited) // it is not the step's time
			}
		}
	}
	run.State, run.Wait, run.WaitText, run.WaitSince = running, jv1.RunWait_RUN_WAIT_UNSPECIFIED, "", nil
}

// closeSteps cancels the steps that are open and fit. Of a call whose outcome is not known, or not yet, the step says so.
func closeSteps(run *jv1.Run, ev Event, fits func(*jv1.StepRun) bool) {
	for _, s := range run.GetSteps() {
		switch {
		case StepEnded(s.GetState()) || s.GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN || !fits(s):
			continue
		case InFlight(s):
			s.State = jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN
			a := LastAttempt(s)
			a.State, a.Error = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN, "the run went on before it was known what became of the call"
			a.EndTime = timestamppb.New(ev.Time)
		default:
			s.State = jv1.StepState_STEP_STATE_CANCELED
			if s.GetStartTime() != nil {
				s.EndTime, s.EndEvent = timestamppb.New(ev.Time), run.GetLastEvent()+1
			}
		}
		s.WakeTime, s.Wait, s.WaitText = nil, jv1.RunWait_RUN_WAIT_UNSPECIFIED, ""
	}
}

func end(run *jv1.Run, ev Event) error {
	if !Ended(ev.State) {
		return fmt.Errorf("a run can't end %v: %w", ev.State, ErrIllegal)
	}
	closeSteps(run, ev, func(*jv1.StepRun) bool { return true })
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
