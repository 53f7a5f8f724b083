package engine_test

import (
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// conflicts is how many transactions of the replica's engine had to be decided anew.
func conflicts(b *testing.B, r *prometheus.Registry) float64 {
	b.Helper()
	families, err := r.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "jurymast_engine_conflicts_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	b.Fatal("the engine counts no conflicts")
	return 0
}

// A region fails: 64 services switch at the same moment and take 64 slots. A counter would take 1 418 tries for that
// (protocol P8); slots of which each goes its own way take few more than 64.
func BenchmarkSimultaneousSwitches(b *testing.B) {
	const fleet = 64
	x := newBench(b)
	before := x.floor(b, 200)
	book := book("all", uncooled, doing(switchTo("b")))
	services := x.fleet(fleet, book)
	x.limit(fleet, time.Minute)
	var took []time.Duration
	var tries []float64
	for range max(b.N, 10) {
		was := conflicts(b, x.registry)
		begin := time.Now()
		var wg sync.WaitGroup
		for _, s := range services {
			wg.Go(func() {
				t, err := x.first.engine.Fire(as(x.ctx, "app"), &jv1.FireTriggerRequest{Service: s, Runbook: "all", Reason: "bench"})
				if err != nil || t.GetState() != jv1.TriggerState_TRIGGER_STATE_SETTLED {
					b.Error(t, err)
				}
			})
		}
		wg.Wait()
		took = append(took, time.Since(begin))
		tries = append(tries, fleet+conflicts(b, x.registry)-was)
		x.reset(services)
	}
	x.report(b, took, "all", before)
	sum := 0.0
	for _, n := range tries {
		sum += n
	}
	b.ReportMetric(sum/float64(len(tries)), "tries")
}

// reset frees all slots and brings all services back to provider a.
func (x *bench) reset(services []string) {
	x.t.Helper()
	for i, s := range services {
		svc := &jv1.Service{Name: s, Providers: []*jv1.ServiceProvider{{Name: "a"}}}
		x.commit(
			store.Put(store.ContinuityKey(s), continuity.Initial(svc, continuity.Author{Actor: "test"}, time.Now())),
			store.Delete(store.SwitchSlotKey(i)),
		)
	}
}
