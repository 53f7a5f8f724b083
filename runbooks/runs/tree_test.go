package runs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
)

func leaf(id string, f jv1.OnFailure) *jv1.Step {
	return &jv1.Step{Id: id, OnFailure: f, Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{}}}
}

func sideBySide(id string, failOn jv1.FailOn, steps ...*jv1.Step) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{Steps: steps, FailOn: failOn}}}
}

func inside(id, name string, f jv1.OnFailure) *jv1.Step {
	return &jv1.Step{Id: id, OnFailure: f, Action: &jv1.Step_RunRunbook{RunRunbook: &jv1.RunRunbookStep{Runbook: name}}}
}

// nested is a random runbook with steps side by side and others inside.
func nested(t *rapid.T) *runbooks.Tree {
	failures := rapid.SampledFrom([]jv1.OnFailure{0, jv1.OnFailure_ON_FAILURE_CONTINUE, jv1.OnFailure_ON_FAILURE_COMPENSATE, jv1.OnFailure_ON_FAILURE_PAUSE})
	fail := func() jv1.OnFailure { return failures.Draw(t, "on_failure") }
	inner := &jv1.Runbook{Name: "inner", Version: 1, Services: []string{"chat"}, Steps: []*jv1.Step{leaf("x", fail()), leaf("y", fail())}}
	p := sideBySide("p", jv1.FailOn(rapid.IntRange(1, 3).Draw(t, "fail_on")), leaf("one", 0), inside("sub", "inner", 0), leaf("two", 0))
	p.OnFailure = fail()
	p.GetParallel().GetSteps()[rapid.IntRange(0, 2).Draw(t, "essential")].Essential = true
	if rapid.Bool().Draw(t, "timeout") {
		p.Timeout = durationpb.New(10 * time.Second)
	}
	return tree(t, &jv1.Runbook{
		Name: "outer", Version: 1, Services: []string{"chat"},
		Steps: []*jv1.Step{leaf("first", fail()), p, inside("more", "inner", fail()), leaf("last", fail())},
	}, inner)
}

// sound checks what must hold of a record with nested steps, whatever has happened.
func sound(laid *runbooks.Tree, run *jv1.Run, now time.Time) error {
	for i, n := range laid.Nodes {
		s := run.GetSteps()[i]
		open := !runs.StepEnded(s.GetState()) && s.GetState() != jv1.StepState_STEP_STATE_PENDING
		if n.Parent < 0 || run.GetState() == jv1.RunState_RUN_STATE_COMPENSATING || runs.Ended(run.GetState()) {
			continue
		}
		around := run.GetSteps()[n.Parent]
		switch {
		case runs.StepEnded(around.GetState()) && !runs.StepEnded(s.GetState()):
			return fmt.Errorf("%s has ended, and %s is %v", around.GetId(), s.GetId(), s.GetState())
		case open && around.GetState() != jv1.StepState_STEP_STATE_RUNNING:
			return fmt.Errorf("%s is %v, and %s is %v", around.GetId(), around.GetState(), s.GetId(), s.GetState())
		}
	}
	if runs.Ended(run.GetState()) {
		return nil
	}
	decisions := runs.Next(run, laid, now)
	if len(decisions) == 0 {
		return fmt.Errorf("there is nothing to do, and it has not ended")
	}
	seen := map[int]bool{}
	for _, d := range decisions {
		if seen[d.Index] {
			return fmt.Errorf("two decisions about step %d: %+v", d.Index, decisions)
		}
		seen[d.Index] = true
		if d.Index < 0 {
			continue
		}
		s := run.GetSteps()[d.Index]
		if d.Action != runs.Undo && runs.StepEnded(s.GetState()) {
			return fmt.Errorf("%+v about a step that has ended", d)
		}
		if d.Action != runs.Await && runs.WaitsForHuman(run) && !run.GetCancelRequested() {
			return fmt.Errorf("the run waits for a human, and %+v is to be done", d)
		}
		if d.Action == runs.Cancel && runs.InFlight(s) {
			return fmt.Errorf("%s is canceled under its call", s.GetId())
		}
	}
	return nil
}

// Whatever becomes of the steps in whatever order, with humans pausing, resuming, skipping, retrying and canceling: no step
// acts in one that has ended, none ends before those inside of it, a run that waits has nothing to do, and every run ends.
func TestTreesEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		laid := nested(t)
		run, _ := runs.New(runs.Start{Name: "r", Tree: laid, Service: "chat", Now: t0})
		now := t0
		for n := 0; !runs.Ended(run.GetState()); n++ {
			if n > 400 {
				t.Fatalf("the run does not end: %v", run)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "seconds")) * time.Second)
			if err := sound(laid, run, now); err != nil {
				t.Fatalf("%v\n%v", err, run)
			}
			decisions := runs.Next(run, laid, now)
			e := happens(t, laid, run, rapid.SampledFrom(decisions).Draw(t, "decision"), n)
			e.Time = now
			next, _, err := runs.Fold(run, laid, e)
			if err != nil {
				t.Fatalf("%+v: %v\n%v", e, err, run)
			}
			run = next
		}
		for _, s := range run.GetSteps() {
			if !runs.StepEnded(s.GetState()) && s.GetState() != jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN {
				t.Errorf("%s is %v in a run that has ended", s.GetId(), s.GetState())
			}
		}
	})
}

// happens is what comes of a decision, or what a human does instead.
func happens(t *rapid.T, laid *runbooks.Tree, run *jv1.Run, d runs.Decision, n int) runs.Event {
	e := runs.Event{Message: "m", State: d.State, AttemptID: fmt.Sprint(n), Key: "k"}
	if d.Index >= 0 {
		e.Step = laid.Nodes[d.Index].ID
	}
	pick := func(kinds ...jv1.RunEventKind) runs.Event {
		e.Kind = rapid.SampledFrom(kinds).Draw(t, "kind")
		if e.Kind == failedEv {
			e.Error = "e"
			if laid.Nodes[d.Index].Step.GetOnFailure() == jv1.OnFailure_ON_FAILURE_PAUSE {
				e.Kind, e.Wait = jv1.RunEventKind_RUN_EVENT_KIND_WAITING, jv1.RunWait_RUN_WAIT_RESUME
			}
		}
		if e.Kind == succeeded {
			e.Undo = &jv1.Undo{Epoch: int64(n)}
		}
		return e
	}
	const (
		stopped = jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED
		unknown = jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN
		begins  = jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING
		resumed = jv1.RunEventKind_RUN_EVENT_KIND_RESUMED
		retried = jv1.RunEventKind_RUN_EVENT_KIND_RETRY_REQUESTED
	)
	if n < 40 && run.GetState() == jv1.RunState_RUN_STATE_RUNNING && rapid.IntRange(0, 30).Draw(t, "human") == 0 {
		e.Step = ""
		return pick(pauseEv, cancelEv)
	}
	switch d.Action {
	case runs.Advance:
		s := run.GetSteps()[d.Index]
		switch {
		case runbooks.IsContainer(s.GetKind()):
			return pick(begins, skipped)
		case runs.InFlight(s):
			return pick(succeeded, failedEv, unknown, jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED)
		default:
			return pick(intent, intent, begins, succeeded, skipped)
		}
	case runs.Await:
		switch {
		case d.Index < 0 || n > 200 && run.GetState() == jv1.RunState_RUN_STATE_WAITING && rapid.Bool().Draw(t, "give up"):
			e.Step = ""
			return pick(resumed)
		case n > 100 || rapid.Bool().Draw(t, "skip"):
			return pick(skipped)
		case run.GetSteps()[d.Index].GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN:
			return pick(succeeded, failedEv, resumed)
		}
		return pick(resumed, retried)
	case runs.Hold:
		e.Wait = jv1.RunWait_RUN_WAIT_RESUME
		return pick(jv1.RunEventKind_RUN_EVENT_KIND_WAITING)
	case runs.Stop:
		return pick(stopped, succeeded, unknown)
	case runs.Cancel:
		return pick(stopped)
	case runs.Complete:
		return pick(succeeded)
	case runs.Fail:
		return pick(failedEv)
	case runs.Undo:
		return pick(jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED)
	case runs.Compensate:
		return pick(jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING)
	default:
		return pick(endedEv)
	}
}

// The same with events that nobody decided: what can't happen is refused, what can leaves a sound record.
func TestTreesTakeOnlyWhatCanHappen(t *testing.T) {
	kinds := make([]jv1.RunEventKind, 0, len(jv1.RunEventKind_name))
	for k := range jv1.RunEventKind_name {
		kinds = append(kinds, jv1.RunEventKind(k))
	}
	rapid.Check(t, func(t *rapid.T) {
		laid := nested(t)
		ids := []string{""}
		for _, n := range laid.Nodes {
			ids = append(ids, n.ID)
		}
		run, _ := runs.New(runs.Start{Name: "r", Tree: laid, Service: "chat", Now: t0})
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			e := runs.Event{
				Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Step: rapid.SampledFrom(ids).Draw(t, "step"),
				Time: t0.Add(time.Duration(i) * time.Second), Wait: jv1.RunWait(rapid.IntRange(1, 3).Draw(t, "wait")),
				State: jv1.RunState(rapid.IntRange(0, 7).Draw(t, "state")), Decision: &jv1.Decision{Actor: "ana", Approved: true},
			}
			before := proto.CloneOf(run)
			next, _, err := runs.Fold(run, laid, e)
			if !proto.Equal(run, before) {
				t.Fatalf("Fold changed its argument by %v", e.Kind)
			}
			if err != nil {
				continue
			}
			run = next
			for i, n := range laid.Nodes {
				s := run.GetSteps()[i]
				if n.Parent >= 0 && runs.StepEnded(run.GetSteps()[n.Parent].GetState()) && !runs.StepEnded(s.GetState()) &&
					run.GetState() != jv1.RunState_RUN_STATE_COMPENSATING && !runs.Ended(run.GetState()) {
					t.Fatalf("%v of %q: %s is %v inside of one that has ended", e.Kind, e.Step, s.GetId(), s.GetState())
				}
			}
		}
	})
}

// Steps are undone in the reverse order in which they ended, whatever their place.
func TestStepsSideBySideAreUndoneInTheOrderTheyEnded(t *testing.T) {
	p := &jv1.Runbook{Name: "outer", Services: []string{"chat"}, Steps: []*jv1.Step{
		sideBySide("p", jv1.FailOn_FAIL_ON_ANY_ERROR, leaf("one", 0), leaf("two", 0), leaf("three", 0)),
	}}
	laid := tree(t, p)
	run := begin(t, p)
	done := func(id string) runs.Event {
		e := ev(succeeded, id, 1)
		e.Undo = &jv1.Undo{}
		return e
	}
	compensate := ev(jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING, "", 3)
	compensate.State = jv1.RunState_RUN_STATE_FAILED
	run = fold(t, laid, run, ev(jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, "p", 1), done("two"), done("three"), done("one"), compensate)
	var order []string
	for d := runs.Next(run, laid, t0)[0]; d.Action == runs.Undo; d = runs.Next(run, laid, t0)[0] {
		id := run.GetSteps()[d.Index].GetId()
		order = append(order, id)
		run = fold(t, laid, run, ev(jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, id, 4))
	}
	if got := strings.Join(order, " "); got != "one three two" {
		t.Errorf("undone in the order %s", got)
	}
}
