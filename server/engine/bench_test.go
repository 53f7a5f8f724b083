package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// bench is one replica on an embedded etcd that fsyncs, with a real HTTP sink.
type bench struct {
	*rig
	arrived chan time.Time
	// registry takes the metrics of the replica's engine.
	registry *prometheus.Registry
}

func newBench(b *testing.B) *bench {
	b.Helper()
	node := etcdtest.StartSingle(b, etcdtest.WithFsync())
	backend := store.NewEtcd(store.EtcdOptions{Client: node.Client()})
	x := &bench{arrived: make(chan time.Time, 1<<16), registry: prometheus.NewRegistry()}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { x.arrived <- time.Now() }))
	ctx, cancel := context.WithCancel(context.Background())
	x.rig = &rig{t: b, backend: backend, ctx: ctx, sink: &sink{}, probes: &probes{count: map[string]int{}}}
	x.first = x.replica("one", backend)
	// The rig's replica calls a sink in memory; here a server answers on loopback.
	transport := &http.Transport{MaxIdleConnsPerHost: 64, Proxy: nil}
	x.first.stop()
	x.first.done.Wait()
	x.first.store.Close()
	x.first = x.benchReplica(&http.Client{Transport: rewrite{server.Listener.Addr().String(), transport}})
	x.catalog(
		book("switch", level(jv1.AutomationLevel_AUTOMATION_LEVEL_ACT), uncooled, doing(switchTo("b", "c"))),
		book("back", level(jv1.AutomationLevel_AUTOMATION_LEVEL_ACT), uncooled, doing(switchTo("a"))),
		book("call", doing(post("one"))),
		book("calls", doing(post("one"), post("two"), post("three"))),
	)
	b.Cleanup(func() {
		x.first.kill()
		cancel()
		server.Close()
		transport.CloseIdleConnections()
		_ = backend.Close()
	})
	return x
}

// rewrite sends every request to one address.
type rewrite struct {
	addr string
	next http.RoundTripper
}

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = r.addr
	return r.next.RoundTrip(req)
}

func (x *bench) benchReplica(c *http.Client) *replica {
	ctx, stop := context.WithCancel(x.ctx)
	st := store.New(store.Options{Backend: x.backend})
	if err := st.Start(ctx); err != nil {
		x.t.Fatal(err)
	}
	keeper := store.NewKeeper(st, store.SessionOptions{Replica: "one", Version: "bench", DeletePredecessors: true})
	e := engine.New(engine.Options{
		Store: st, Sessions: keeper, Kinds: steps.New(steps.Options{Probes: x.probes, Client: c}), Registerer: x.registry,
	})
	p := &replica{store: st, keeper: keeper, engine: e, stop: stop}
	p.done.Go(func() { _ = keeper.Run(ctx) })
	p.done.Go(func() { _ = e.Run(ctx) })
	for !e.Ready() {
		time.Sleep(time.Millisecond)
	}
	return p
}

func uncooled(b *jv1.Runbook) { b.Guards = &jv1.Guards{Cooldown: durationpb.New(0)} }

// floor is T: the median compare-and-put on the same etcd, in process.
func (x *bench) floor(b *testing.B, n int) time.Duration {
	b.Helper()
	key := store.Meta + "bench"
	value := make([]byte, 1024)
	var rev int64
	var took []time.Duration
	for range n {
		begin := time.Now()
		res, err := x.backend.Commit(x.ctx, store.Txn{
			If: []store.Compare{store.Unchanged(key, rev)}, Then: []store.Op{{Key: key, Value: value}},
		})
		if err != nil || !res.Committed {
			b.Fatal(res, err)
		}
		took = append(took, time.Since(begin))
		rev = res.Revision
	}
	_, _ = x.backend.Commit(x.ctx, store.Txn{Then: []store.Op{store.Delete(key)}})
	return median(took)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// report prints the median beside the floor that was measured before and after.
func (x *bench) report(b *testing.B, took []time.Duration, name string, before time.Duration) {
	b.Helper()
	t := (before + x.floor(b, 200)) / 2
	p50 := median(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(t.Microseconds())/1000, "T_ms")
	b.ReportMetric(float64(p50.Microseconds())/1000, name+"_p50_ms")
	b.ReportMetric(float64(p50)/float64(t), name+"/T")
	b.ReportMetric(float64(took[len(took)*99/100])/float64(t), name+"_p99/T")
}

// Goal: a fired trigger's new route is seen by a subscriber within 4 T.
func BenchmarkTriggerToRoute(b *testing.B) {
	x := newBench(b)
	x.limit(64, time.Millisecond) // slots are taken, and none is ever missing
	before := x.floor(b, 200)
	sub := x.first.store.Subscribe([]string{store.Continuity}, store.Cursor{})
	defer sub.Close()
	seen := make(chan int64, 16)
	go func() {
		for {
			up, err := sub.Next(x.ctx)
			if err != nil {
				return
			}
			for _, ev := range up.Events {
				seen <- ev.Msg.(*jv1.ContinuityState).GetEpoch()
			}
		}
	}()
	<-seen
	var took []time.Duration
	epoch := int64(1)
	for i := range max(b.N, 200) {
		begin := time.Now()
		tr, err := x.first.engine.Fire(as(x.ctx, "app"), &jv1.FireTriggerRequest{
			Service: "chat", Runbook: []string{"switch", "back"}[i%2], Reason: "bench",
		})
		if err != nil || tr.GetState() != jv1.TriggerState_TRIGGER_STATE_SETTLED {
			b.Fatal(tr, err)
		}
		for epoch++; <-seen < epoch; {
		}
		took = append(took, time.Since(begin))
	}
	x.report(b, took, "route", before)
}

// Goals: the first outside effect within 8 T, the third of a run of three steps within 20 T.
func BenchmarkOutsideEffects(b *testing.B) {
	for _, tc := range []struct {
		name, book string
		effects    int
	}{{"first", "call", 1}, {"third", "calls", 3}} {
		b.Run(tc.name, func(b *testing.B) {
			x := newBench(b)
			before := x.floor(b, 200)
			var took []time.Duration
			for range max(b.N, 200) {
				begin := time.Now()
				run, err := x.first.engine.Start(as(x.ctx, "ana"), &jv1.StartRunRequest{
					Runbook: tc.book, Service: "chat", Reason: "bench",
				})
				if err != nil {
					b.Fatal(err)
				}
				var last time.Time
				for range tc.effects {
					last = <-x.arrived
				}
				took = append(took, last.Sub(begin))
				x.ended(b, run.GetName())
			}
			x.report(b, took, tc.name+"_effect", before)
		})
	}
}

// ended waits until the run has ended.
func (x *bench) ended(b *testing.B, name string) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		done := false
		x.first.store.Read(func(v store.View) {
			done = store.Get[*jv1.Run](v, store.RunKey(name)).Msg.GetEndTime() != nil
		})
		if done {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
	b.Fatalf("run %s did not end", name)
}

// Goal: at least 400 runs of three outside steps per second with 16 clients, each on a service of its own.
func BenchmarkRunsPerSecond(b *testing.B) {
	x := newBench(b)
	const clients = 16
	var ops []store.Op
	for i := range clients {
		name := fmt.Sprintf("svc-%d", i)
		ops = append(ops, store.Put(store.ServiceKey(name), &jv1.Service{Name: name, Providers: []*jv1.ServiceProvider{{Name: "a"}}}),
			store.Put(store.ContinuityKey(name), &jv1.ContinuityState{Service: name, ActiveProvider: "a", Epoch: 1}))
	}
	all := book("all", doing(post("one"), post("two"), post("three")))
	for i := range clients {
		all.Services = append(all.Services, fmt.Sprintf("svc-%d", i))
	}
	x.commit(ops...)
	x.books(all)
	go func() {
		for range x.arrived {
		}
	}()
	before := x.floor(b, 200)
	total := int64(max(b.N, 2000))
	var next atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for next.Add(1) <= total {
				run, err := x.first.engine.Start(as(x.ctx, "ana"), &jv1.StartRunRequest{
					Runbook: "all", Service: fmt.Sprintf("svc-%d", i), Reason: "bench",
				})
				if err != nil {
					b.Error(err)
					return
				}
				x.ended(b, run.GetName())
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(total)/took.Seconds(), "runs/s")
	b.ReportMetric(float64((before+x.floor(b, 200)).Microseconds())/2000, "T_ms")
}
