package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// draining runs a test with two gateways while a run drains: one with requests, one with parked ones only.
func draining(t *testing.T, s *jv1.Step, f func(t *testing.T, r *rig, full, parked *gateway)) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		full := &gateway{rig: r, name: "gw-1", queued: 100}
		parked := &gateway{rig: r, name: "gw-2", parked: 2}
		r.catalog(book("s", doing(queue(), s, unqueue())))
		full.report()
		parked.report()
		start(t, r, "s")
		synctest.Wait()
		if st := r.state(); st.GetDrain().GetStartRate() != "2/s" || st.GetDrain().GetRun() != r.only().GetName() || st.GetEpoch() != 2 ||
			r.phase() != jv1.Phase_PHASE_FAILING_BACK {
			t.Fatalf("no drain: %v in %v", st, r.phase())
		}
		f(t, r, full, parked)
	})
}

func TestADrainEndsWhenEverybodyIsEmptyAndHasItInForce(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, full, parked *gateway) {
		full.work()
		full.queued, full.rate = 40, 4
		full.report()
		synctest.Wait()
		out := step(t, r.only(), "drain").GetOutput()
		if out["queued"] != "40" || out["parked"] != "2" || out["eta"] != "10s" || out["not_in_force"] != "gw-2" {
			t.Errorf("progress %v", out)
		}
		full.queued = 0
		full.report()
		synctest.Wait()
		want(t, r.only(), running) // gw-2 has not taken the drain over yet
		parked.work()
		synctest.Wait()
		want(t, r.only(), succeeded)
		st := r.state()
		if st.GetDrain() != nil || st.GetQueueing() || st.GetEpoch() != 3 {
			t.Errorf("state %v", st)
		}
		if out := step(t, r.only(), "drain").GetOutput(); out["parked"] != "2" || out["queued"] != "0" || out["eta"] != "" {
			t.Errorf("output %v", out)
		}
	})
}

func TestADrainWithoutARateHasNoBasisForAnEstimate(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, full, _ *gateway) {
		full.work()
		time.Sleep(11 * time.Second)
		if out := step(t, r.only(), "drain").GetOutput(); out["eta"] != "no basis yet" || out["queued"] != "99" {
			t.Errorf("progress %v", out)
		}
	})
}

func TestNobodyWhoKeepsAQueueIsDrainedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(queue(), drain("drain"), unqueue())))
		before := r.revision()
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if r.revision() != before+1 || r.state().GetDrain() != nil {
			t.Errorf("%d transactions, state %v", r.revision()-before, r.state())
		}
	})
}

func TestADrainThatTakesTooLongFailsAndIsTakenAway(t *testing.T) {
	draining(t, drainWithin("drain", time.Minute), func(t *testing.T, r *rig, full, _ *gateway) {
		full.work()
		time.Sleep(61 * time.Second)
		want(t, r.only(), failed)
		if e := step(t, r.only(), "drain").GetError(); !strings.Contains(e, "99 left") || r.state().GetDrain() != nil {
			t.Errorf("%s, state %v", e, r.state())
		}
	})
}

func TestACanceledRunLeavesNoDrain(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, _, _ *gateway) {
		if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: r.only().GetName(), Reason: "enough"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), canceled)
		if st := r.state(); st.GetDrain() != nil || st.GetEpoch() != 3 || !st.GetQueueing() {
			t.Errorf("state %v", st)
		}
	})
}

// A run that a human paused while it drained may be superseded: the gateways must not drain on for nobody.
func TestASupersededRunLeavesNoDrain(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, _, _ *gateway) {
		first := r.only()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: first.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), waiting)
		if r.state().GetDrain() == nil {
			t.Error("a pause ended the drain")
		}
		r.books(book("outage", doing(switchTo("b"))))
		r.fails("a", 1)
		synctest.Wait()
		if got := get[*jv1.Run](r, store.RunKey(first.GetName())); got.GetState() != jv1.RunState_RUN_STATE_SUPERSEDED || r.state().GetDrain() != nil || r.state().GetActiveProvider() != "b" {
			t.Errorf("%v, state %v", got.GetState(), r.state())
		}
	})
}

func TestAGatewayThatFallsSilentHoldsNothingForEver(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, full, parked *gateway) {
		for range 10 {
			parked.work()
			time.Sleep(10 * time.Second)
		}
		want(t, r.only(), succeeded)
		if out := step(t, r.only(), "drain").GetOutput(); out["silent"] != "gw-1 (100)" {
			t.Errorf("output %v", out)
		}
	})
}

func TestAnEpochOfAnotherLifeOfTheStoreIsNotInForce(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, full, parked *gateway) {
		full.queued, full.epoch = 0, 99
		full.report()
		report := get[*recordv1.InForceReport](r, store.InForceKey("gw-1"))
		report.RestoreEpoch = "000000000000001-00000000"
		r.commit(store.Put(store.InForceKey("gw-1"), report))
		parked.work()
		synctest.Wait()
		want(t, r.only(), running)
		full.work()
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// Two hours of a drain that crawls must not fill the journal.
func TestALongDrainKeepsItsJournalSmall(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, full, _ *gateway) {
		full.queued = 1 << 20
		for range 3600 {
			full.work()
			time.Sleep(time.Second)
		}
		if n := r.only().GetLastEvent(); n < 50 || n > 160 {
			t.Errorf("%d events in an hour", n)
		}
	})
}

// A step that is stopped, because the step it is part of has failed, is not asked any more how it ends.
func TestADrainThatIsStoppedIsTakenAway(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		gw := &gateway{rig: r, name: "gw", queued: 5}
		r.catalog(book("s", doing(parallel("both", anyError, drain("drain"), post("refused")))))
		gw.report()
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), failed)
		if st := r.state(); st.GetDrain() != nil || st.GetEpoch() < 2 {
			t.Errorf("state %v", st)
		}
	})
}

// A drain beside a question goes on, and says how far it is, while a human is asked.
func TestADrainGoesOnBesideAQuestion(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gw := &gateway{rig: r, name: "gw", queued: 20}
		r.catalog(book("s", doing(parallel("both", anyError, ask("sure"), drain("drain")))))
		gw.report()
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), running)
		for range 15 {
			gw.work()
			time.Sleep(time.Second)
		}
		if out := step(t, r.only(), "drain").GetOutput(); out["queued"] == "20" {
			t.Errorf("progress %v", out)
		}
		for range 10 {
			gw.work()
			time.Sleep(time.Second)
		}
		want(t, r.only(), waiting)
		if r.state().GetDrain() != nil {
			t.Errorf("state %v", r.state())
		}
	})
}

func TestADrainThatIsSkippedIsTakenAway(t *testing.T) {
	draining(t, drain("drain"), func(t *testing.T, r *rig, _, _ *gateway) {
		if _, err := r.first.engine.Skip(as(r.ctx, "ana"), &jv1.SkipStepRequest{Name: r.only().GetName(), Step: "drain", Reason: "by hand"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
		if st := r.state(); st.GetDrain() != nil || st.GetQueueing() {
			t.Errorf("state %v", st)
		}
	})
}
