package engine_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// until waits for a condition.
func until(condition string) *jv1.Step {
	return lasting(&jv1.Step{Id: "until", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Until: condition}}}, 20*time.Hour)
}

func expecting(s *jv1.Step, d time.Duration) *jv1.Step {
	s.Expected = durationpb.New(d)
	return s
}

// slow counts the events that call a step of the run slow, and the messages that say so.
func (r *rig) slow(run string) (events, messages int) {
	r.t.Helper()
	synctest.Wait()
	batches, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+run+"/", "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range batches {
		for _, ev := range b.Msg.GetEvents() {
			if ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW {
				events++
			}
		}
	}
	return events, r.told("is under way for")
}

func (r *rig) wantSlow(run string, n int) {
	r.t.Helper()
	if events, messages := r.slow(run); events != n || messages != n {
		r.t.Fatalf("%d events and %d messages of slow steps, want %d: %v", events, messages, n, r.only().GetSteps())
	}
}

// A step that takes longer than the plan expects is called slow once, with a message, and goes on.
func TestASlowStepIsToldOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(tell("hello"), expecting(until("queueing"), time.Minute))))
		run := start(t, r, "s").GetName()
		time.Sleep(59 * time.Second)
		r.wantSlow(run, 0)
		time.Sleep(2 * time.Second)
		r.wantSlow(run, 1)
		if !r.only().GetSteps()[1].GetSlow() {
			t.Error("the record does not say so")
		}
		observer := r.first.store
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		heir := r.replica("two", r.backend)
		time.Sleep(time.Hour)
		r.wantSlow(run, 1)
		if _, err := heir.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
		heir.kill()
		observer.Close()
	})
}

// Without a word in the plan, the last runs say how long a step takes.
func TestHistorySaysWhatIsSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(tell("hello"), until("queueing"))))
		turn := func(on bool) {
			t.Helper()
			if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: on, Reason: "x"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for i := range 5 {
			run := start(t, r, "s")
			time.Sleep(time.Duration(16+i) * time.Second)
			turn(true)
			want(t, get[*jv1.Run](r, store.RunKey(run.GetName())), succeeded)
			turn(false)
			if events, _ := r.slow(run.GetName()); events != 0 {
				t.Fatalf("run %d has no history to be slow by", i)
			}
		}
		run := start(t, r, "s")
		time.Sleep(39 * time.Second)
		if events, _ := r.slow(run.GetName()); events != 0 {
			t.Fatal("slow after 39 s, where the others took 16 to 20 s")
		}
		time.Sleep(2 * time.Second)
		if events, messages := r.slow(run.GetName()); events != 1 || messages != 1 {
			t.Fatalf("%d events and %d messages after 41 s", events, messages)
		}
		turn(true)
		want(t, get[*jv1.Run](r, store.RunKey(run.GetName())), succeeded)
	})
}

// A call that hangs is called slow while it is under way.
func TestASlowCallIsToldWhileItIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		release := make(chan struct{})
		r.sink.answer = func(int, *http.Request) (*http.Response, error) {
			<-release
			return respond(http.StatusOK), nil
		}
		r.catalog(book("s", doing(tell("hello"), expecting(post("one", once), 5*time.Second))))
		run := start(t, r, "s").GetName()
		time.Sleep(6 * time.Second)
		r.wantSlow(run, 1)
		close(release)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if n := len(r.sink.keys()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// The time that humans take makes no step slow: neither one that was held meanwhile nor one that asks them.
func TestHumansMakeNoStepSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(tell("hello"), expecting(until("queueing"), time.Minute), ask("one"))))
		run := start(t, r, "s").GetName()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run, Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, r.only(), waiting)
		resume(t, r, 0)
		time.Sleep(29 * time.Second)
		r.wantSlow(run, 0)
		time.Sleep(2 * time.Second)
		r.wantSlow(run, 1)
		if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		want(t, r.only(), waiting)
		r.wantSlow(run, 1)
		decide(t, r)
		want(t, r.only(), succeeded)
	})
}
