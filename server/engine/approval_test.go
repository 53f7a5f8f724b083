package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// A pause while a question stands leaves the question: it is answered, and then the run waits to be resumed.
func TestAPauseWhileAnApprovalWaitsHoldsAfterTheAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(ask("one"), queue())))
		run := start(t, r, "s")
		synctest.Wait()
		steerable := r.first.engine
		if _, err := steerable.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL || !got.GetPauseRequested() {
			t.Fatalf("the pause changed what the run asks: %v", got)
		}
		decide(t, r)
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_RESUME || r.state().GetQueueing() {
			t.Fatalf("it did not hold after the answer: %v", got)
		}
		if _, err := steerable.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "looked"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// Taking a pause back leaves the question that the run asks.
func TestAPauseIsTakenBackWhileAnApprovalWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(ask("one"))))
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "fine"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL || got.GetPauseRequested() {
			t.Fatalf("it does not ask any more: %v", got)
		}
		decide(t, r)
		want(t, r.only(), succeeded)
	})
}

// A cancel ends a run that waits for an answer, at once.
func TestACancelEndsAWaitingApproval(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(ask("one"), queue())))
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: run.GetName(), Reason: "no"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), jv1.RunState_RUN_STATE_CANCELED)
		if r.state().GetQueueing() {
			t.Error("what came after the question was done")
		}
	})
}
