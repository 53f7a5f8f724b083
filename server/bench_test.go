package server_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// floorNode is an embedded etcd beside the server's own, with fsync, to measure T on in the same minute.
func floorNode(b *testing.B) func() time.Duration {
	b.Helper()
	node := etcdtest.StartSingle(b, etcdtest.WithFsync())
	backend := store.NewEtcd(store.EtcdOptions{Client: node.Client()})
	b.Cleanup(func() { _ = backend.Close() })
	return func() time.Duration { return storetest.MeasureT(b, backend) }
}

// started is a whole server, with fsync, authentication, validation and audit as in production, and a client.
func started(b *testing.B) *grpc.ClientConn {
	b.Helper()
	o := server.DefaultOptions(b.TempDir())
	o.GRPCListen, o.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	s, err := server.New(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Addrs().GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			b.Error(err)
		}
	})
	return conn
}

// benchCatalog is a service with two providers whose health is said by a human, and a runbook for each direction.
func benchCatalog(b *testing.B, conn *grpc.ClientConn) {
	b.Helper()
	book := func(name, to string) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: &jv1.Runbook{
			Name: name, Services: []string{"chat"}, Guards: &jv1.Guards{Cooldown: durationpb.New(0)},
			Automation: &jv1.AutomationPolicy{Default: jv1.AutomationLevel_AUTOMATION_LEVEL_ACT},
			Steps:      []*jv1.Step{{Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{to}}}}},
		}}}
	}
	ctx := b.Context()
	_, err := jv1.NewCatalogServiceClient(conn).Apply(ctx, &jv1.ApplyRequest{Resources: []*jv1.Resource{
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: "a", BaseUrl: "http://127.0.0.1:1"}}},
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: "b", BaseUrl: "http://127.0.0.1:2"}}},
		{Kind: &jv1.Resource_Service{Service: &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "a"}, {Name: "b"}}}}},
		book("there", "b"), book("back", "a"),
	}})
	if err != nil {
		b.Fatal(err)
	}
	detector := jv1.NewDetectorServiceClient(conn)
	for _, p := range []string{"a", "b"} {
		if _, err := detector.SetOperatorSignal(ctx, &jv1.SetOperatorSignalRequest{
			Service: "chat", Provider: p, State: jv1.SignalState_SIGNAL_STATE_OK, Reason: "bench",
		}); err != nil {
			b.Fatal(err)
		}
	}
	for {
		res, err := detector.ListHealth(ctx, &jv1.ListHealthRequest{Service: "chat"})
		if err != nil {
			b.Fatal(err)
		}
		healthy := 0
		for _, h := range res.GetHealth() {
			if h.GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY {
				healthy++
			}
		}
		if healthy == 2 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Goal: a trigger fired over gRPC, its new route seen by a gRPC watcher, p50 within 4 T.
func BenchmarkTriggerToWatcher(b *testing.B) {
	floor := floorNode(b)
	conn := started(b)
	benchCatalog(b, conn)
	before := floor()
	stream, err := jv1.NewContinuityServiceClient(conn).WatchContinuity(b.Context(), &jv1.WatchContinuityRequest{})
	if err != nil {
		b.Fatal(err)
	}
	next := func(to string) {
		for {
			m, err := stream.Recv()
			if err != nil {
				b.Fatal(err)
			}
			if m.GetState().GetActiveProvider() == to {
				return
			}
		}
	}
	next("a")
	// Machines may switch 64 times a second at most: the benchmark waits for its next slots between the measurements.
	if _, err := jv1.NewCatalogServiceClient(conn).Apply(b.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		{Kind: &jv1.Resource_Settings{Settings: &jv1.Settings{
			Name: "default", SwitchLimit: &jv1.SwitchLimit{Count: 64, Window: durationpb.New(time.Second)},
		}}},
	}}); err != nil {
		b.Fatal(err)
	}
	detector := jv1.NewDetectorServiceClient(conn)
	var took []time.Duration
	for i := range max(b.N, 300) {
		if i%64 == 63 {
			time.Sleep(time.Second)
		}
		runbook, to := "there", "b"
		if i%2 == 1 {
			runbook, to = "back", "a"
		}
		begin := time.Now()
		tr, err := detector.FireTrigger(b.Context(), &jv1.FireTriggerRequest{Service: "chat", Runbook: runbook, Reason: "bench"})
		if err != nil || tr.GetState() != jv1.TriggerState_TRIGGER_STATE_SETTLED {
			b.Fatal(tr, err)
		}
		next(to)
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	t := (before + floor()) / 2
	p50 := took[len(took)/2]
	b.ReportMetric(float64(t.Microseconds())/1000, "T_ms")
	b.ReportMetric(float64(p50.Microseconds())/1000, "watcher_p50_ms")
	b.ReportMetric(float64(p50)/float64(t), "watcher/T")
}

// Goal: ready within 1 s, on a new directory and on one with data.
func BenchmarkReady(b *testing.B) {
	dir := b.TempDir()
	var took []time.Duration
	for range max(b.N, 10) {
		o := server.DefaultOptions(dir)
		o.GRPCListen, o.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
		begin := time.Now()
		s, err := server.New(o)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Start(context.Background()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
		if err := s.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[0].Milliseconds()), "first_ms")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "again_p50_ms")
}
