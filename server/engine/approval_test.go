package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/engine"
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

func approving(s *jv1.Step, edit func(*jv1.ApprovalStep)) *jv1.Step {
	edit(s.GetApproval())
	return s
}

// told counts the messages whose text holds a part.
func (r *rig) told(part string) (n int) {
	r.t.Helper()
	for _, m := range r.outbox() {
		if strings.Contains(m.GetText(), part) {
			n++
		}
	}
	return n
}

// Before an approval's time is up its channels are told once what will happen then, and how to answer, whoever executes
// the run by then.
func TestAnApprovalWarnsOnceBeforeItsTimeIsUp(t *testing.T) {
	for action, consequence := range map[jv1.TimeoutAction]string{
		jv1.TimeoutAction_TIMEOUT_ACTION_DENY:     "it counts as rejected",
		jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:  "it counts as approved",
		jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE: "further people are told and the run goes on waiting",
	} {
		t.Run(action.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("s", doing(lasting(approving(ask("one"), func(a *jv1.ApprovalStep) { a.OnTimeout = action }), time.Hour))))
				run := start(t, r, "s")
				time.Sleep(53 * time.Minute)
				synctest.Wait()
				if n := r.told("if nobody answers by"); n != 0 {
					t.Fatalf("warned %d times after 53 minutes of 60", n)
				}
				heir := r.replica("two", r.backend)
				defer heir.kill()
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if n := r.told(consequence + ": go on?"); n != 1 {
					t.Fatalf("warned %d times of %q", n, consequence)
				}
				if n := r.told("jurymast approve " + run.GetName() + " --reason"); n < 2 {
					t.Errorf("%d messages say how to answer", n)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if n := r.told("if nobody answers by"); n != 1 {
					t.Errorf("warned %d times", n)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				switch got := r.only(); action {
				case jv1.TimeoutAction_TIMEOUT_ACTION_DENY:
					want(t, got, failed)
				case jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:
					want(t, got, succeeded)
				default:
					want(t, got, waiting)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := r.told("if nobody answers by"); n != 1 {
					t.Errorf("warned %d times in the end", n)
				}
			})
		})
	}
}

// A replica that takes a run over after the warning was written does not warn again.
func TestAWarningIsNotRepeatedByTheNextOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(lasting(ask("one"), time.Hour))))
		start(t, r, "s")
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		observer := r.first.store
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		heir := r.replica("two", r.backend)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.told("if nobody answers by"); n != 1 {
			t.Errorf("warned %d times", n)
		}
		heir.kill()
		observer.Close()
	})
}

// An answer and the end of the time at the same moment: the one that is stored first decides, and the other is told so.
func TestAnAnswerAndTheTimeoutRace(t *testing.T) {
	answered, late := 0, 0
	for i := range 40 {
		inBubble(t, func(t *testing.T, r *rig) {
			r.catalog(book("s", doing(lasting(ask("one"), time.Hour), queue())))
			run := start(t, r, "s")
			synctest.Wait()
			deadline := r.only().GetSteps()[0].GetDeadline().AsTime()
			time.Sleep(time.Until(deadline) - time.Duration(i%2))
			_, err := r.first.engine.Decide(as(r.ctx, "ana"), &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "go"})
			time.Sleep(time.Second)
			synctest.Wait()
			got := r.only()
			switch {
			case err == nil:
				answered++
				want(t, got, succeeded)
			case errors.Is(err, engine.ErrNotPossible):
				late++
				want(t, got, failed)
			default:
				t.Errorf("the answer was refused: %v", err)
			}
			if done := got.GetState() == succeeded; r.state().GetQueueing() != done || len(got.GetSteps()[0].GetDecisions()) > 0 != done {
				t.Errorf("half of both: %v", got)
			}
		})
	}
	t.Logf("%d answers came in time, %d too late", answered, late)
	if answered == 0 {
		t.Error("no answer ever came in time")
	}
}

// Enough different people approve; who is not an approver, answers twice, or started the run is told why they may not.
func TestApproversAreSeveralPeople(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(approving(ask("one"), func(a *jv1.ApprovalStep) {
			a.Approvers, a.Count, a.ExcludeStarter = []string{"ana", "ben", "role:admin"}, 2, true
		}))))
		run := start(t, r, "s") // by ana
		synctest.Wait()
		say := func(ctx context.Context, approve bool) error {
			_, err := r.first.engine.Decide(ctx, &jv1.DecideRunRequest{Name: run.GetName(), Approve: approve, Comment: "c"})
			synctest.Wait()
			return err
		}
		admin := audit.With(r.ctx, audit.Caller{Principal: "ada", Role: "admin"})
		for _, tc := range []struct {
			who  context.Context
			err  error
			text string
		}{
			{as(r.ctx, "eve"), engine.ErrForbidden, "eve may not answer, only ana, ben, role:admin may"},
			{as(r.ctx, "ana"), engine.ErrForbidden, "ana started the run and may not approve it, somebody else has to"},
			{as(r.ctx, "ben"), nil, ""},
			{as(r.ctx, "ben"), engine.ErrNotPossible, "ben has answered already, somebody else has to"},
			{admin, nil, ""},
			{as(r.ctx, "ben"), engine.ErrNotPossible, "has ended"},
		} {
			err := say(tc.who, true)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s: %v, want %v %q", audit.From(tc.who).Principal, err, tc.err, tc.text)
			}
		}
		got := r.only()
		want(t, got, succeeded)
		if n := len(r.outbox()); n != 1 {
			t.Errorf("%d messages: an approval of several tells its channels again", n)
		}
	})
}

// Who started a run may still reject it, and one rejection suffices.
func TestOneRejectionRejects(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(approving(ask("one"), func(a *jv1.ApprovalStep) { a.Count, a.ExcludeStarter = 2, true }))))
		run := start(t, r, "s")
		synctest.Wait()
		for _, vote := range []struct {
			who string
			yes bool
		}{{"ben", true}, {"ana", false}} {
			if _, err := r.first.engine.Decide(as(r.ctx, vote.who), &jv1.DecideRunRequest{Name: run.GetName(), Approve: vote.yes, Comment: "c"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		want(t, r.only(), jv1.RunState_RUN_STATE_CANCELED)
	})
}
