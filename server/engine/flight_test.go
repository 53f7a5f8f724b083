package engine_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// gate holds calls of the sink until it is opened.
type gate struct {
	once sync.Once
	open chan struct{}
}

func newGate(r *rig) *gate {
	g := &gate{open: make(chan struct{})}
	r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
		select {
		case <-g.open:
			return respond(http.StatusOK), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	return g
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// alone leaves the rig without an engine but that of one replica whose store can be taken away.
func (r *rig) alone(name string) (*replica, *storetest.Faulty) {
	r.t.Helper()
	r.first.stop()
	r.first.done.Wait()
	r.first.stop = func() {}
	f := storetest.NewFaulty(r.backend)
	return r.replica(name, f), f
}

// Losing the session does not lose a call that is under way: its result is told to the run once this replica has claimed
// it again, whether it came before or after. Nobody has to find out what the replica knows.
func TestACallSurvivesTheLossOfTheSession(t *testing.T) {
	for name, tc := range map[string]struct {
		answered time.Duration // after the store has gone, which is for 20 s
	}{"answered while the store is away": {5 * time.Second}, "answered after the run is claimed again": {26 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				g := newGate(r)
				r.catalog(book("s", doing(tell("hello"), post("one", once), queue())))
				p, faults := r.alone("two")
				defer p.kill()
				defer g.release()
				if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				before := r.only().GetOwner().GetSession()
				faults.SetDown(true)
				time.AfterFunc(tc.answered, g.release)
				time.Sleep(20 * time.Second)
				if p.engine.Ready() {
					t.Fatal("the session outlived its store")
				}
				faults.SetDown(false)
				time.Sleep(9 * time.Second)
				synctest.Wait()
				got := r.only()
				want(t, got, succeeded)
				if got.GetOwner().GetSession() == before {
					t.Error("the run was not claimed anew")
				}
				if n := len(r.sink.keys()); n != 1 {
					t.Errorf("%d calls of a step that is made once", n)
				}
			})
		})
	}
}

// A call that may be repeated is not made a second time while the first is under way in the same process.
func TestACallThatIsUnderWayIsNotRepeatedByTheNextSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		g := newGate(r)
		r.catalog(book("s", doing(tell("hello"), post("one"))))
		p, faults := r.alone("two")
		defer p.kill()
		defer g.release()
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		faults.SetDown(true)
		time.Sleep(15 * time.Second)
		faults.SetDown(false)
		time.Sleep(10 * time.Second)
		g.release()
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if n := len(r.sink.keys()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// What another replica has claimed meanwhile is not told to it: it parks a call of which it knows nothing, and the late
// result changes nothing.
func TestALateResultIsNotToldToARunOfAnotherReplica(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		g := newGate(r)
		r.catalog(book("s", doing(tell("hello"), post("one", once))))
		p, faults := r.alone("two")
		defer p.kill()
		defer g.release()
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		heir := r.replica("three", r.backend)
		defer heir.kill()
		faults.SetDown(true)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN {
			t.Fatalf("the heir did not park the call: %v", got)
		}
		g.release()
		faults.SetDown(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN {
			t.Fatalf("a result of nobody's call was taken: %v", got)
		}
	})
}

// A result that came just before the session was lost, and could not be stored any more, is told by the next one.
func TestAResultThatCouldNotBeStoredIsToldLater(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		g := newGate(r)
		r.catalog(book("s", doing(tell("hello"), post("one", once), queue())))
		p, faults := r.alone("two")
		defer p.kill()
		defer g.release()
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		faults.SetDown(true)
		g.release()
		synctest.Wait()
		time.Sleep(20 * time.Second)
		faults.SetDown(false)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// What undoes a step survives the loss of the session likewise: its result is told to the run once it is claimed again,
// and it is not made a second time.
func TestAnUndoingSurvivesTheLossOfTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		g := newGate(r)
		gated := r.sink.answer
		r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
			switch req.URL.Path {
			case "/back":
				return gated(n, req)
			case "/refused":
				return respond(http.StatusBadRequest), nil
			}
			return respond(http.StatusOK), nil
		}
		r.catalog(book("s", doing(undoneBy(post("one"), call("back")), onFailure(post("refused"), compensateAll))))
		p, faults := r.alone("two")
		defer p.kill()
		defer g.release()
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		faults.SetDown(true)
		time.AfterFunc(26*time.Second, g.release)
		time.Sleep(20 * time.Second)
		faults.SetDown(false)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		got := r.only()
		want(t, got, failed)
		if n := len(r.sink.keys()); n != 3 || got.GetSteps()[0].GetState() != jv1.StepState_STEP_STATE_COMPENSATED ||
			got.GetSteps()[0].GetUndoing().GetAttemptCount() != 1 {
			t.Errorf("%d calls, %v", n, got.GetSteps()[0])
		}
	})
}
