package cli_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (w *world) StartRun(_ context.Context, req *jv1.StartRunRequest) (*jv1.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resources["runbook"][req.GetRunbook()] == nil {
		return nil, notFound("runbook", req.GetRunbook())
	}
	r := &jv1.Run{
		Name: fmt.Sprintf("r-01jd0000%06d", len(w.runs)+1), Runbook: req.GetRunbook(), RunbookVersion: 1, Service: req.GetService(),
		Mode: req.GetMode(), State: jv1.RunState_RUN_STATE_RUNNING, Reason: req.GetReason(), Actor: "alice", Parameters: req.GetParameters(),
		CreateTime: timestamppb.New(w.now), LastEvent: 1,
	}
	if req.GetValidateOnly() {
		return r, nil
	}
	w.events[r.GetName()] = []*jv1.RunEvent{{
		Run: r.GetName(), Sequence: 1, Time: r.GetCreateTime(), Kind: jv1.RunEventKind_RUN_EVENT_KIND_CREATED, Actor: "alice", Message: "run created: " + req.GetReason(),
	}}
	r.Revision = w.bump()
	w.runs[r.GetName()] = r
	return r, nil
}

func (w *world) GetRun(_ context.Context, req *jv1.GetRunRequest) (*jv1.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.runs[req.GetName()]
	if r == nil {
		return nil, notFound("run", req.GetName())
	}
	return r, nil
}

func live(r *jv1.Run) bool {
	return r.GetState() == jv1.RunState_RUN_STATE_RUNNING || r.GetState() == jv1.RunState_RUN_STATE_WAITING ||
		r.GetState() == jv1.RunState_RUN_STATE_COMPENSATING
}

// ListRuns gives pages of two, so that every listing has to turn pages.
func (w *world) ListRuns(_ context.Context, req *jv1.ListRunsRequest) (*jv1.ListRunsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListRunsResponse{}
	names := slices.Sorted(maps.Keys(w.runs))
	slices.Reverse(names)
	for _, n := range names {
		r := w.runs[n]
		switch {
		case req.GetPageToken() != "" && n >= req.GetPageToken():
		case req.GetService() != "" && r.GetService() != req.GetService():
		case req.GetRunbook() != "" && r.GetRunbook() != req.GetRunbook():
		case req.GetLive() && !live(r):
		case len(res.GetRuns()) == min(2, int(req.GetPageSize())) && !req.GetLive():
			res.NextPageToken = res.GetRuns()[len(res.GetRuns())-1].GetName()
			return res, nil
		default:
			res.Runs = append(res.Runs, r)
		}
	}
	return res, nil
}

func (w *world) WatchRuns(req *jv1.WatchRunsRequest, stream grpc.ServerStreamingServer[jv1.WatchRunsResponse]) error {
	var sent *jv1.Run
	for {
		w.mu.Lock()
		changed, r, revision := w.changed, w.runs[req.GetName()], w.revision
		w.mu.Unlock()
		if r != sent {
			sent = r
			m := &jv1.WatchRunsResponse{Event: jv1.WatchEvent_WATCH_EVENT_PUT, Run: r, Cursor: fmt.Sprintf("a:%d", revision)}
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

func (w *world) ListRunEvents(_ context.Context, req *jv1.ListRunEventsRequest) (*jv1.ListRunEventsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListRunEventsResponse{}
	for _, e := range w.events[req.GetRun()] {
		if e.GetSequence() <= req.GetAfter() {
			continue
		}
		if len(res.GetEvents()) == 2 { // pages of two, too
			res.More = true
			break
		}
		res.Events = append(res.Events, e)
	}
	return res, nil
}

// steer replaces a run.
func (w *world) steer(name string, expected int64, edit func(*jv1.Run)) (*jv1.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.runs[name]
	switch {
	case r == nil:
		return nil, notFound("run", name)
	case !live(r):
		return nil, failure(codes.FailedPrecondition, "run_ended: the run has ended")
	case expected != 0 && expected != r.GetRevision():
		return nil, status.Errorf(codes.Aborted, "the run is at revision %d, not %d", r.GetRevision(), expected)
	}
	next := proto.CloneOf(r)
	edit(next)
	next.Revision = w.bump()
	w.runs[name] = next
	return next, nil
}

func (w *world) CancelRun(_ context.Context, req *jv1.CancelRunRequest) (*jv1.Run, error) {
	return w.steer(req.GetName(), req.GetExpectedRevision(), func(r *jv1.Run) {
		r.CancelRequested = true
		if len(r.GetSteps()) == 0 { // nothing is under way that would have to end first
			r.State, r.Outcome, r.EndTime = jv1.RunState_RUN_STATE_CANCELED, req.GetReason(), timestamppb.New(w.now)
		}
	})
}

func (w *world) PauseRun(_ context.Context, req *jv1.PauseRunRequest) (*jv1.Run, error) {
	return w.steer(req.GetName(), req.GetExpectedRevision(), func(r *jv1.Run) {
		r.State, r.Wait, r.WaitText = jv1.RunState_RUN_STATE_WAITING, jv1.RunWait_RUN_WAIT_RESUME, "paused: "+req.GetReason()
	})
}

func (w *world) ResumeRun(_ context.Context, req *jv1.ResumeRunRequest) (*jv1.Run, error) {
	return w.steer(req.GetName(), req.GetExpectedRevision(), func(r *jv1.Run) {
		r.State, r.Wait, r.WaitText = jv1.RunState_RUN_STATE_RUNNING, 0, ""
	})
}

func (w *world) DecideRun(_ context.Context, req *jv1.DecideRunRequest) (*jv1.Run, error) {
	return w.steer(req.GetName(), req.GetExpectedRevision(), func(r *jv1.Run) {
		r.Wait, r.WaitText, r.State = 0, "", jv1.RunState_RUN_STATE_RUNNING
		if !req.GetApprove() {
			r.State, r.Outcome, r.EndTime = jv1.RunState_RUN_STATE_CANCELED, "rejected: "+req.GetComment(), timestamppb.New(w.now)
		}
	})
}

func (w *world) ListHealth(_ context.Context, req *jv1.ListHealthRequest) (*jv1.ListHealthResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListHealthResponse{}
	for _, h := range w.health {
		if req.GetService() == "" || h.GetService() == req.GetService() {
			res.Health = append(res.Health, h)
		}
	}
	return res, nil
}

func (w *world) ListTriggers(_ context.Context, req *jv1.ListTriggersRequest) (*jv1.ListTriggersResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListTriggersResponse{}
	for _, t := range w.triggers {
		held := slices.ContainsFunc(t.GetOutcomes(), func(o *jv1.TriggerOutcome) bool {
			return o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED
		})
		if req.GetBlocked() && !held {
			continue
		}
		if (req.GetService() == "" || t.GetService() == req.GetService()) && (!req.GetPending() || t.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING) {
			res.Triggers = append(res.Triggers, t)
		}
	}
	return res, nil
}

func (w *world) SetOperatorSignal(_ context.Context, req *jv1.SetOperatorSignalRequest) (*jv1.SetOperatorSignalResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.state(req.GetService()); err != nil {
		return nil, err
	}
	return &jv1.SetOperatorSignalResponse{Revision: w.bump()}, nil
}

func (w *world) FireTrigger(_ context.Context, req *jv1.FireTriggerRequest) (*jv1.Trigger, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.state(req.GetService()); err != nil {
		return nil, err
	}
	t := &jv1.Trigger{
		Name: "t-01jd0000aaaaaa", Service: req.GetService(), Cause: jv1.TriggerCause_TRIGGER_CAUSE_OPERATOR, Reason: req.GetReason(),
		State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: timestamppb.New(w.now),
		Outcomes: []*jv1.TriggerOutcome{{
			Runbook: "ai-provider-outage", State: jv1.OutcomeState_OUTCOME_STATE_BLOCKED, Guard: "automation_off", Detail: "alice switched automation off",
		}},
	}
	w.triggers = append(w.triggers, t)
	return t, nil
}

func (w *world) WhyNot(_ context.Context, req *jv1.WhyNotRequest) (*jv1.WhyNotResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.state(req.GetService()); err != nil {
		return nil, err
	}
	return &jv1.WhyNotResponse{Entries: w.whyNot}, nil
}

func (w *world) GetInfo(context.Context, *jv1.GetInfoRequest) (*jv1.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.info, nil
}

func (w *world) GetAutomation(context.Context, *jv1.GetAutomationRequest) (*jv1.GetAutomationResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &jv1.GetAutomationResponse{Automation: w.automation}, nil
}

func (w *world) SetAutomation(_ context.Context, req *jv1.SetAutomationRequest) (*jv1.Automation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &jv1.Automation{Service: req.GetService(), On: req.GetOn(), Reason: req.GetReason(), Actor: "alice", Time: timestamppb.New(w.now)}
	w.automation = append(slices.DeleteFunc(w.automation, func(x *jv1.Automation) bool { return x.GetService() == req.GetService() }), a)
	return a, nil
}

func (w *world) ListAuditEvents(_ context.Context, req *jv1.ListAuditEventsRequest) (*jv1.ListAuditEventsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &jv1.ListAuditEventsResponse{Events: w.audit[:min(len(w.audit), int(req.GetPageSize()))]}, nil
}

func (w *world) ListNotifications(_ context.Context, req *jv1.ListNotificationsRequest) (*jv1.ListNotificationsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListNotificationsResponse{}
	for _, n := range w.notifications {
		if req.GetRun() == "" || n.GetRun() == req.GetRun() {
			res.Notifications = append(res.Notifications, n)
		}
	}
	return res, nil
}

func (w *world) ListIncidents(_ context.Context, req *jv1.ListIncidentsRequest) (*jv1.ListIncidentsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	res := &jv1.ListIncidentsResponse{}
	for _, i := range w.incidents {
		if !req.GetOpen() || i.GetResolveTime() == nil {
			res.Incidents = append(res.Incidents, i)
		}
	}
	return res, nil
}
