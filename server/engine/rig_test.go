package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// rig is a cluster of replicas around one store in memory, in virtual time.
type rig struct {
	t       testing.TB
	backend store.Backend
	ctx     context.Context
	first   *replica
	sink    *sink
	probes  *probes
	pace    pace
}

// pace is how often things are done that only happen in case; zeros are the defaults. A simulated day would else be spent
// on looking.
type pace struct {
	ttl      time.Duration // of sessions
	sweep    time.Duration // of engine and mirror
	probe    time.Duration // of the store by its mirror
	bookmark time.Duration // of watches
}

// replica is one process: its own store, session and engine.
type replica struct {
	store  *store.Store
	keeper *store.Keeper
	engine *engine.Engine
	desk   *continuity.Desk
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// sink is the outside world that steps call.
type sink struct {
	mu    sync.Mutex
	calls []*http.Request
	// answer decides about call number n, from 1; nil: 200.
	answer func(n int, r *http.Request) (*http.Response, error)
}

func (s *sink) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.calls = append(s.calls, r)
	n, answer := len(s.calls), s.answer
	s.mu.Unlock()
	if answer == nil {
		return respond(http.StatusOK), nil
	}
	return answer(n, r)
}

func (s *sink) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.calls {
		out = append(out, r.URL.Path+" "+r.Header.Get("Idempotency-Key"))
	}
	return out
}

// sinkAnswer refuses what is posted to /refused.
func sinkAnswer(_ int, r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/refused" {
		return respond(http.StatusBadRequest), nil
	}
	return respond(http.StatusOK), nil
}

// remember answers as a sink that knows its calls: it refuses what is posted to /refused, has no time for what is posted
// to /unavailable, is in doubt about the first call of each key to /doubtful, and says
// whether it has seen a key to who asks by GET.
func remember() func(int, *http.Request) (*http.Response, error) {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(_ int, r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if key, ok := strings.CutPrefix(r.URL.Path, "/check/"); ok {
			if seen[key] == 0 {
				return respond(http.StatusNotFound), nil
			}
			return respond(http.StatusOK), nil
		}
		key := r.Header.Get("Idempotency-Key")
		seen[key]++
		switch {
		case r.URL.Path == "/refused":
			return respond(http.StatusBadRequest), nil
		case r.URL.Path == "/unavailable":
			return respond(http.StatusServiceUnavailable), nil
		case r.URL.Path == "/doubtful" && seen[key] == 1:
			return respond(http.StatusBadGateway), nil
		}
		return respond(http.StatusOK), nil
	}
}

func respond(status int) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: http.NoBody}
}

// probes answers for the detectors.
type probes struct {
	mu    sync.Mutex
	count map[string]int
}

func (p *probes) Successes(_, _, provider string, _ time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[provider]
}

func (p *probes) set(provider string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[provider] = n
}

// inBubble runs a test in virtual time on a rig with one replica.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	atPace(t, pace{}, f)
}

// atPace is [inBubble] with a pace of its own.
func atPace(t *testing.T, p pace, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		backend := store.NewMemory(store.MemoryOptions{Bookmark: p.bookmark})
		r := newRig(ctx, t, backend, p)
		defer func() {
			r.first.kill()
			cancel()
			if err := backend.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, r)
	})
}

func newRig(ctx context.Context, t testing.TB, backend store.Backend, p pace) *rig {
	r := &rig{t: t, backend: backend, ctx: ctx, pace: p, sink: &sink{}, probes: &probes{count: map[string]int{}}}
	r.first = r.replica("one", backend)
	return r
}

// replica starts a replica on the backend, which may be a faulty one.
func (r *rig) replica(name string, backend store.Backend) *replica {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.ctx)
	st := store.New(store.Options{
		Backend: backend, Probe: r.pace.probe, Stale: 5 * r.pace.probe, Sweep: r.pace.sweep, Bookmark: r.pace.bookmark,
	})
	if err := st.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
	keeper := store.NewKeeper(st, store.SessionOptions{Replica: name, Version: "test", TTL: r.pace.ttl})
	e := engine.New(engine.Options{
		Sweep: r.pace.sweep, Store: st, Sessions: keeper, Kinds: steps.New(steps.Options{Probes: r.probes, Client: &http.Client{Transport: r.sink}}),
	})
	p := &replica{store: st, keeper: keeper, engine: e, desk: continuity.NewDesk(st, time.Now), stop: stop}
	p.done.Go(func() { _ = keeper.Run(ctx) })
	p.done.Go(func() { _ = e.Run(ctx) })
	if _, err := keeper.Wait(ctx); err != nil {
		r.t.Fatal(err)
	}
	for !e.Ready() {
		time.Sleep(time.Millisecond)
	}
	return p
}

// kill stops a replica at once, as kill -9 would: nothing is written any more, its session stays until it expires.
func (p *replica) kill() {
	p.store.Close()
	p.stop()
	p.done.Wait()
}

// commit writes past everything, as the catalog or a detector would.
func (r *rig) commit(ops ...store.Op) {
	r.t.Helper()
	res, err := r.first.store.Commit(r.ctx, store.Txn{Then: ops})
	if err != nil || !res.Committed {
		r.t.Fatalf("commit: %v %v", res, err)
	}
	r.wait(res.Revision)
}

func (r *rig) wait(rev int64) {
	r.t.Helper()
	if err := r.first.store.WaitRevision(r.ctx, rev); err != nil {
		r.t.Fatal(err)
	}
}

// catalog stores service chat with providers a, b and c, of which a is active, all healthy.
func (r *rig) catalog(books ...*jv1.Runbook) {
	r.t.Helper()
	svc := &jv1.Service{Name: "chat"}
	var ops []store.Op
	for _, p := range []string{"a", "b", "c"} {
		svc.Providers = append(svc.Providers, &jv1.ServiceProvider{Name: p})
		ops = append(ops, store.Put(store.ProviderKey(p), &jv1.Provider{Name: p, BaseUrl: "http://" + p}))
	}
	ops = append(
		ops, store.Put(store.ServiceKey("chat"), svc),
		store.Put(store.ContinuityKey("chat"), continuity.Initial(svc, continuity.Author{Actor: "test"}, time.Now())),
		store.Put(store.ChannelKey("log"), &jv1.Channel{Name: "log", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}),
	)
	r.commit(ops...)
	for _, p := range []string{"a", "b", "c"} {
		r.health(p, jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
	}
	r.books(books...)
}

func (r *rig) books(books ...*jv1.Runbook) {
	r.t.Helper()
	for _, b := range books {
		b.Version = 1
		if len(b.GetServices()) == 0 {
			b.Services = []string{"chat"}
		}
		r.commit(store.Put(store.RunbookKey(b.GetName()), b), store.Put(store.RunbookRevisionKey(b.GetName(), 1), b))
	}
}

// health stores a provider's health with fresh evidence, and the trigger that goes with it.
func (r *rig) health(provider string, state jv1.HealthState, generation int64) {
	r.t.Helper()
	now := timestamppb.Now()
	sig := &jv1.Signal{
		Source: "probe", Service: "chat", Provider: provider, Class: jv1.EvidenceClass_EVIDENCE_CLASS_PROBE, ObservedAt: now,
		ValidUntil: timestamppb.New(time.Now().Add(1000 * time.Hour)), State: jv1.SignalState_SIGNAL_STATE_OK,
	}
	if state != jv1.HealthState_HEALTH_STATE_HEALTHY {
		sig.State = jv1.SignalState_SIGNAL_STATE_FAILING
	}
	ops := []store.Op{
		store.Put(store.VotesKey("chat", "probe-"+provider), &recordv1.Votes{Service: "chat", Replica: "probe-" + provider, Signals: []*jv1.Signal{sig}}),
		store.Put(store.HealthKey("chat", provider), &jv1.Health{
			Service: "chat", Provider: provider, State: state, Generation: generation, Since: now, Evidence: []*jv1.Signal{sig},
		}),
	}
	word := map[jv1.HealthState]string{
		jv1.HealthState_HEALTH_STATE_FAILING: "failing", jv1.HealthState_HEALTH_STATE_HEALTHY: "healthy",
	}[state]
	if generation > 0 && word != "" {
		name := fmt.Sprintf("h-chat-%s-%d-%s", provider, generation, word)
		ops = append(ops, store.Put(store.TriggerKey(name), &jv1.Trigger{
			Name: name, Cause: jv1.TriggerCause_TRIGGER_CAUSE_HEALTH, Service: "chat", Provider: provider, Health: state,
			Generation: generation, State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: now, Onset: now, Evidence: []*jv1.Signal{sig},
		}))
	}
	r.commit(ops...)
}

func (r *rig) fails(provider string, generation int64) {
	r.t.Helper()
	r.health(provider, jv1.HealthState_HEALTH_STATE_FAILING, generation)
}

func (r *rig) recovers(provider string, generation int64) {
	r.t.Helper()
	r.health(provider, jv1.HealthState_HEALTH_STATE_HEALTHY, generation)
}

// get returns a record as the store has it now, nil when there is none.
func get[M proto.Message](r *rig, key string) M {
	r.t.Helper()
	rec, err := store.Fetch[M](r.ctx, r.first.store, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Msg
}

func (r *rig) state() *jv1.ContinuityState {
	return get[*jv1.ContinuityState](r, store.ContinuityKey("chat"))
}

func (r *rig) runs() []*jv1.Run {
	r.t.Helper()
	recs, _, err := store.Scan[*jv1.Run](r.ctx, r.first.store, store.Runs, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*jv1.Run
	for _, rec := range recs {
		out = append(out, rec.Msg)
	}
	return out
}

// only returns the only run there is.
func (r *rig) only() *jv1.Run {
	r.t.Helper()
	all := r.runs()
	if len(all) != 1 {
		r.t.Fatalf("there are %d runs: %v", len(all), all)
	}
	return all[0]
}

func (r *rig) outbox() []*jv1.Notification {
	r.t.Helper()
	recs, _, err := store.Scan[*jv1.Notification](r.ctx, r.first.store, store.Outbox, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*jv1.Notification
	for _, rec := range recs {
		out = append(out, rec.Msg)
	}
	return out
}

func (r *rig) revision() int64 {
	r.t.Helper()
	page, err := r.backend.Range(r.ctx, store.Query{Prefix: store.Meta})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Revision
}

// as is a human's context.
func as(ctx context.Context, who string) context.Context {
	return audit.With(ctx, audit.Caller{Principal: who, Role: "operator", Action: "test"})
}

// Builders of runbooks.

func book(name string, edit ...func(*jv1.Runbook)) *jv1.Runbook {
	b := &jv1.Runbook{
		Name: name, Automation: &jv1.AutomationPolicy{Default: jv1.AutomationLevel_AUTOMATION_LEVEL_ACT},
		On: &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_FAILING, Provider: "active"},
	}
	for _, f := range edit {
		f(b)
	}
	return b
}

func doing(s ...*jv1.Step) func(*jv1.Runbook) {
	return func(b *jv1.Runbook) { b.Steps = s }
}

func level(l jv1.AutomationLevel) func(*jv1.Runbook) {
	return func(b *jv1.Runbook) { b.Automation = &jv1.AutomationPolicy{Default: l} }
}

func switchTo(to ...string) *jv1.Step {
	return &jv1.Step{Id: "switch", Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: to}}}
}

func confirmed(s *jv1.Step, within time.Duration) *jv1.Step {
	s.GetSwitchProvider().Confirm = &jv1.Confirm{Detector: "probe", Successes: 3, Within: durationpb.New(within)}
	return s
}

func tell(id string) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"log"}, Template: "outage-detected"}}}
}

func post(id string, edit ...func(*jv1.HttpRequestStep)) *jv1.Step {
	h := &jv1.HttpRequestStep{Url: "http://sink/" + id, Repeat: jv1.Repeatability_REPEATABILITY_IDEMPOTENT}
	for _, f := range edit {
		f(h)
	}
	return &jv1.Step{Id: id, Action: &jv1.Step_HttpRequest{HttpRequest: h}}
}

func once(h *jv1.HttpRequestStep) { h.Repeat = jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE }

func queue() *jv1.Step {
	return &jv1.Step{Id: "queue", Action: &jv1.Step_EnableQueueing{EnableQueueing: &jv1.EnableQueueingStep{}}}
}

func ask(id string) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_Approval{Approval: &jv1.ApprovalStep{Text: "go on?", Channels: []string{"log"}}}}
}

func pauseFor(d time.Duration) *jv1.Step {
	return &jv1.Step{Id: "pause", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(d)}}}
}

func onFailure(s *jv1.Step, f jv1.OnFailure) *jv1.Step {
	s.OnFailure = f
	return s
}

func given(s *jv1.Step, condition string) *jv1.Step {
	s.If = condition
	return s
}

// undoneBy gives a step a compensation.
func undoneBy(s *jv1.Step, c *jv1.Compensation) *jv1.Step {
	s.Compensate = c
	return s
}

// call is a compensation by a call.
func call(path string, edit ...func(*jv1.Compensation)) *jv1.Compensation {
	c := &jv1.Compensation{Action: &jv1.Compensation_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Method: "DELETE", Url: "http://sink/" + path}}}
	for _, f := range edit {
		f(c)
	}
	return c
}

// untell is a compensation by a message.
func untell(channel string) *jv1.Compensation {
	return &jv1.Compensation{Action: &jv1.Compensation_Notify{Notify: &jv1.NotifyStep{Channels: []string{channel}, Text: "taken back"}}}
}
