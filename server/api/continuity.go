package api

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// continuityService serves jurymast.v1.ContinuityService.
type continuityService struct {
	jv1.UnsafeContinuityServiceServer
	*common
	desk   Continuity
	states *presenter
}

// SwitchProvider implements [jv1.ContinuityServiceServer].
func (s *continuityService) SwitchProvider(ctx context.Context, req *jv1.SwitchProviderRequest) (*jv1.ContinuityState, error) {
	return s.told(s.desk.Switch(ctx, req))
}

// SetQueueing implements [jv1.ContinuityServiceServer].
func (s *continuityService) SetQueueing(ctx context.Context, req *jv1.SetQueueingRequest) (*jv1.ContinuityState, error) {
	return s.told(s.desk.SetQueueing(ctx, req))
}

// Undo implements [jv1.ContinuityServiceServer].
func (s *continuityService) Undo(ctx context.Context, req *jv1.UndoRequest) (*jv1.ContinuityState, error) {
	return s.told(s.desk.Undo(ctx, req))
}

// told adds what only the store knows to a state that a command returned.
func (s *continuityService) told(state *jv1.ContinuityState, err error) (*jv1.ContinuityState, error) {
	if err != nil {
		return nil, err
	}
	state.RestoreEpoch = s.store.RestoreEpoch()
	return state, nil
}

// Acknowledge implements [jv1.ContinuityServiceServer].
func (s *continuityService) Acknowledge(ctx context.Context, req *jv1.AcknowledgeRequest) (*jv1.AcknowledgeResponse, error) {
	return s.desk.Acknowledge(ctx, req)
}

// ReportInForce implements [jv1.ContinuityServiceServer].
func (s *continuityService) ReportInForce(ctx context.Context, req *jv1.ReportInForceRequest) (*jv1.ReportInForceResponse, error) {
	return s.desk.ReportInForce(ctx, req)
}

// GetContinuity implements [jv1.ContinuityServiceServer].
func (s *continuityService) GetContinuity(_ context.Context, req *jv1.GetContinuityRequest) (*jv1.GetContinuityResponse, error) {
	if !isName(req.GetService()) {
		return nil, notFound("service", req.GetService())
	}
	out := &jv1.GetContinuityResponse{Freshness: s.freshness()}
	s.store.Read(func(v store.View) { out.State = s.states.get(v, req.GetService(), true) })
	if out.GetState() == nil {
		return nil, notFound("service", req.GetService())
	}
	return out, nil
}

// ListContinuity implements [jv1.ContinuityServiceServer].
func (s *continuityService) ListContinuity(context.Context, *jv1.ListContinuityRequest) (*jv1.ListContinuityResponse, error) {
	out := &jv1.ListContinuityResponse{Freshness: s.freshness()}
	s.store.Read(func(v store.View) {
		for _, name := range servicesIn(v) {
			if state := s.states.get(v, name, true); state != nil {
				out.States = append(out.States, state)
			}
		}
	})
	return out, nil
}

// servicesIn names the services that have a state, in order.
func servicesIn(v store.View) []string {
	var names []string
	for _, r := range store.List[*jv1.ContinuityState](v, store.Continuity) {
		names = append(names, strings.TrimPrefix(r.Key, store.Continuity))
	}
	return names
}

// WatchContinuity implements [jv1.ContinuityServiceServer]. A state is sent when anything in it changes; with in_force
// also when a follower takes an epoch over, though not when it repeats its report or its queue grows.
func (s *continuityService) WatchContinuity(req *jv1.WatchContinuityRequest, stream grpc.ServerStreamingServer[jv1.WatchContinuityResponse]) error {
	from, err := fromCursor(req.GetCursor())
	if err != nil {
		return err
	}
	f := &continuityFeed{store: s.store, states: s.states, inForce: req.GetInForce(), sent: map[string]*jv1.ContinuityState{}}
	if len(req.GetServices()) > 0 {
		f.wanted = map[string]bool{}
		for _, name := range req.GetServices() {
			f.wanted[name] = true
		}
	}
	w := watch[*jv1.ContinuityState]{
		prefixes:  []string{store.Continuity, store.Services, store.HealthPrefix},
		from:      from,
		translate: f.translate,
		send: func(event jv1.WatchEvent, cursor string, state *jv1.ContinuityState) error {
			m := &jv1.WatchContinuityResponse{Event: event, Cursor: cursor, State: state}
			if event == jv1.WatchEvent_WATCH_EVENT_BOOKMARK {
				m.Freshness = s.freshness()
			}
			return stream.Send(m)
		},
	}
	if f.inForce {
		w.refresh = f.refresh
	}
	return follow(stream.Context(), s.signals, s.store, w)
}

// continuityFeed derives the states of a stream from the changes of what they rest on.
type continuityFeed struct {
	store   *store.Store
	states  *presenter
	inForce bool
	wanted  map[string]bool // nil: all
	sent    map[string]*jv1.ContinuityState
}

func (f *continuityFeed) translate(u store.Update) []change[*jv1.ContinuityState] {
	if u.Reset {
		clear(f.sent)
	}
	var touched []string
	seen := map[string]bool{}
	for _, e := range u.Events {
		name := serviceOf(e.Key)
		if !seen[name] {
			seen[name] = true
			touched = append(touched, name)
		}
	}
	return f.changes(func(store.View) []string { return touched }, !u.Reset)
}

// serviceOf is the service a key speaks of: the part that follows the family.
func serviceOf(key string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, store.Root), "/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func (f *continuityFeed) refresh() []change[*jv1.ContinuityState] {
	return f.changes(servicesIn, false)
}

// changes compares the present states with what was sent. With gone, a service without a state is told even if this
// stream never sent it: a resumed caller may know it.
func (f *continuityFeed) changes(services func(store.View) []string, gone bool) []change[*jv1.ContinuityState] {
	var out []change[*jv1.ContinuityState]
	f.store.Read(func(v store.View) {
		for _, name := range services(v) {
			if f.wanted != nil && !f.wanted[name] {
				continue
			}
			state, last := f.states.get(v, name, f.inForce), f.sent[name]
			switch {
			case state == nil && (last != nil || gone):
				delete(f.sent, name)
				out = append(out, change[*jv1.ContinuityState]{value: &jv1.ContinuityState{Service: name}, gone: true})
			case state == nil || sameState(state, last):
			default:
				f.sent[name] = state
				out = append(out, change[*jv1.ContinuityState]{value: state})
			}
		}
	})
	return out
}

// sameState compares two states, the times of reports left out.
func sameState(a, b *jv1.ContinuityState) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || len(a.GetInForce()) != len(b.GetInForce()) {
		return false
	}
	for i, x := range a.GetInForce() {
		if y := b.GetInForce()[i]; x.GetSubscriber() != y.GetSubscriber() || x.GetEpoch() != y.GetEpoch() {
			return false
		}
	}
	return proto.Equal(withoutReports(a), withoutReports(b))
}

// withoutReports is a shallow copy of a state without what followers report.
func withoutReports(s *jv1.ContinuityState) *jv1.ContinuityState {
	out := &jv1.ContinuityState{}
	from, to := s.ProtoReflect(), out.ProtoReflect()
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Name() != "in_force" && from.Has(f) {
			to.Set(f, from.Get(f))
		}
	}
	return out
}

// presentedFor is how long a presented state is shared: reports in it lapse with time, not with a revision.
const presentedFor = time.Second

// presenter derives states for the API and shares the derived ones: after a switch, all streams ask for the same one at
// the same moment. What it returns must not be changed. Safe for concurrent use.
type presenter struct {
	store   *store.Store
	present func(v store.View, service string, now time.Time) *jv1.ContinuityState
	route   func(v store.View, service string) *jv1.ContinuityState
	now     func() time.Time

	mu     sync.Mutex
	shared map[presentedKey]presented
}

// presentedKey tells the states with who has them in force from those without.
type presentedKey struct {
	service string
	inForce bool
}

type presented struct {
	state    *jv1.ContinuityState
	revision int64
	at       time.Time
}

// get returns the state of a service as a view shows it, with who has it in force if asked for; nil when there is none.
func (p *presenter) get(v store.View, service string, inForce bool) *jv1.ContinuityState {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, key := p.now(), presentedKey{service, inForce}
	if known, ok := p.shared[key]; ok && known.revision == v.Revision() && now.Sub(known.at) < presentedFor && !now.Before(known.at) {
		return known.state
	}
	var state *jv1.ContinuityState
	if inForce {
		state = p.present(v, service, now)
	} else {
		state = p.route(v, service)
	}
	if state == nil {
		delete(p.shared, key)
		return nil
	}
	state.RestoreEpoch = p.store.RestoreEpoch()
	p.shared[key] = presented{state: state, revision: v.Revision(), at: now}
	return state
}
