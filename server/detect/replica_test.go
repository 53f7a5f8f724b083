package detect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// providers is a transport that answers for any number of providers, by host.
type providers struct {
	mu    sync.Mutex
	hosts map[string]http.RoundTripper
	calls map[string]int
}

func newProviders() *providers {
	return &providers{hosts: map[string]http.RoundTripper{}, calls: map[string]int{}}
}

// RoundTrip implements http.RoundTripper.
func (p *providers) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.calls[r.URL.Host]++
	behave := p.hosts[r.URL.Host]
	p.mu.Unlock()
	if behave == nil {
		return nil, syscall.ECONNREFUSED
	}
	return behave.RoundTrip(r)
}

func (p *providers) set(host string, behave func(*http.Request) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts[host] = tripper(behave)
}

func (p *providers) count(host string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[host]
}

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answers(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

// hangs accepts the connection and then says nothing.
func hangs(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.ConnectDone("tcp", "", nil)
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// replica is one replica's store, session and detection on a shared backend.
type replica struct {
	*Detect
	t        testing.TB
	store    *store.Store
	keeper   *store.Keeper
	registry *prometheus.Registry
	stop     func()
}

// start makes a replica that is stopped at the end of the test, if not before.
func start(t testing.TB, backend store.Backend, name string, options ...func(*Options)) *replica {
	t.Helper()
	s := store.New(store.Options{Backend: backend})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k := store.NewKeeper(s, store.SessionOptions{Replica: name, Version: "test"})
	r := &replica{t: t, store: s, keeper: k, registry: prometheus.NewRegistry()}
	o := Options{Store: s, Keeper: k, Replica: name, Registerer: r.registry, Transport: newProviders()}
	for _, option := range options {
		option(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Detect = d
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) })
	running.Go(func() {
		if err := d.Run(ctx); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("replica %s: %v", name, err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		s.Close()
	})
	t.Cleanup(r.stop)
	return r
}

func over(transport http.RoundTripper) func(*Options) {
	return func(o *Options) { o.Transport = transport }
}

// put stores resources and waits until the mirror has them.
func (r *replica) put(ops ...store.Op) {
	r.t.Helper()
	res, err := r.store.Commit(r.t.Context(), store.Txn{Then: ops})
	if err != nil || !res.Committed {
		r.t.Fatalf("put: %v, %v", res, err)
	}
	if err := r.store.WaitRevision(r.t.Context(), res.Revision); err != nil {
		r.t.Fatal(err)
	}
}

func get[M proto.Message](r *replica, key string) (m M) {
	r.store.Read(func(v store.View) { m = store.Get[M](v, key).Msg })
	return m
}

func list[M proto.Message](r *replica, prefix string) (all []M) {
	r.store.Read(func(v store.View) {
		for _, rec := range store.List[M](v, prefix) {
			all = append(all, rec.Msg)
		}
	})
	return all
}

func (r *replica) health(provider string) *jv1.Health {
	return get[*jv1.Health](r, store.HealthKey("chat", provider))
}

func (r *replica) triggers() []*jv1.Trigger { return list[*jv1.Trigger](r, store.Triggers) }

func (r *replica) wantHealth(provider string, state jv1.HealthState, reason Reason) {
	r.t.Helper()
	if h := r.health(provider); stateOf(h) != state || Reason(h.GetReason()) != reason {
		r.t.Errorf("health of %s is %v because of %q, want %v because of %q", provider, h.GetState(), h.GetReason(), state, reason)
	}
}

// eventually waits for a health, at most a minute.
func (r *replica) eventually(provider string, state jv1.HealthState, reason Reason) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if h := r.health(provider); stateOf(h) == state && Reason(h.GetReason()) == reason {
			return
		}
	}
	r.wantHealth(provider, state, reason)
}

// triggerStates are the triggers' states by their names.
func (r *replica) triggerStates() map[string]jv1.TriggerState {
	states := map[string]jv1.TriggerState{}
	for _, t := range r.triggers() {
		states[t.GetName()] = t.GetState()
	}
	return states
}

// The catalog most tests use: service chat with the providers openai and azure.
func chat(rule *jv1.HealthRule) []store.Op {
	return []store.Op{
		provider("openai"), provider("azure"),
		store.Put(store.ServiceKey("chat"), &jv1.Service{
			Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}, {Name: "azure"}}, Health: rule,
		}),
	}
}

func provider(name string) store.Op {
	return store.Put(store.ProviderKey(name), &jv1.Provider{Name: name, BaseUrl: "http://" + name + ".example/v1"})
}

func detector(d *jv1.Detector) store.Op { return store.Put(store.DetectorKey(d.GetName()), d) }

// prober1s is a detector that probes all providers of chat every second.
func everySecond(name string) *jv1.Detector {
	return &jv1.Detector{Name: name, Service: "chat", Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{
		Path: "/models", Interval: durationpb.New(time.Second), Timeout: durationpb.New(500 * time.Millisecond),
	}}}
}

func hook(name string, w *jv1.WebhookDetector) *jv1.Detector {
	return &jv1.Detector{Name: name, Service: "chat", Provider: "openai", Kind: &jv1.Detector_Webhook{Webhook: w}}
}

// reporter is a detector of format signal that speaks of openai.
func reporter(name string) *jv1.Detector {
	return hook(name, &jv1.WebhookDetector{Format: jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL})
}

func (r *replica) report(source string, state jv1.SignalState) {
	r.t.Helper()
	if _, _, err := r.Report(r.t.Context(), source, []*jv1.Signal{{State: state}}); err != nil {
		r.t.Fatal(err)
	}
}

// writes are the keys under a prefix that were ever put, in order, once for each put.
func writes(t testing.TB, m *store.Memory, prefix string) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := m.Revision()
	var keys []string
	err := m.Watch(ctx, prefix, 1, func(b store.Batch) {
		for _, c := range b.Changes {
			if !c.Deleted {
				keys = append(keys, c.Key)
			}
		}
		if b.Revision >= last {
			cancel()
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return keys
}

// counted is the value of a counter.
func counted(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
