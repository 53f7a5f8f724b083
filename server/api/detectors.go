package api

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/store"
)

// detectorService serves jurymast.v1.DetectorService.
type detectorService struct {
	jv1.UnsafeDetectorServiceServer
	*common
	evidence Signals
	triggers Triggers
}

// ReportSignals implements [jv1.DetectorServiceServer].
func (s *detectorService) ReportSignals(ctx context.Context, req *jv1.ReportSignalsRequest) (*jv1.ReportSignalsResponse, error) {
	if !isName(req.GetSource()) {
		return nil, notFound("detector", req.GetSource())
	}
	accepted, absorbed, err := s.evidence.Report(ctx, req.GetSource(), req.GetSignals())
	if err != nil {
		return nil, err
	}
	return &jv1.ReportSignalsResponse{Accepted: int32(accepted), Absorbed: int32(absorbed)}, nil
}

// SetOperatorSignal implements [jv1.DetectorServiceServer].
func (s *detectorService) SetOperatorSignal(ctx context.Context, req *jv1.SetOperatorSignalRequest) (*jv1.SetOperatorSignalResponse, error) {
	if !isName(req.GetService()) {
		return nil, notFound("service", req.GetService())
	}
	if !isName(req.GetProvider()) {
		return nil, notFound("provider", req.GetProvider())
	}
	revision, err := s.evidence.OperatorSignal(ctx, req.GetService(), req.GetProvider(), req.GetState(), req.GetReason(), req.GetValidFor().AsDuration())
	if err != nil {
		return nil, err
	}
	return &jv1.SetOperatorSignalResponse{Revision: revision}, nil
}

// FireTrigger implements [jv1.DetectorServiceServer].
func (s *detectorService) FireTrigger(ctx context.Context, req *jv1.FireTriggerRequest) (*jv1.Trigger, error) {
	return s.triggers.Fire(ctx, req)
}

// WhyNot implements [jv1.DetectorServiceServer].
func (s *detectorService) WhyNot(ctx context.Context, req *jv1.WhyNotRequest) (*jv1.WhyNotResponse, error) {
	return s.triggers.WhyNot(ctx, req.GetService())
}

// ListTriggers implements [jv1.DetectorServiceServer].
func (s *detectorService) ListTriggers(ctx context.Context, req *jv1.ListTriggersRequest) (*jv1.ListTriggersResponse, error) {
	p, err := newPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	pending := req.GetPending() || req.GetBlocked()
	keep := func(t *jv1.Trigger) bool {
		return (req.GetService() == "" || t.GetService() == req.GetService()) &&
			(!pending || t.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING) && (!req.GetBlocked() || blocked(t))
	}
	var l listed[*jv1.Trigger]
	if pending {
		s.store.Read(func(v store.View) { l = descending(v, store.Triggers, p, keep) })
	} else if l, err = listEnded(ctx, s.common, family[*jv1.Trigger]{store.Triggers, store.ArchivedTriggers, archive.Triggers}, p, keep); err != nil {
		return nil, err
	}
	return &jv1.ListTriggersResponse{Triggers: shownAll(l.records), NextPageToken: l.next}, nil
}

// blocked tells whether a guard holds one of a trigger's runbooks back.
func blocked(t *jv1.Trigger) bool {
	return slices.ContainsFunc(t.GetOutcomes(), func(o *jv1.TriggerOutcome) bool {
		return o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED
	})
}

// healthPrefix is where the health of one service stands, or that of all.
func healthPrefix(service string) string {
	if service == "" {
		return store.HealthPrefix
	}
	return store.HealthKey(service, "")
}

// ListHealth implements [jv1.DetectorServiceServer].
func (s *detectorService) ListHealth(_ context.Context, req *jv1.ListHealthRequest) (*jv1.ListHealthResponse, error) {
	if req.GetService() != "" && !isName(req.GetService()) {
		return nil, notFound("service", req.GetService())
	}
	out := &jv1.ListHealthResponse{}
	s.store.Read(func(v store.View) {
		out.Health = shownAll(store.List[*jv1.Health](v, healthPrefix(req.GetService())))
	})
	return out, nil
}

// WatchHealth implements [jv1.DetectorServiceServer].
func (s *detectorService) WatchHealth(req *jv1.WatchHealthRequest, stream grpc.ServerStreamingServer[jv1.WatchHealthResponse]) error {
	from, err := fromCursor(req.GetCursor())
	if err != nil {
		return err
	}
	if req.GetService() != "" && !isName(req.GetService()) {
		return notFound("service", req.GetService())
	}
	return follow(stream.Context(), s.signals, s.store, watch[*jv1.Health]{
		prefixes: []string{healthPrefix(req.GetService())},
		from:     from,
		translate: func(u store.Update) []change[*jv1.Health] {
			var out []change[*jv1.Health]
			for _, e := range u.Events {
				if h, ok := e.Msg.(*jv1.Health); ok {
					out = append(out, change[*jv1.Health]{value: shown(store.Record[*jv1.Health]{Msg: h, Mod: e.ModRevision})})
					continue
				}
				service, provider, _ := strings.Cut(strings.TrimPrefix(e.Key, store.HealthPrefix), "/")
				out = append(out, change[*jv1.Health]{value: &jv1.Health{Service: service, Provider: provider}, gone: true})
			}
			return out
		},
		send: func(event jv1.WatchEvent, cursor string, health *jv1.Health) error {
			return stream.Send(&jv1.WatchHealthResponse{Event: event, Cursor: cursor, Health: health})
		},
	})
}
