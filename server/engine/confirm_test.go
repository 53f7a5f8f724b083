package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

func TestCandidatesAreTriedInOrderAndConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(confirmed(switchTo("b", "c"), time.Minute))))
		r.fails("a", 1)
		synctest.Wait()
		if s := r.state(); s.GetActiveProvider() != "b" || !s.GetProvisional() {
			t.Fatalf("state %v", s)
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if s := r.state(); s.GetActiveProvider() != "c" || !s.GetProvisional() || s.GetEpoch() != 3 {
			t.Fatalf("state after the first candidate's time: %v", s)
		}
		r.probes.set("c", 3)
		r.first.engine.Poke("chat")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetProvisional() || s.GetEpoch() != 3 {
			t.Errorf("state %v", s)
		}
	})
}

func TestARunThatIsCanceledLeavesNoProvisionalRoute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(confirmed(switchTo("b"), time.Minute))))
		r.fails("a", 1)
		synctest.Wait()
		if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: r.only().GetName(), Reason: "enough"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), canceled)
		if s := r.state(); s.GetActiveProvider() != "b" || s.GetProvisional() || s.GetEpoch() != 2 {
			t.Errorf("state %v", s)
		}
	})
}

func TestQueueingMayBeSwitchedWhileASwitchIsConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(confirmed(switchTo("b"), time.Minute))))
		r.fails("a", 1)
		synctest.Wait()
		if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "to be sure"}); err != nil {
			t.Fatal(err)
		}
		r.probes.set("b", 3)
		r.first.engine.Poke("chat")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetActiveProvider() != "b" || !s.GetQueueing() || s.GetProvisional() {
			t.Errorf("state %v", s)
		}
	})
}

func TestASwitchIsConfirmedByJudgedHealthWhenNoDetectorIsNamed(t *testing.T) {
	for _, stays := range []bool{true, false} {
		inBubble(t, func(t *testing.T, r *rig) {
			s := confirmed(switchTo("b", "c"), time.Minute)
			s.GetSwitchProvider().Confirm.Detector = ""
			r.catalog(book("outage", doing(s)))
			r.fails("a", 1)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if st := r.state(); st.GetActiveProvider() != "b" || !st.GetProvisional() {
				t.Fatalf("state %v", st)
			}
			if !stays {
				r.health("b", jv1.HealthState_HEALTH_STATE_SUSPECT, 0)
			}
			time.Sleep(31 * time.Second)
			synctest.Wait()
			st := r.state()
			if stays && (st.GetActiveProvider() != "b" || st.GetProvisional()) || !stays && st.GetActiveProvider() != "c" {
				t.Errorf("stays=%v: state %v", stays, st)
			}
		})
	}
}

func TestWithoutAConfirmedCandidateTheRouteIsKeptOrTakenBack(t *testing.T) {
	for _, back := range []bool{true, false} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.catalog(book("outage", doing(onFailure(confirmed(switchTo("b"), time.Minute), jv1.OnFailure_ON_FAILURE_CONTINUE),
				given(queue(), "steps.switch.failed"))))
			r.fails("a", 1)
			synctest.Wait()
			if back {
				r.recovers("a", 1)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			want(t, r.only(), succeeded)
			active := map[bool]string{true: "a", false: "b"}[back]
			if s := r.state(); s.GetActiveProvider() != active || !s.GetQueueing() {
				t.Errorf("back=%v: state %v", back, s)
			}
		})
	}
}

func TestNoSwitchWithoutEvidenceOfHealth(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b", "c"))))
		r.fails("c", 1)
		// b is judged healthy, but all that says so has expired.
		r.commit(store.Delete(store.VotesKey("chat", "probe-b")))
		r.fails("a", 1)
		synctest.Wait()
		run := r.only()
		want(t, run, failed)
		for _, guard := range []continuity.Guard{continuity.TargetUnproven, continuity.TargetUnhealthy} {
			if !strings.Contains(run.GetOutcome(), string(guard)) {
				t.Errorf("%s is not named in %q", guard, run.GetOutcome())
			}
		}
		if r.state().GetEpoch() != 1 {
			t.Errorf("state %v", r.state())
		}
	})
}
