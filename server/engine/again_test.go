package engine_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// What never began because a step before it failed, however deep, begins when what it is part of is retried.
func TestARetryBeginsWhatNeverBeganInsideOfWhatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		refuse := true
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/refused" && refuse {
				return respond(http.StatusBadRequest), nil
			}
			return respond(http.StatusOK), nil
		}
		r.catalog(
			book("inner", quietly, doing(post("refused"), parallel("p", anyError, post("one"), post("two")))),
			book("middle", quietly, doing(include("x", "inner"))),
			book("s", doing(onFailure(include("m", "middle"), jv1.OnFailure_ON_FAILURE_PAUSE))),
		)
		run := start(t, r, "s")
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), waiting)
		refuse = false
		if _, err := r.first.engine.Retry(as(r.ctx, "ana"), &jv1.RetryStepRequest{Name: run.GetName(), Step: "m", Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		run = want(t, r.only(), succeeded)
		if got, all := states(run), "m succeeded, m.x succeeded, m.x.refused succeeded, m.x.p succeeded, m.x.one succeeded, m.x.two succeeded"; got != all {
			t.Errorf("got  %s\nwant %s", got, all)
		}
	})
}

// The time for which a human paused a run counts against no step: one that was proving health goes on with the time that
// it had left.
func TestAPauseTakesNoTimeFromTheStepItHolds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(&jv1.Step{
			Id: "verify", Timeout: durationpb.New(5 * time.Minute),
			Action: &jv1.Step_Verify{Verify: &jv1.VerifyStep{Provider: "a", For: durationpb.New(time.Minute)}},
		})))
		r.fails("a", 1)
		synctest.Wait()
		run := r.runs()[0]
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		want(t, r.only(), waiting)
		if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "looked"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want(t, r.only(), running)
		r.health("a", jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// A call that may be made once and that was under way when its executor was lost has an unknown outcome, also when the
// request can't be made any more from what is true now.
func TestALostCallThatCanNotBeMadeAgainIsNotTakenForFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = hangs("x")
		r.catalog(book("s", doing(post("call", once, func(h *jv1.HttpRequestStep) {
			h.Url = `{{if eq .Active "b"}}ftp{{else}}http{{end}}://sink/x`
		}))))
		start(t, r, "s")
		synctest.Wait()
		st := r.state()
		st.ActiveProvider = "b"
		r.commit(store.Put(store.ContinuityKey("chat"), st))
		two := r.replica("two", r.backend)
		r.first.kill()
		r.first = two
		time.Sleep(15 * time.Second)
		synctest.Wait()
		run := want(t, r.only(), waiting)
		if run.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN {
			t.Errorf("it waits for %v", run.GetWait())
		}
	})
}

// picky refuses to start a run on one trigger.
type picky struct {
	store.Backend
	trigger string
}

func (p picky) Commit(ctx context.Context, txn store.Txn) (store.Result, error) {
	mine, starts := false, false
	for _, op := range txn.Then {
		mine = mine || op.Key == store.TriggerKey(p.trigger)
		starts = starts || strings.HasPrefix(op.Key, store.Runs)
	}
	if mine && starts {
		return store.Result{}, store.ErrTooLarge
	}
	return p.Backend.Commit(ctx, txn)
}

// A trigger whose run can't be written holds the other triggers of its service back no more than itself.
func TestATriggerThatCanNotBeWrittenHoldsNoOtherBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.first.kill()
		r.first = r.replica("picky", picky{r.backend, "h-chat-a-1-failing"})
		r.catalog(book("s", doing(post("one")), func(b *jv1.Runbook) { b.On.Provider = "any" }))
		r.fails("a", 1)
		r.fails("b", 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if run := r.only(); run.GetProvider() != "b" {
			t.Errorf("%v", run)
		}
	})
}
