package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// overrule switches past the guards, as a human.
func overrule(t *testing.T, r *rig, to string) {
	t.Helper()
	st, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{
		Service: "chat", Provider: to, Reason: "I know better", BreakGlass: true,
	})
	if err != nil || !st.GetBreakGlass() {
		t.Fatalf("state %v, %v", st, err)
	}
}

// held returns the guard that holds a runbook's start back, by the name of its trigger.
func held(r *rig, trigger string) continuity.Guard {
	r.t.Helper()
	for _, o := range get[*jv1.Trigger](r, store.TriggerKey(trigger)).GetOutcomes() {
		if o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED {
			return continuity.Guard(o.GetGuard())
		}
	}
	return ""
}

// A human who breaks the glass means it: the pending trigger of the provider that becomes active must not take the
// switch back at once.
func TestMachinesDoNotOverruleABreakGlass(t *testing.T) {
	undo := func(r *rig) error {
		r.recovers("b", 1)
		_, err := r.first.desk.Undo(as(r.ctx, "ana"), &jv1.UndoRequest{Service: "chat", Reason: "enough"})
		return err
	}
	for name, tc := range map[string]struct {
		lift func(r *rig) error
		// active is the provider after lifting, runs how many runs there are then.
		active string
		runs   int
	}{
		"until it is acknowledged": {active: "a", runs: 1, lift: func(r *rig) error {
			ack, err := r.first.desk.Acknowledge(as(r.ctx, "ana"), &jv1.AcknowledgeRequest{Service: "chat", Reason: "over"})
			if !ack.GetBreakGlass() {
				r.t.Errorf("the answer does not say that the mark was cleared: %v", ack)
			}
			return err
		}},
		"until it is undone": {active: "a", lift: undo},
		"until a human switches through the guards": {active: "c", lift: func(r *rig) error {
			_, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "c", Reason: "better"})
			return err
		}},
		"until a human confirms it through the guards": {active: "b", lift: func(r *rig) error {
			r.recovers("b", 1)
			_, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "it is well"})
			return err
		}},
		"not until a human switches queueing": {active: "b", lift: func(r *rig) error {
			_, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "meanwhile"})
			return err
		}},
		"not until a human breaks the glass again": {active: "b", lift: func(r *rig) error {
			_, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{
				Service: "chat", Provider: "b", Reason: "stay", BreakGlass: true,
			})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("outage", doing(switchTo("a", "c"))))
				r.fails("b", 1)
				synctest.Wait()
				overrule(t, r, "b")
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if got := held(r, "h-chat-b-1-failing"); got != continuity.BreakGlass || r.state().GetActiveProvider() != "b" || len(r.runs()) != 0 {
					t.Fatalf("held by %q, state %v, runs %v", got, r.state(), r.runs())
				}
				before := r.state().GetBreakGlass()
				if err := tc.lift(r); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if r.state().GetActiveProvider() != tc.active || len(r.runs()) != tc.runs || !before {
					t.Errorf("state %v, runs %v", r.state(), r.runs())
				}
				if keeps := name[:3] == "not"; r.state().GetBreakGlass() != keeps {
					t.Errorf("mark is %v", r.state().GetBreakGlass())
				}
			})
		})
	}
}

// A run that machines started before the glass was broken goes on with what is not about the route.
func TestARunningRunDoesNotOverruleABreakGlass(t *testing.T) {
	for name, step := range map[string]*jv1.Step{"switch": switchTo("c"), "queue": queue()} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("outage", doing(pauseFor(time.Minute), onFailure(step, jv1.OnFailure_ON_FAILURE_CONTINUE), tell("told"))))
				r.fails("a", 1)
				r.fails("b", 1)
				synctest.Wait()
				overrule(t, r, "b")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				run := r.only()
				want(t, run, succeeded)
				if run.GetSteps()[1].GetState() != jv1.StepState_STEP_STATE_FAILED || run.GetSteps()[1].GetError() == "" {
					t.Errorf("step %v", run.GetSteps()[1])
				}
				if s := r.state(); s.GetActiveProvider() != "b" || s.GetQueueing() || !s.GetBreakGlass() || len(r.outbox()) != 1 {
					t.Errorf("state %v, outbox %v", s, r.outbox())
				}
			})
		})
	}
}

// A human's run is a human's word: it may overrule the break-glass of another, and lifts its mark.
func TestAHumansRunIsNotHeldBackByABreakGlass(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("c"))))
		r.fails("b", 1)
		synctest.Wait()
		overrule(t, r, "b")
		start(t, r, "outage")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetActiveProvider() != "c" || s.GetBreakGlass() {
			t.Errorf("state %v", s)
		}
	})
}
