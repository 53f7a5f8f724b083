package engine_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/store"
)

const (
	succeeded = jv1.RunState_RUN_STATE_SUCCEEDED
	failed    = jv1.RunState_RUN_STATE_FAILED
	canceled  = jv1.RunState_RUN_STATE_CANCELED
	waiting   = jv1.RunState_RUN_STATE_WAITING
	running   = jv1.RunState_RUN_STATE_RUNNING
)

func want(t *testing.T, run *jv1.Run, state jv1.RunState) *jv1.Run {
	t.Helper()
	if run.GetState() != state {
		t.Fatalf("run is %v, want %v: %s; steps %v", run.GetState(), state, run.GetOutcome(), run.GetSteps())
	}
	return run
}

func start(t *testing.T, r *rig, runbook string) *jv1.Run {
	t.Helper()
	run, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: runbook, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestAFailingProviderIsSwitchedAwayInOneTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(tell("first"), switchTo("b", "c"), tell("second"))))
		r.health("a", jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
		synctest.Wait()
		before := r.revision()
		r.fails("a", 1)
		synctest.Wait()
		run := r.only()
		want(t, run, succeeded)
		if s := r.state(); s.GetActiveProvider() != "b" || s.GetEpoch() != 2 || s.GetRun() != run.GetName() || s.GetPreviousProvider() != "a" {
			t.Errorf("state %v", s)
		}
		if n := len(r.outbox()); n != 2 {
			t.Errorf("%d notifications", n)
		}
		// One transaction is the test's own, one creates and ends the run.
		if n := r.revision() - before; n != 2 {
			t.Errorf("it took %d transactions", n-1)
		}
		tr := get[*jv1.Trigger](r, store.TriggerKey("h-chat-a-1-failing"))
		if tr.GetState() != jv1.TriggerState_TRIGGER_STATE_SETTLED || tr.GetOutcomes()[0].GetRun() != run.GetName() {
			t.Errorf("trigger %v", tr)
		}
		if lock := get[*recordv1.LiveRun](r, store.LiveRunKey("chat")); lock != nil {
			t.Errorf("the service is still locked by %v", lock)
		}
	})
}

func TestThreeOutsideStepsNeedFourTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("calls", doing(post("one"), post("two"), post("three"))))
		synctest.Wait()
		before := r.revision()
		run := start(t, r, "calls")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if n := r.revision() - before; n != 4 {
			t.Errorf("3 steps took %d transactions, want 4", n)
		}
		id := run.GetName()
		if got := r.sink.keys(); !slices.Equal(got, []string{"/one " + id + ".one", "/two " + id + ".two", "/three " + id + ".three"}) {
			t.Errorf("calls %v", got)
		}
	})
}

func TestOneEpisodeStartsOneRunWhateverRepeats(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"), pauseFor(time.Hour))))
		r.fails("a", 1)
		synctest.Wait()
		for range 3 {
			tr, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Provider: "a", Runbook: "outage", Reason: "again"})
			if err != nil || tr.GetOutcomes()[0].GetState() != jv1.OutcomeState_OUTCOME_STATE_ATTACHED {
				t.Fatalf("trigger %v, %v", tr, err)
			}
		}
		want(t, r.only(), running)
	})
}

func TestASecondReplicaAddsNoRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		two := r.replica("two", r.backend)
		defer two.kill()
		r.catalog(book("outage", doing(switchTo("b"), post("call"))))
		r.fails("a", 1)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if n := len(r.sink.keys()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestAGuardHoldsATriggerBackUntilItLetsGo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		off := func(on bool) {
			if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: on, Reason: "works"}); err != nil {
				t.Fatal(err)
			}
		}
		off(false)
		r.fails("a", 1)
		synctest.Wait()
		tr := get[*jv1.Trigger](r, store.TriggerKey("h-chat-a-1-failing"))
		if len(r.runs()) != 0 || tr.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING || tr.GetOutcomes()[0].GetGuard() != string(continuity.AutomationOff) {
			t.Fatalf("runs %v, trigger %v", r.runs(), tr)
		}
		why, err := r.first.engine.WhyNot(r.ctx, "chat")
		if err != nil || len(why.GetEntries()) != 1 || why.GetEntries()[0].GetReason() != string(continuity.AutomationOff) {
			t.Errorf("why-not %v, %v", why, err)
		}
		off(true)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

func TestATriggerWhoseCauseIsGoneIsCleared(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{Service: "chat", Reason: "works"}); err != nil {
			t.Fatal(err)
		}
		r.fails("a", 1)
		synctest.Wait()
		r.recovers("a", 1)
		synctest.Wait()
		if tr := get[*jv1.Trigger](r, store.TriggerKey("h-chat-a-1-failing")); tr.GetState() != jv1.TriggerState_TRIGGER_STATE_CLEARED {
			t.Errorf("trigger %v", tr)
		}
		if len(r.runs()) != 0 {
			t.Errorf("runs %v", r.runs())
		}
	})
}

func TestProposeAsksAHumanFirst(t *testing.T) {
	for _, approve := range []bool{true, false} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.catalog(book("outage", level(0), doing(switchTo("b"), tell("told"))))
			r.fails("a", 1)
			synctest.Wait()
			run := r.only()
			want(t, run, waiting)
			if run.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL || r.state().GetActiveProvider() != "a" || len(r.outbox()) != 1 {
				t.Fatalf("run %v, state %v, outbox %v", run, r.state(), r.outbox())
			}
			if _, err := r.first.engine.Decide(as(r.ctx, "ana"), &jv1.DecideRunRequest{Name: run.GetName(), Approve: approve, Comment: "ok"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if approve {
				want(t, r.only(), succeeded)
				if r.state().GetActiveProvider() != "b" {
					t.Errorf("state %v", r.state())
				}
				return
			}
			want(t, r.only(), canceled)
			if r.state().GetActiveProvider() != "a" {
				t.Errorf("state %v", r.state())
			}
		})
	}
}

func TestAProposalEndsWhenItsCauseIsGoneAndRemindsUntilThen(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", level(0), doing(switchTo("b"), tell("told"))))
		r.fails("a", 1)
		time.Sleep(46 * time.Minute)
		synctest.Wait()
		if n := len(r.outbox()); n != 4 {
			t.Errorf("%d notifications after 46 minutes, want the question and 3 reminders", n)
		}
		r.recovers("a", 1)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		want(t, r.only(), canceled)
	})
}

func TestCooldownHoldsARelapseBackAndAcknowledgementClearsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		r.fails("a", 1)
		synctest.Wait()
		r.recovers("a", 1)
		if _, err := r.first.desk.Undo(as(r.ctx, "ana"), &jv1.UndoRequest{Service: "chat", Reason: "well again"}); err != nil {
			t.Fatal(err)
		}
		r.fails("a", 2)
		synctest.Wait()
		if n := len(r.runs()); n != 1 {
			t.Fatalf("%d runs within the cooldown", n)
		}
		ack, err := r.first.desk.Acknowledge(as(r.ctx, "ana"), &jv1.AcknowledgeRequest{Service: "chat", Reason: "seen"})
		if err != nil || !slices.Equal(ack.GetCleared(), []string{"outage"}) {
			t.Fatalf("ack %v, %v", ack, err)
		}
		synctest.Wait()
		if n := len(r.runs()); n != 2 {
			t.Errorf("%d runs after the acknowledgement", n)
		}
	})
}

func TestCooldownEndsByItself(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b", "a"))))
		r.fails("a", 1)
		synctest.Wait()
		r.recovers("a", 1)
		if _, err := r.first.desk.Undo(as(r.ctx, "ana"), &jv1.UndoRequest{Service: "chat", Reason: "well again"}); err != nil {
			t.Fatal(err)
		}
		r.fails("a", 2)
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if n := len(r.runs()); n != 2 {
			t.Errorf("%d runs after the cooldown", n)
		}
	})
}

func TestARunThatWaitsForAHumanIsSupersededByTheNextDisaster(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b", "c"), ask("sure"))))
		r.fails("a", 1)
		synctest.Wait()
		first := r.only()
		want(t, first, waiting)
		time.Sleep(time.Second)
		r.fails("b", 1)
		synctest.Wait()
		all := r.runs()
		if len(all) != 2 || all[0].GetState() != jv1.RunState_RUN_STATE_SUPERSEDED || r.state().GetActiveProvider() != "c" {
			t.Fatalf("runs %v, state %v", all, r.state())
		}
	})
}

func TestARunThatActsIsNotSupersededAndTheTriggerWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b", "c"), pauseFor(time.Hour))))
		r.fails("a", 1)
		synctest.Wait()
		r.fails("b", 1)
		synctest.Wait()
		tr := get[*jv1.Trigger](r, store.TriggerKey("h-chat-b-1-failing"))
		if len(r.runs()) != 1 || tr.GetOutcomes()[0].GetGuard() != string(continuity.LiveRun) {
			t.Fatalf("runs %v, trigger %v", r.runs(), tr)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if r.state().GetActiveProvider() != "c" || len(r.runs()) != 2 {
			t.Errorf("state %v", r.state())
		}
	})
}

func TestFailedCallsAreRepeatedWithTheSameKey(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(n int, _ *http.Request) (*http.Response, error) {
			if n < 3 {
				return respond(http.StatusBadGateway), nil
			}
			return respond(http.StatusOK), nil
		}
		r.catalog(book("calls", doing(post("one"))))
		run := start(t, r, "calls")
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.only(), succeeded)
		key := "/one " + run.GetName() + ".one"
		if got := r.sink.keys(); !slices.Equal(got, []string{key, key, key}) {
			t.Errorf("calls %v", got)
		}
	})
}

func TestACallWithUnknownOutcomeIsParkedAndAHumanDecides(t *testing.T) {
	for decision, end := range map[jv1.OutcomeDecision]jv1.RunState{
		jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED: succeeded,
		jv1.OutcomeDecision_OUTCOME_DECISION_FAILED:    failed,
		jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT:    succeeded,
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.sink.answer = func(n int, _ *http.Request) (*http.Response, error) {
				if n == 1 {
					return nil, errors.New("connection reset after the request was sent")
				}
				return respond(http.StatusOK), nil
			}
			r.catalog(book("calls", doing(post("one", once))))
			run := start(t, r, "calls")
			synctest.Wait()
			parked := r.only()
			want(t, parked, waiting)
			if parked.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN || parked.GetSteps()[0].GetState() != jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN {
				t.Fatalf("run %v", parked)
			}
			if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "looked"}); !errors.Is(err, engine.ErrInvalid) {
				t.Fatalf("resume without a decision: %v", err)
			}
			if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "looked", Outcome: decision}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			want(t, r.only(), end)
			calls := map[bool]int{true: 2, false: 1}[decision == jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT]
			if n := len(r.sink.keys()); n != calls {
				t.Errorf("%v: %d calls", decision, n)
			}
		})
	}
}

func TestCancelStopsACallUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		r.catalog(book("calls", doing(post("one"), post("two"))))
		run := start(t, r, "calls")
		synctest.Wait()
		if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: run.GetName(), Reason: "wrong one"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), canceled)
		if n := len(r.sink.keys()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestPauseHoldsAndResumeGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("calls", doing(pauseFor(time.Minute), post("one"))))
		run := start(t, r, "calls")
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "look"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, r.only(), waiting)
		if len(r.sink.keys()) != 0 {
			t.Fatal("a paused run went on")
		}
		if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "fine"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

func TestCompensationUndoesInReverse(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(int, *http.Request) (*http.Response, error) { return respond(http.StatusBadRequest), nil }
		r.catalog(book("outage", doing(switchTo("b"), queue(), onFailure(post("one"), jv1.OnFailure_ON_FAILURE_COMPENSATE))))
		start(t, r, "outage")
		synctest.Wait()
		want(t, r.only(), failed)
		if s := r.state(); s.GetActiveProvider() != "a" || s.GetQueueing() || s.GetEpoch() != 3 {
			t.Errorf("state %v", s)
		}
		for _, s := range r.only().GetSteps()[:2] {
			if s.GetState() != jv1.StepState_STEP_STATE_COMPENSATED {
				t.Errorf("step %v", s)
			}
		}
	})
}

func TestStartIsIdempotentByRequestID(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("calls", doing(pauseFor(time.Hour))))
		req := &jv1.StartRunRequest{Runbook: "calls", Reason: "test", RequestId: "x"}
		one, err := r.first.engine.Start(as(r.ctx, "ana"), req)
		if err != nil {
			t.Fatal(err)
		}
		two, err := r.first.engine.Start(as(r.ctx, "ana"), req)
		if err != nil || two.GetName() != one.GetName() {
			t.Errorf("second start %v, %v", two, err)
		}
		var refusal *continuity.Refusal
		if _, err := r.first.engine.Start(as(r.ctx, "bob"), req); !errors.As(err, &refusal) || refusal.Guard != continuity.LiveRun {
			t.Errorf("another principal's request of the same id: %v", err)
		}
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(tell("first"), switchTo("b"), queue(), post("one"), pauseFor(time.Hour), ask("sure"))))
		if _, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "outage", Reason: "test", Mode: jv1.RunMode_RUN_MODE_DRY_RUN}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
		if r.state().GetEpoch() != 1 || len(r.outbox()) != 0 || len(r.sink.keys()) != 0 {
			t.Errorf("state %v, outbox %v, calls %v", r.state(), r.outbox(), r.sink.keys())
		}
	})
}

func TestARunOfADeadReplicaIsAdoptedAndTheCallInFlightRepeatedWithItsKey(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		hang := make(chan struct{})
		r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
			if n == 2 {
				select {
				case <-hang:
				case <-req.Context().Done():
				}
				return nil, context.Canceled
			}
			return respond(http.StatusOK), nil
		}
		two := r.replica("two", r.backend)
		defer two.kill()
		r.catalog(book("calls", doing(post("one"), post("two"), post("three"))))
		synctest.Wait() // the second replica's mirror has to show it as well
		run, err := two.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "calls", Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		two.kill()
		begin := time.Now()
		for r.only().GetState() == running && time.Since(begin) < time.Minute {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		want(t, r.only(), succeeded)
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("taken over after %v", took)
		}
		id := run.GetName()
		if got := r.sink.keys(); !slices.Equal(got, []string{"/one " + id + ".one", "/two " + id + ".two", "/two " + id + ".two", "/three " + id + ".three"}) {
			t.Errorf("calls %v", got)
		}
	})
}

func TestPlanSaysWhatARunWouldDo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(tell("first"), switchTo("b"), post("call"))), book("asks", level(0), doing(switchTo("b"))))
		plan, err := r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "outage"})
		if err != nil || !plan.GetWouldStart() || len(plan.GetSteps()) != 3 {
			t.Fatalf("plan %v, %v", plan, err)
		}
		for i, fused := range []bool{true, true, false} {
			if plan.GetSteps()[i].GetFused() != fused {
				t.Errorf("step %v", plan.GetSteps()[i])
			}
		}
		if plan, err = r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "asks"}); err != nil || plan.GetWouldStart() || plan.GetGuard() != "automation_level" {
			t.Errorf("plan %v, %v", plan, err)
		}
		if _, err = r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "nope"}); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("no such runbook: %v", err)
		}
	})
}
