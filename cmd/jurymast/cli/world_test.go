package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// world is a server whose every answer a script decides. What it does of itself is what the contract of the API says;
// it judges and runs nothing.
type world struct {
	jv1.UnimplementedCatalogServiceServer
	jv1.UnimplementedRunbookServiceServer
	jv1.UnimplementedRunServiceServer
	jv1.UnimplementedContinuityServiceServer
	jv1.UnimplementedDetectorServiceServer
	jv1.UnimplementedAdminServiceServer
	jv1.UnimplementedIncidentServiceServer

	address string
	grpc    *grpc.Server
	// now is the time at which the world stands, for the program too: ages must not depend on how fast a test is.
	now time.Time

	mu            sync.Mutex
	changed       chan struct{}
	revision      int64
	resources     map[string]map[string]*jv1.Resource
	states        map[string]*jv1.ContinuityState
	health        []*jv1.Health
	runs          map[string]*jv1.Run
	events        map[string][]*jv1.RunEvent
	triggers      []*jv1.Trigger
	automation    []*jv1.Automation
	notifications []*jv1.Notification
	incidents     []*jv1.Incident
	audit         []*jv1.AuditEvent
	whyNot        []*jv1.WhyNotEntry
	info          *jv1.Info
	plan          *jv1.Plan

	token    string
	stale    bool
	failures map[string][]error
	calls    []string // method and request
}

func newWorld() *world {
	return &world{
		now:     time.Now().UTC().Truncate(time.Millisecond),
		address: "127.0.0.1:0", changed: make(chan struct{}), revision: 100,
		resources: map[string]map[string]*jv1.Resource{}, states: map[string]*jv1.ContinuityState{}, runs: map[string]*jv1.Run{},
		events: map[string][]*jv1.RunEvent{}, failures: map[string][]error{},
		info: &jv1.Info{Version: "v1.2.3", Replica: "dr-1", Replicas: []string{"dr-1"}, EmbeddedStore: true, Freshness: &jv1.Freshness{Live: true}},
	}
}

func (w *world) start() error {
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		return err
	}
	w.address = l.Addr().String()
	w.grpc = grpc.NewServer(grpc.UnaryInterceptor(w.unary), grpc.StreamInterceptor(w.stream))
	jv1.RegisterCatalogServiceServer(w.grpc, w)
	jv1.RegisterRunbookServiceServer(w.grpc, w)
	jv1.RegisterRunServiceServer(w.grpc, w)
	jv1.RegisterContinuityServiceServer(w.grpc, w)
	jv1.RegisterDetectorServiceServer(w.grpc, w)
	jv1.RegisterAdminServiceServer(w.grpc, w)
	jv1.RegisterIncidentServiceServer(w.grpc, w)
	g := w.grpc
	go func() { _ = g.Serve(l) }()
	return nil
}

func (w *world) stop() { w.grpc.Stop() }

func (w *world) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := w.enter(ctx, info.FullMethod, req); err != nil {
		return nil, err
	}
	w.mu.Lock()
	if w.stale {
		_ = grpc.SetHeader(ctx, metadata.Pairs("jurymast-live", "false", "jurymast-as-of", w.now.Add(-3*time.Minute).UTC().Format(time.RFC3339Nano)))
	}
	w.mu.Unlock()
	return next(ctx, req)
}

func (w *world) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := w.enter(ss.Context(), info.FullMethod, nil); err != nil {
		return err
	}
	return next(srv, ss)
}

// enter notes a call and gives the failure that a script planned for it.
func (w *world) enter(ctx context.Context, method string, req any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := method[strings.LastIndexByte(method, '/')+1:]
	if m, ok := req.(proto.Message); ok {
		raw, _ := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		var tidy map[string]any
		_ = json.Unmarshal(raw, &tidy)
		sorted, _ := json.Marshal(tidy)
		w.calls = append(w.calls, name+" "+string(sorted))
	}
	if md, _ := metadata.FromIncomingContext(ctx); w.token != "" && !slices.Equal(md.Get("authorization"), []string{"Bearer " + w.token}) {
		return status.Error(codes.Unauthenticated, "the token is missing or not known")
	}
	if planned := w.failures[name]; len(planned) > 0 {
		w.failures[name] = planned[1:]
		return planned[0]
	}
	return nil
}

// failure makes the error of a script: guard refusals and retries with the details a server gives.
func failure(code codes.Code, message string) error {
	st := status.New(code, message)
	switch code {
	case codes.Unavailable:
		st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(20 * time.Millisecond)})
	case codes.FailedPrecondition:
		guard, detail, _ := strings.Cut(message, ": ")
		st, _ = st.WithDetails(&errdetails.ErrorInfo{Reason: "GUARD_REFUSED", Domain: "jurymast", Metadata: map[string]string{"guard": guard}},
			&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: "GUARD", Subject: guard, Description: detail}}})
	}
	return st.Err()
}

// ago is a moment before now in a file, `${5m}`, or after it, `${-5m}`.
var ago = regexp.MustCompile(`\$\{(-?[0-9a-z.]+)\}`)

// load merges what a JSON file holds into the world.
func (w *world) load(data []byte) error {
	var bad error
	data = ago.ReplaceAllFunc(data, func(m []byte) []byte {
		d, err := time.ParseDuration(string(m[2 : len(m)-1]))
		bad = errors.Join(bad, err)
		return []byte(w.now.Add(-d).UTC().Format(time.RFC3339Nano))
	})
	var file map[string]json.RawMessage
	if err := errors.Join(bad, json.Unmarshal(data, &file)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	for _, key := range slices.Sorted(maps.Keys(file)) {
		if err := w.loadOne(key, file[key]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

func (w *world) loadOne(key string, raw json.RawMessage) error {
	switch key {
	case "continuity":
		list, err := many[jv1.ContinuityState](raw)
		for _, s := range list {
			w.states[s.GetService()] = s
			s.Revision, s.RestoreEpoch = w.revision, "1700000000000-a"
		}
		return err
	case "runs":
		list, err := many[jv1.Run](raw)
		for _, r := range list {
			r.Revision = w.revision
			w.runs[r.GetName()] = r
		}
		return err
	case "events":
		list, err := many[jv1.RunEvent](raw)
		for _, e := range list {
			e.Sequence = int64(len(w.events[e.GetRun()]) + 1)
			w.events[e.GetRun()] = append(w.events[e.GetRun()], e)
			if r := w.runs[e.GetRun()]; r != nil {
				r.LastEvent = e.GetSequence()
			}
		}
		return err
	case "health":
		return assign(&w.health, raw)
	case "triggers":
		return assign(&w.triggers, raw)
	case "automation":
		return assign(&w.automation, raw)
	case "notifications":
		return assign(&w.notifications, raw)
	case "incidents":
		return assign(&w.incidents, raw)
	case "audit":
		return assign(&w.audit, raw)
	case "why_not":
		return assign(&w.whyNot, raw)
	case "plan":
		w.plan = &jv1.Plan{}
		return protojson.Unmarshal(raw, w.plan)
	case "info":
		return protojson.Unmarshal(raw, w.info)
	default:
		return errors.New("unknown key")
	}
}

func many[M any, P interface {
	*M
	proto.Message
}](raw json.RawMessage) ([]P, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	var out []P
	for _, item := range items {
		m := P(new(M))
		if err := protojson.Unmarshal(item, m); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func assign[M any, P interface {
	*M
	proto.Message
}](to *[]P, raw json.RawMessage) error {
	list, err := many[M, P](raw)
	*to = list
	return err
}

// catalog is what is stored, as the checks want it.
func (w *world) catalog() *runbooks.Catalog {
	c := &runbooks.Catalog{
		Providers: map[string]*jv1.Provider{}, Services: map[string]*jv1.Service{}, Detectors: map[string]*jv1.Detector{},
		Channels: map[string]*jv1.Channel{}, Runbooks: map[string]*jv1.Runbook{}, Vantages: 1,
		Schedules: map[string]*jv1.Schedule{}, Maintenances: map[string]*jv1.Maintenance{},
	}
	for _, byName := range w.resources {
		for name, r := range byName {
			switch v := r.GetKind().(type) {
			case *jv1.Resource_Provider:
				c.Providers[name] = v.Provider
			case *jv1.Resource_Service:
				c.Services[name] = v.Service
			case *jv1.Resource_Detector:
				c.Detectors[name] = v.Detector
			case *jv1.Resource_Channel:
				c.Channels[name] = v.Channel
			case *jv1.Resource_Runbook:
				c.Runbooks[name] = v.Runbook
			case *jv1.Resource_Schedule:
				c.Schedules[name] = v.Schedule
			case *jv1.Resource_Maintenance:
				c.Maintenances[name] = v.Maintenance
			}
		}
	}
	return c
}

// bump ends a change of the world; the caller holds the lock.
func (w *world) bump() int64 {
	w.revision++
	close(w.changed)
	w.changed = make(chan struct{})
	return w.revision
}
