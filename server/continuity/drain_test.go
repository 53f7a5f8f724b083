package continuity_test

import (
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// change commits what decide does to the workspace of service chat.
func (x *fixture) change(decide func(w *continuity.Workspace)) *jv1.ContinuityState {
	x.t.Helper()
	var txn store.Txn
	x.store.Read(func(v store.View) {
		w := continuity.Open(v, "chat", time.Now())
		decide(w)
		txn.If, txn.Then = w.Txn()
	})
	if len(txn.Then) > 0 {
		res, err := x.store.Commit(x.ctx, txn)
		if err != nil || !res.Committed {
			x.t.Fatalf("commit: %v, %v", res, err)
		}
		if err := x.store.WaitRevision(x.ctx, res.Revision); err != nil {
			x.t.Fatal(err)
		}
	}
	var st *jv1.ContinuityState
	x.store.Read(func(v store.View) { st = store.Get[*jv1.ContinuityState](v, store.ContinuityKey("chat")).Msg })
	return st
}

// A drain is nobody's word about the route: neither beginning nor end takes a break-glass, or whose route it is, away.
func TestADrainLeavesWhoseRouteItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		x.judge("b", jv1.HealthState_HEALTH_STATE_FAILING)
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "I know better", BreakGlass: true}); err != nil {
			t.Fatal(err)
		}
		st := x.change(func(w *continuity.Workspace) { w.StartDrain("1/s", "r-1") })
		if !st.GetBreakGlass() || st.GetActor() != "ana" || st.GetRun() != "" || st.GetEpoch() != 3 || st.GetDrain().GetRun() != "r-1" {
			t.Errorf("draining: %v", st)
		}
		if st := x.change(func(w *continuity.Workspace) {
			if w.EndDrain("r-2") {
				t.Error("another run's drain was ended")
			}
		}); st.GetDrain() == nil || st.GetEpoch() != 3 {
			t.Errorf("after another run: %v", st)
		}
		if st := x.change(func(w *continuity.Workspace) { w.EndDrain("r-1") }); st.GetDrain() != nil || !st.GetBreakGlass() || st.GetActor() != "ana" || st.GetEpoch() != 4 {
			t.Errorf("drained: %v", st)
		}
	})
}

func TestReportersAreThoseWhoKeepAQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		report := func(req *jv1.ReportInForceRequest) {
			t.Helper()
			if _, err := x.desk.ReportInForce(x.ctx, req); err != nil {
				t.Fatal(err)
			}
		}
		queue := map[string]*jv1.QueueStatus{"chat": {Queued: 3}}
		report(&jv1.ReportInForceRequest{Subscriber: "app", Epochs: map[string]int64{"chat": 7}})
		report(&jv1.ReportInForceRequest{Subscriber: "gw-2", Epochs: map[string]int64{"chat": 7}, Queues: queue, RestoreEpoch: "000000000000001-0"})
		report(&jv1.ReportInForceRequest{Subscriber: "gw-1", Epochs: map[string]int64{"chat": 7}, Queues: queue})
		report(&jv1.ReportInForceRequest{Subscriber: "gw-3", Epochs: map[string]int64{"chat": 6}, Queues: queue, RestoreEpoch: x.store.RestoreEpoch()})
		report(&jv1.ReportInForceRequest{Subscriber: "gw-4", Epochs: map[string]int64{"video": 9}, Queues: map[string]*jv1.QueueStatus{"video": {}}})
		synctest.Wait()
		x.store.Read(func(v store.View) {
			got := continuity.Open(v, "chat", time.Now()).Reporters(7)
			if len(got) != 3 || got[0].Name != "gw-1" || !got[0].InForce || got[1].InForce || got[2].InForce || got[2].Queue.GetQueued() != 3 {
				t.Errorf("reporters %+v", got)
			}
			st := continuity.Present(v, "chat", time.Now())
			if len(st.GetInForce()) != 4 || len(continuity.PresentRoute(v, "chat").GetInForce()) != 0 {
				t.Errorf("in force %v", st.GetInForce())
			}
			for _, f := range st.GetInForce() {
				if f.GetSubscriber() == "gw-1" && (f.GetRestoreEpoch() != x.store.RestoreEpoch() || f.GetQueue().GetQueued() != 3) {
					t.Errorf("a report that names no life of the store: %v", f)
				}
			}
		})
	})
}
