package cli_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func notFound(kind, name string) error {
	return status.Errorf(codes.NotFound, "there is no %s %q", kind, name)
}

func (w *world) Apply(_ context.Context, req *jv1.ApplyRequest) (*jv1.ApplyResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	problems, warnings := runbooks.ValidateResources(req.GetResources(), w.catalog())
	if len(problems) > 0 {
		bad := &errdetails.BadRequest{}
		for _, p := range problems {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: p.GetField(), Description: p.GetMessage()})
		}
		st, _ := status.New(codes.InvalidArgument, problems[0].GetMessage()).WithDetails(bad)
		return nil, st.Err()
	}
	res := &jv1.ApplyResponse{Warnings: warnings}
	for _, r := range req.GetResources() {
		kind, name := runbooks.KindOf(r), runbooks.NameOf(r)
		action := jv1.ApplyAction_APPLY_ACTION_CREATED
		if old := w.resources[kind][name]; old != nil {
			action = jv1.ApplyAction_APPLY_ACTION_UPDATED
			if proto.Equal(old, r) || r.GetRunbook() != nil && runbooks.Hash(old.GetRunbook()) == runbooks.Hash(r.GetRunbook()) {
				action = jv1.ApplyAction_APPLY_ACTION_UNCHANGED
			}
		}
		res.Results = append(res.Results, &jv1.ApplyResult{Kind: kind, Name: name, Action: action})
		if req.GetValidateOnly() {
			continue
		}
		if w.resources[kind] == nil {
			w.resources[kind] = map[string]*jv1.Resource{}
		}
		w.resources[kind][name] = r
		if s := r.GetService(); s != nil && w.states[name] == nil {
			w.states[name] = &jv1.ContinuityState{
				Service: name, ActiveProvider: s.GetProviders()[0].GetName(), Epoch: 1, Phase: jv1.Phase_PHASE_NORMAL,
				Since: timestamppb.New(w.now), Reason: "applied", RestoreEpoch: "1700000000000-a",
			}
		}
	}
	if !req.GetValidateOnly() {
		res.Revision = w.bump()
	}
	return res, nil
}

// pick returns the stored resources of a kind in the order of their names.
func (w *world) pick(kind string) []*jv1.Resource {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*jv1.Resource
	for _, name := range slices.Sorted(maps.Keys(w.resources[kind])) {
		out = append(out, w.resources[kind][name])
	}
	return out
}

func (w *world) one(kind, name string) (*jv1.Resource, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.resources[kind][name]
	if r == nil {
		return nil, notFound(kind, name)
	}
	return r, nil
}

func (w *world) GetProvider(_ context.Context, req *jv1.GetProviderRequest) (*jv1.Provider, error) {
	r, err := w.one("provider", req.GetName())
	return r.GetProvider(), err
}

func (w *world) ListProviders(context.Context, *jv1.ListProvidersRequest) (*jv1.ListProvidersResponse, error) {
	res := &jv1.ListProvidersResponse{}
	for _, r := range w.pick("provider") {
		res.Providers = append(res.Providers, r.GetProvider())
	}
	return res, nil
}

func (w *world) GetService(_ context.Context, req *jv1.GetServiceRequest) (*jv1.Service, error) {
	r, err := w.one("service", req.GetName())
	return r.GetService(), err
}

func (w *world) ListServices(context.Context, *jv1.ListServicesRequest) (*jv1.ListServicesResponse, error) {
	res := &jv1.ListServicesResponse{}
	for _, r := range w.pick("service") {
		res.Services = append(res.Services, r.GetService())
	}
	return res, nil
}

func (w *world) GetDetector(_ context.Context, req *jv1.GetDetectorRequest) (*jv1.Detector, error) {
	r, err := w.one("detector", req.GetName())
	return r.GetDetector(), err
}

func (w *world) ListDetectors(context.Context, *jv1.ListDetectorsRequest) (*jv1.ListDetectorsResponse, error) {
	res := &jv1.ListDetectorsResponse{}
	for _, r := range w.pick("detector") {
		res.Detectors = append(res.Detectors, r.GetDetector())
	}
	return res, nil
}

func (w *world) GetChannel(_ context.Context, req *jv1.GetChannelRequest) (*jv1.Channel, error) {
	r, err := w.one("channel", req.GetName())
	return r.GetChannel(), err
}

func (w *world) ListChannels(context.Context, *jv1.ListChannelsRequest) (*jv1.ListChannelsResponse, error) {
	res := &jv1.ListChannelsResponse{}
	for _, r := range w.pick("channel") {
		res.Channels = append(res.Channels, r.GetChannel())
	}
	return res, nil
}

func (w *world) GetRunbook(_ context.Context, req *jv1.GetRunbookRequest) (*jv1.Runbook, error) {
	r, err := w.one("runbook", req.GetName())
	if err == nil && req.GetVersion() > 1 {
		return nil, notFound("version of runbook", req.GetName())
	}
	return r.GetRunbook(), err
}

func (w *world) ListRunbooks(context.Context, *jv1.ListRunbooksRequest) (*jv1.ListRunbooksResponse, error) {
	res := &jv1.ListRunbooksResponse{}
	for _, r := range w.pick("runbook") {
		res.Runbooks = append(res.Runbooks, r.GetRunbook())
	}
	return res, nil
}

func (w *world) PlanRunbook(_ context.Context, req *jv1.PlanRunbookRequest) (*jv1.Plan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rb := req.GetRunbook()
	if rb == nil {
		rb = w.resources["runbook"][req.GetName()].GetRunbook()
	}
	if rb == nil {
		return nil, notFound("runbook", req.GetName())
	}
	plan := runbooks.Outline(rb, nil)
	plan.Service, plan.WouldStart = rb.GetServices()[0], true
	if w.plan != nil {
		plan.WouldStart, plan.Guard, plan.Detail = w.plan.GetWouldStart(), w.plan.GetGuard(), w.plan.GetDetail()
	}
	return plan, nil
}

func (w *world) Delete(_ context.Context, req *jv1.DeleteRequest) (*jv1.DeleteResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resources[req.GetKind()][req.GetName()] == nil {
		return nil, notFound(req.GetKind(), req.GetName())
	}
	if users := runbooks.Referrers(req.GetKind(), req.GetName(), w.catalog()); len(users) > 0 {
		f := &errdetails.PreconditionFailure{}
		for _, u := range users {
			f.Violations = append(f.Violations, &errdetails.PreconditionFailure_Violation{
				Type: "IN_USE", Subject: u, Description: fmt.Sprintf("%s refers to %s %s", u, req.GetKind(), req.GetName()),
			})
		}
		st, _ := status.New(codes.FailedPrecondition, fmt.Sprintf("%s %s is still used by %s", req.GetKind(), req.GetName(), users[0])).WithDetails(f)
		return nil, st.Err()
	}
	if req.GetValidateOnly() {
		return &jv1.DeleteResponse{}, nil
	}
	delete(w.resources[req.GetKind()], req.GetName())
	return &jv1.DeleteResponse{Revision: w.bump()}, nil
}

func (w *world) state(service string) (*jv1.ContinuityState, error) {
	s := w.states[service]
	if s == nil {
		return nil, notFound("service", service)
	}
	return s, nil
}

func (w *world) GetContinuity(_ context.Context, req *jv1.GetContinuityRequest) (*jv1.GetContinuityResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.state(req.GetService())
	return &jv1.GetContinuityResponse{State: s, Freshness: w.freshness()}, err
}

func (w *world) freshness() *jv1.Freshness {
	f := &jv1.Freshness{Live: !w.stale, AsOf: timestamppb.New(w.now)}
	if w.stale {
		f.AsOf = timestamppb.New(w.now.Add(-3 * time.Minute))
	}
	return f
}

func (w *world) ListContinuity(context.Context, *jv1.ListContinuityRequest) (*jv1.ListContinuityResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListContinuityResponse{Freshness: w.freshness()}
	for _, name := range slices.Sorted(maps.Keys(w.states)) {
		res.States = append(res.States, w.states[name])
	}
	return res, nil
}

// change replaces a state by one of the next epoch.
func (w *world) change(service string, expected int64, edit func(*jv1.ContinuityState)) (*jv1.ContinuityState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.state(service)
	if err != nil {
		return nil, err
	}
	if expected != 0 && expected != s.GetEpoch() {
		return nil, status.Errorf(codes.Aborted, "the epoch is %d, not %d", s.GetEpoch(), expected)
	}
	next := proto.CloneOf(s)
	next.Epoch++
	next.Since = timestamppb.New(w.now)
	edit(next)
	next.Revision = w.bump()
	w.states[service] = next
	return next, nil
}

func (w *world) SwitchProvider(_ context.Context, req *jv1.SwitchProviderRequest) (*jv1.ContinuityState, error) {
	if req.GetValidateOnly() {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.state(req.GetService())
	}
	return w.change(req.GetService(), req.GetExpectedEpoch(), func(s *jv1.ContinuityState) {
		s.PreviousProvider, s.ActiveProvider = s.GetActiveProvider(), req.GetProvider()
		s.Reason, s.BreakGlass, s.Phase = req.GetReason(), req.GetBreakGlass(), jv1.Phase_PHASE_FAILED_OVER
	})
}

func (w *world) SetQueueing(_ context.Context, req *jv1.SetQueueingRequest) (*jv1.ContinuityState, error) {
	return w.change(req.GetService(), req.GetExpectedEpoch(), func(s *jv1.ContinuityState) { s.Queueing = req.GetOn() })
}

func (w *world) Undo(_ context.Context, req *jv1.UndoRequest) (*jv1.ContinuityState, error) {
	return w.change(req.GetService(), req.GetExpectedEpoch(), func(s *jv1.ContinuityState) {
		s.ActiveProvider, s.PreviousProvider = s.GetPreviousProvider(), s.GetActiveProvider()
	})
}

func (w *world) Acknowledge(_ context.Context, req *jv1.AcknowledgeRequest) (*jv1.AcknowledgeResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.state(req.GetService())
	if err != nil {
		return nil, err
	}
	broken := s.GetBreakGlass()
	s.BreakGlass = false
	var cleared []string
	for _, e := range w.whyNot {
		if e.GetReason() == "cooldown" {
			cleared = append(cleared, e.GetRunbook())
		}
	}
	return &jv1.AcknowledgeResponse{Cleared: cleared, BreakGlass: broken}, nil
}

func (w *world) ReportInForce(_ context.Context, req *jv1.ReportInForceRequest) (*jv1.ReportInForceResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for service, epoch := range req.GetEpochs() {
		s := proto.CloneOf(w.states[service])
		s.InForce = slices.DeleteFunc(s.GetInForce(), func(f *jv1.InForce) bool { return f.GetSubscriber() == req.GetSubscriber() })
		s.InForce = append(s.InForce, &jv1.InForce{Subscriber: req.GetSubscriber(), Epoch: epoch, ReportTime: timestamppb.New(w.now)})
		w.states[service] = s
	}
	return &jv1.ReportInForceResponse{ValidFor: durationpb.New(time.Minute)}, nil
}

func (w *world) WatchContinuity(req *jv1.WatchContinuityRequest, stream grpc.ServerStreamingServer[jv1.WatchContinuityResponse]) error {
	sent := map[string]*jv1.ContinuityState{}
	for {
		w.mu.Lock()
		changed := w.changed
		var out []*jv1.WatchContinuityResponse
		for _, name := range slices.Sorted(maps.Keys(w.states)) {
			if s := w.states[name]; sent[name] != s && (len(req.GetServices()) == 0 || slices.Contains(req.GetServices(), name)) {
				sent[name] = s
				out = append(out, &jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_PUT, State: s})
			}
		}
		out = append(out, &jv1.WatchContinuityResponse{Event: jv1.WatchEvent_WATCH_EVENT_BOOKMARK, Freshness: w.freshness()})
		w.mu.Unlock()
		for _, m := range out {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
