package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// follower reads a stream in the background, so that a test can wait for a message with a limit.
type follower[T any] struct {
	t        *testing.T
	messages chan T
	end      chan error
	cancel   context.CancelFunc
}

func follow[T any](t *testing.T, open func(ctx context.Context) (grpc.ServerStreamingClient[T], error)) *follower[*T] {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower[*T]{t: t, messages: make(chan *T, 1000), end: make(chan error, 1), cancel: cancel}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				f.end <- err
				return
			}
			f.messages <- m
		}
	}()
	return f
}

// next returns the next message.
func (f *follower[T]) next() (m T) {
	f.t.Helper()
	select {
	case m = <-f.messages:
	case err := <-f.end:
		f.t.Fatalf("the stream ended: %v", err)
	case <-time.After(10 * time.Second):
		f.t.Fatal("no message within 10 s")
	}
	return m
}

// ended returns the error that ended the stream.
func (f *follower[T]) ended() error {
	f.t.Helper()
	for {
		select {
		case <-f.messages:
		case err := <-f.end:
			return err
		case <-time.After(10 * time.Second):
			f.t.Fatal("the stream goes on")
		}
	}
}

// told says a message of any watch in one line.
func told(m any) string {
	switch m := m.(type) {
	case *jv1.WatchRunsResponse:
		return fmt.Sprint(short(m.GetEvent()), " ", m.GetRun().GetName())
	case *jv1.WatchHealthResponse:
		return fmt.Sprint(short(m.GetEvent()), " ", m.GetHealth().GetService(), "/", m.GetHealth().GetProvider())
	case *jv1.WatchContinuityResponse:
		return fmt.Sprint(short(m.GetEvent()), " ", m.GetState().GetService(), " ", m.GetState().GetActiveProvider())
	default:
		return fmt.Sprintf("%T", m)
	}
}

func short(e jv1.WatchEvent) string { return strings.TrimPrefix(e.String(), "WATCH_EVENT_") }

func (f *follower[T]) wants(lines ...string) {
	f.t.Helper()
	for _, want := range lines {
		if got := told(any(f.next())); got != want {
			f.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func run(name, service string) store.Op {
	return store.Put(store.RunKey(name), &jv1.Run{Name: name, Service: service, CreateTime: timestamppb.Now()})
}

func (r *rig) watchRuns(req *jv1.WatchRunsRequest) *follower[*jv1.WatchRunsResponse] {
	r.t.Helper()
	return follow(r.t, func(ctx context.Context) (grpc.ServerStreamingClient[jv1.WatchRunsResponse], error) {
		return r.runs().WatchRuns(ctx, req)
	})
}

func TestWatchRuns(t *testing.T) {
	r := start(t, options{})
	first := r.put(run("r-1", "chat"))
	r.put(run("r-2", "video"))
	f := r.watchRuns(&jv1.WatchRunsRequest{})
	m := f.next()
	if told(m) != "PUT r-1" || m.GetCursor() != "" || m.GetRun().GetRevision() != first {
		t.Errorf("first %v", m)
	}
	f.wants("PUT r-2")
	mark := f.next()
	if told(mark) != "BOOKMARK " || mark.GetCursor() == "" {
		t.Errorf("mark %v", mark)
	}
	r.put(run("r-3", "chat"))
	third := f.next()
	if told(third) != "PUT r-3" || third.GetCursor() == mark.GetCursor() {
		t.Errorf("third %v", third)
	}
	r.put(store.Delete(store.RunKey("r-1")), run("r-4", "chat"))
	fourth := f.next()
	if told(fourth) != "DELETE r-1" || fourth.GetCursor() != third.GetCursor() {
		t.Errorf("in the middle of a revision the cursor must be the one before it: %v after %v", fourth, third)
	}
	last := f.next()
	if told(last) != "PUT r-4" || last.GetCursor() == third.GetCursor() {
		t.Errorf("last %v", last)
	}

	t.Run("resume", func(t *testing.T) {
		g := r.watchRuns(&jv1.WatchRunsRequest{Cursor: third.GetCursor()})
		g.wants("DELETE r-1", "PUT r-4", "BOOKMARK ")
	})
	t.Run("resume with nothing missed", func(t *testing.T) {
		g := r.watchRuns(&jv1.WatchRunsRequest{Cursor: last.GetCursor()})
		if m := g.next(); told(m) != "BOOKMARK " || m.GetCursor() != last.GetCursor() {
			t.Errorf("got %v", m)
		}
	})
	t.Run("foreign cursor", func(t *testing.T) {
		r.watchRuns(&jv1.WatchRunsRequest{Cursor: "elsewhere:5"}).wants("RESET ", "PUT r-2", "PUT r-3", "PUT r-4", "BOOKMARK ")
	})
	t.Run("one run", func(t *testing.T) {
		g := r.watchRuns(&jv1.WatchRunsRequest{Name: "r-2"})
		g.wants("PUT r-2", "BOOKMARK ")
		r.put(run("r-22", "chat"), run("r-2", "video"))
		g.wants("PUT r-2")
	})
	t.Run("one service", func(t *testing.T) {
		g := r.watchRuns(&jv1.WatchRunsRequest{Service: "video"})
		g.wants("PUT r-2", "BOOKMARK ")
	})
	t.Run("malformed cursor", func(t *testing.T) {
		wants(t, r.watchRuns(&jv1.WatchRunsRequest{Cursor: "x"}).ended(), codes.InvalidArgument, "INVALID")
	})
	t.Run("no run can have that name", func(t *testing.T) {
		wants(t, r.watchRuns(&jv1.WatchRunsRequest{Name: "a/b"}).ended(), codes.NotFound, "NOT_FOUND")
	})
}

func TestWatchHealth(t *testing.T) {
	r := start(t, options{})
	health := func(service, provider string) store.Op {
		return store.Put(store.HealthKey(service, provider), &jv1.Health{Service: service, Provider: provider})
	}
	r.put(health("chat", "alpha"), health("chat2", "alpha"))
	f := follow(t, func(ctx context.Context) (grpc.ServerStreamingClient[jv1.WatchHealthResponse], error) {
		return r.detectors().WatchHealth(ctx, &jv1.WatchHealthRequest{Service: "chat"})
	})
	f.wants("PUT chat/alpha", "BOOKMARK /")
	r.put(health("chat2", "beta"))
	r.put(store.Delete(store.HealthKey("chat", "alpha")))
	f.wants("DELETE chat/alpha")
	all, err := r.detectors().ListHealth(t.Context(), &jv1.ListHealthRequest{})
	if err != nil || len(all.GetHealth()) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

func (r *rig) watchContinuity(req *jv1.WatchContinuityRequest) *follower[*jv1.WatchContinuityResponse] {
	r.t.Helper()
	return follow(r.t, func(ctx context.Context) (grpc.ServerStreamingClient[jv1.WatchContinuityResponse], error) {
		return r.continuity().WatchContinuity(ctx, req)
	})
}

func TestWatchContinuity(t *testing.T) {
	r := start(t, options{})
	r.world()
	f := r.watchContinuity(&jv1.WatchContinuityRequest{Services: []string{"chat"}})
	f.wants("PUT chat alpha")
	if m := f.next(); told(m) != "BOOKMARK  " || !m.GetFreshness().GetLive() {
		t.Errorf("mark %v", m)
	}
	if _, err := r.continuity().SwitchProvider(t.Context(), &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true}); err != nil {
		t.Fatal(err)
	}
	m := f.next()
	if told(m) != "PUT chat beta" || m.GetState().GetEpoch() != 2 || m.GetState().GetPhase() != jv1.Phase_PHASE_FAILED_OVER || m.GetState().GetRestoreEpoch() == "" {
		t.Errorf("switched %v", m)
	}
	// The phase rests on more than the state's own record.
	r.put(store.Put(store.HealthKey("chat", "beta"), &jv1.Health{Service: "chat", Provider: "beta"}))
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{service("chat", "beta", "alpha")}}); err != nil {
		t.Fatal(err)
	}
	if m := f.next(); m.GetState().GetPhase() != jv1.Phase_PHASE_NORMAL {
		t.Errorf("after the preference changed %v", m)
	}
	// A service that is not asked for is not told.
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{service("video", "beta")}}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ kind, name string }{{"runbook", "failover"}, {"detector", "probe"}, {"service", "chat"}} {
		if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: x.kind, Name: x.name}); err != nil {
			t.Fatal(err)
		}
	}
	f.wants("DELETE chat ")

	g := r.watchContinuity(&jv1.WatchContinuityRequest{Cursor: m.GetCursor()})
	seen := map[string]bool{}
	for !seen["BOOKMARK  "] {
		seen[told(g.next())] = true
	}
	if !seen["DELETE chat "] || !seen["PUT video beta"] {
		t.Errorf("resumed: %v", seen)
	}
}

// TestWatchTellsWhoHasWhatInForce sees an epoch that a follower takes over, and hears nothing of reports that only repeat
// the last one.
func TestWatchTellsWhoHasWhatInForce(t *testing.T) {
	r := start(t, options{})
	r.world()
	f := r.watchContinuity(&jv1.WatchContinuityRequest{InForce: true})
	f.wants("PUT chat alpha", "BOOKMARK  ")
	report := func(epoch int64) {
		t.Helper()
		if _, err := r.continuity().ReportInForce(t.Context(), &jv1.ReportInForceRequest{Subscriber: "app", Epochs: map[string]int64{"chat": epoch}}); err != nil {
			t.Fatal(err)
		}
	}
	report(1)
	var m *jv1.WatchContinuityResponse
	for m = f.next(); m.GetEvent() != jv1.WatchEvent_WATCH_EVENT_PUT; m = f.next() {
	}
	if in := m.GetState().GetInForce(); len(in) != 1 || in[0].GetSubscriber() != "app" || in[0].GetEpoch() != 1 {
		t.Errorf("in force %v", in)
	}
	report(1)
	report(2)
	for m = f.next(); m.GetEvent() != jv1.WatchEvent_WATCH_EVENT_PUT; m = f.next() {
	}
	if in := m.GetState().GetInForce(); len(in) != 1 || in[0].GetEpoch() != 2 {
		t.Errorf("a repeated report was told: %v", in)
	}
}

// TestWatchSaysWhenTheStoreIsAway sees a bookmark that says so, and one that says that it is back.
func TestWatchSaysWhenTheStoreIsAway(t *testing.T) {
	r := start(t, options{stale: 300 * time.Millisecond})
	r.world()
	f := r.watchContinuity(&jv1.WatchContinuityRequest{})
	f.wants("PUT chat alpha", "BOOKMARK  ")
	r.backend.SetDown(true)
	for f.next().GetFreshness().GetLive() {
	}
	r.backend.SetDown(false)
	for !f.next().GetFreshness().GetLive() {
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	r := start(t, options{})
	f := r.watchRuns(&jv1.WatchRunsRequest{})
	f.wants("BOOKMARK ")
	began := time.Now()
	r.server.Stop(t.Context())
	wants(t, f.ended(), codes.Unavailable, "SERVER_STOPPING")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopping took %v", took)
	}
	r.server.Stop(t.Context())
}

func TestManyStreams(t *testing.T) {
	r := start(t, options{})
	r.world()
	const streams = 200
	all := make([]*follower[*jv1.WatchContinuityResponse], 0, streams)
	for range streams {
		f := r.watchContinuity(&jv1.WatchContinuityRequest{})
		f.wants("PUT chat alpha", "BOOKMARK  ")
		all = append(all, f)
	}
	if _, err := r.continuity().SetQueueing(t.Context(), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if m := f.next(); !m.GetState().GetQueueing() {
			t.Fatalf("got %v", m)
		}
	}
}

func TestInForceLapsesAreNotMistakenForChanges(t *testing.T) {
	r := start(t, options{})
	r.world()
	r.put(store.Put(store.InForceKey("old"), &recordv1.InForceReport{
		Subscriber: "old", Epochs: map[string]int64{"chat": 1}, ValidUntil: timestamppb.New(time.Now().Add(-time.Minute)),
	}))
	got, err := r.continuity().ListContinuity(t.Context(), &jv1.ListContinuityRequest{})
	if err != nil || len(got.GetStates()) != 1 || len(got.GetStates()[0].GetInForce()) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestWatchDoesNotTellFollowersOfEachOther reports an epoch: who only follows the route hears nothing, neither then nor
// with the next change.
func TestWatchDoesNotTellFollowersOfEachOther(t *testing.T) {
	r := start(t, options{})
	r.world()
	f := r.watchContinuity(&jv1.WatchContinuityRequest{})
	f.wants("PUT chat alpha", "BOOKMARK  ")
	asks := r.watchContinuity(&jv1.WatchContinuityRequest{InForce: true})
	asks.wants("PUT chat alpha", "BOOKMARK  ")
	if _, err := r.continuity().ReportInForce(t.Context(), &jv1.ReportInForceRequest{
		Subscriber: "app", Epochs: map[string]int64{"chat": 1}, Queues: map[string]*jv1.QueueStatus{"chat": {Queued: 7}},
	}); err != nil {
		t.Fatal(err)
	}
	var m *jv1.WatchContinuityResponse
	for m = asks.next(); m.GetEvent() != jv1.WatchEvent_WATCH_EVENT_PUT; m = asks.next() {
	}
	if in := m.GetState().GetInForce(); len(in) != 1 || in[0].GetQueue().GetQueued() != 7 || in[0].GetRestoreEpoch() != m.GetState().GetRestoreEpoch() {
		t.Errorf("in force %v of %v", in, m.GetState().GetRestoreEpoch())
	}
	if _, err := r.continuity().SetQueueing(t.Context(), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	for m = f.next(); m.GetEvent() != jv1.WatchEvent_WATCH_EVENT_PUT; m = f.next() {
	}
	if !m.GetState().GetQueueing() || len(m.GetState().GetInForce()) != 0 {
		t.Errorf("the first that a follower hears is %v", m)
	}
}
