package engine_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Two questions side by side are one wait of the run: it is reminded of and escalated, each time once.
func TestQuestionsSideBySideAreRemindedOfAndEscalated(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.commit(store.Put(store.ChannelKey("boss"), &jv1.Channel{Name: "boss"}))
		r.catalog(book("s", escalating(10*time.Minute), doing(beside("both", ask("one"), ask("two")))))
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), waiting)
		time.Sleep(11 * time.Minute)
		r.wantEscalations(1)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := r.told("still waiting since"); n != 1 {
			t.Errorf("%d reminders, want one", n)
		}
		time.Sleep(5 * time.Minute)
		r.wantEscalations(2)
	})
}

// crowd is as many steps side by side that ask as many channels.
func crowd(r *rig, n int) *jv1.Step {
	var channels []string
	for i := range n {
		name := fmt.Sprintf("c%02d", i)
		channels = append(channels, name)
		r.commit(store.Put(store.ChannelKey(name), &jv1.Channel{Name: name, Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}))
	}
	var list []*jv1.Step
	for i := range n {
		s := ask(fmt.Sprintf("q%02d", i))
		s.GetApproval().Channels = channels
		list = append(list, s)
	}
	return parallel("crowd", anyError, list...)
}

// What many steps side by side tell many channels does not fit one transaction, and is told in several.
func TestManyQuestionsSideBySideAreAskedInSeveralTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(crowd(r, 12))))
		run := start(t, r, "s")
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), waiting)
		if n := len(r.outbox()); n != 12*12 {
			t.Errorf("%d messages, want 144", n)
		}
		for i := range 12 {
			if _, err := r.first.engine.Decide(as(r.ctx, "bea"), &jv1.DecideRunRequest{
				Name: run.GetName(), Step: fmt.Sprintf("q%02d", i), Approve: true, Comment: "fine",
			}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // the executor may breathe when twelve answers change the run under it
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// The same while another branch acts: then each branch is reminded of, warned of and escalated by itself.
func TestManyBranchesThatWaitAreRemindedOfWhileAnotherActs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.commit(store.Put(store.ChannelKey("boss"), &jv1.Channel{Name: "boss"}))
		step := crowd(r, 10)
		step.GetParallel().Steps = append(step.GetParallel().Steps, until("queueing"))
		r.catalog(book("s", escalating(15*time.Minute), doing(step)))
		start(t, r, "s")
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		want(t, r.only(), running)
		if n := r.told("still waiting since"); n != 10*10 {
			t.Errorf("%d reminders, want 100", n)
		}
		r.wantEscalations(10)
	})
}

// A call whose outcome is unknown and that was stopped is asked for, before it is made again because a human retries what
// it is part of.
func TestAStoppedCallIsCheckedBeforeARetryMakesItAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		posts, checks := 0, 0
		refuse := true
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			switch req.URL.Path {
			case "/slow":
				posts++
				<-req.Context().Done() // carried out, but nobody hears of it
				return nil, req.Context().Err()
			case "/check":
				checks++
				return respond(http.StatusOK), nil
			case "/refused":
				time.Sleep(time.Second)
				if refuse {
					return respond(http.StatusBadRequest), nil
				}
			}
			return respond(http.StatusOK), nil
		}
		slow := post("slow", func(h *jv1.HttpRequestStep) {
			h.Method, h.Repeat = http.MethodPost, jv1.Repeatability_REPEATABILITY_CHECKABLE
			h.Check = &jv1.HttpCheck{Url: "http://sink/check", CarriedOut: "status == 200"}
		})
		r.catalog(book("s", doing(onFailure(parallel("p", anyError, slow, post("refused")), jv1.OnFailure_ON_FAILURE_PAUSE))))
		run := start(t, r, "s")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want(t, r.only(), waiting)
		refuse = false
		if _, err := r.first.engine.Retry(as(r.ctx, "ana"), &jv1.RetryStepRequest{Name: run.GetName(), Step: "p", Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if posts != 1 || checks != 1 {
			t.Errorf("made %d times and asked for %d times, want once each", posts, checks)
		}
	})
}

// A run that is superseded while its switch waits to be confirmed leaves nobody who would confirm it.
func TestASupersededRunLeavesNoProvisionalRoute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(
			book("s", doing(confirmed(switchTo("b"), time.Hour))),
			book("next", quietly, doing(tell("one"))),
		)
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), waiting)
		if !r.state().GetProvisional() {
			t.Fatal("the switch is not provisional")
		}
		start(t, r, "next")
		synctest.Wait()
		if got := get[*jv1.Run](r, store.RunKey(run.GetName())); got.GetState() != jv1.RunState_RUN_STATE_SUPERSEDED {
			t.Fatalf("it is %v", got.GetState())
		}
		if st := r.state(); st.GetProvisional() {
			t.Errorf("still provisional: %v", st)
		}
	})
}

// A step that a human retries has all of its attempts once more.
func TestARetriedStepHasItsAttemptsOnceMore(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(n int, _ *http.Request) (*http.Response, error) {
			if n < 5 {
				return respond(http.StatusServiceUnavailable), nil
			}
			return respond(http.StatusOK), nil
		}
		s := onFailure(post("one"), jv1.OnFailure_ON_FAILURE_PAUSE)
		s.Retry = &jv1.Retry{Attempts: 3, Initial: durationpb.New(time.Second)}
		r.catalog(book("s", doing(s)))
		run := start(t, r, "s")
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.only(), waiting)
		if _, err := r.first.engine.Retry(as(r.ctx, "ana"), &jv1.RetryStepRequest{Name: run.GetName(), Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// A run that ends while its switch waits to be confirmed leaves no provisional route, also when a human has changed
// something else of the service since.
func TestACanceledRunLeavesNoProvisionalRouteAfterAHumansChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(confirmed(switchTo("b"), time.Hour))))
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !r.state().GetProvisional() {
			t.Fatal("the switch is not provisional")
		}
		if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: run.GetName(), Reason: "enough"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), canceled)
		if st := r.state(); st.GetProvisional() {
			t.Errorf("still provisional: %v", st)
		}
	})
}
