package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestAFailingProviderIsLeft is the main job on real parts: a provider fails, the probe sees it, the runbook runs, the
// route switches at a follower, people are told.
func TestAFailingProviderIsLeft(t *testing.T) {
	r := start(t, options(t))
	alpha, beta, told := newProvider(t, "alpha"), newProvider(t, "beta"), newSink(t)
	out := r.apply(alpha.resource(), beta.resource(), service("chat", alpha, beta), probe("probe", "chat"), hook("people", told.url),
		runbook(failover("outage", "chat", "people")))
	if strings.Contains(strings.Join(out.GetWarnings(), " "), "no machine") {
		t.Errorf("warnings %v", out.GetWarnings())
	}
	states := r.follow("chat")
	if s := <-states; s.GetActiveProvider() != "alpha" {
		t.Fatalf("begins with %v", s)
	}
	eventually(t, "both providers are healthy", func() bool {
		all, err := r.detectors().ListHealth(t.Context(), &jv1.ListHealthRequest{Service: "chat"})
		if err != nil || len(all.GetHealth()) != 2 {
			return false
		}
		return all.GetHealth()[0].GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY && all.GetHealth()[1].GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY
	})
	alpha.broken.Store(true)
	var state *jv1.ContinuityState
	for state = range states {
		if state.GetActiveProvider() == "beta" {
			break
		}
	}
	if state.GetPhase() != jv1.Phase_PHASE_FAILED_OVER || state.GetRun() == "" {
		t.Fatalf("switched to %v", state)
	}
	select {
	case text := <-told.got:
		if !strings.Contains(text, "beta") {
			t.Errorf("told %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	eventually(t, "the run ends well", func() bool {
		run, err := r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: state.GetRun()})
		return err == nil && run.GetState() == jv1.RunState_RUN_STATE_SUCCEEDED
	})
	events, err := r.runs().ListRunEvents(t.Context(), &jv1.ListRunEventsRequest{Run: state.GetRun()})
	if err != nil || len(events.GetEvents()) < 3 {
		t.Errorf("events %v, %v", events, err)
	}
}

// TestARestartKeepsEverything stops a server while a run waits for a human, and answers it after the restart.
func TestARestartKeepsEverything(t *testing.T) {
	o := options(t)
	r := start(t, o)
	alpha := newProvider(t, "alpha")
	r.apply(alpha.resource(), service("chat", alpha), runbook(asking("ask", "chat")))
	run, err := r.runs().StartRun(t.Context(), &jv1.StartRunRequest{Runbook: "ask", Reason: "x", RequestId: "one"})
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	r = start(t, o)
	after, err := r.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{})
	if err != nil || after.GetReplica() != before.GetReplica() || after.GetRestoreEpoch() != before.GetRestoreEpoch() || len(after.GetReplicas()) != 1 {
		t.Errorf("before %v, after %v, %v", before, after, err)
	}
	again, err := r.runs().StartRun(t.Context(), &jv1.StartRunRequest{Runbook: "ask", Reason: "x", RequestId: "one"})
	if err != nil || again.GetName() != run.GetName() {
		t.Errorf("the same request after the restart: %v, %v", again, err)
	}
	decided, err := r.runs().DecideRun(t.Context(), &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "go"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run goes on to its wait", func() bool {
		got, err := r.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: decided.GetName()})
		return err == nil && got.GetSteps()[1].GetState() == jv1.StepState_STEP_STATE_RUNNING
	})
}

// TestEveryMethod calls every method of every service so that it succeeds, and counts them.
func TestEveryMethod(t *testing.T) {
	r := start(t, options(t))
	ctx := t.Context()
	alpha, beta := newProvider(t, "alpha"), newProvider(t, "beta")
	r.apply(alpha.resource(), beta.resource(), service("chat", alpha, beta), webhook("alerts", "chat"), logChannel("log"),
		runbook(failover("outage", "chat", "log")), runbook(asking("ask", "chat")))
	must := func(what string, _ any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	get := func(what string, m any, err error) { must(what, m, err) }

	c := r.catalog()
	m1, err := c.GetProvider(ctx, &jv1.GetProviderRequest{Name: "alpha"})
	get("provider", m1, err)
	m2, err := c.ListProviders(ctx, &jv1.ListProvidersRequest{})
	get("providers", m2, err)
	m3, err := c.GetService(ctx, &jv1.GetServiceRequest{Name: "chat"})
	get("service", m3, err)
	m4, err := c.ListServices(ctx, &jv1.ListServicesRequest{})
	get("services", m4, err)
	m5, err := c.GetDetector(ctx, &jv1.GetDetectorRequest{Name: "alerts"})
	get("detector", m5, err)
	m6, err := c.ListDetectors(ctx, &jv1.ListDetectorsRequest{})
	get("detectors", m6, err)
	m7, err := c.GetChannel(ctx, &jv1.GetChannelRequest{Name: "log"})
	get("channel", m7, err)
	m8, err := c.ListChannels(ctx, &jv1.ListChannelsRequest{})
	get("channels", m8, err)

	r.apply(
		&jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: &jv1.Schedule{Name: "nightly", Cron: "0 3 * * *", Runbook: "ask"}}},
		&jv1.Resource{Kind: &jv1.Resource_Maintenance{Maintenance: &jv1.Maintenance{
			Name: "patches", Reason: "x", Cron: "@yearly", Duration: durationpb.New(time.Minute),
		}}},
	)
	s1, err := c.GetSchedule(ctx, &jv1.GetScheduleRequest{Name: "nightly"})
	get("schedule", s1, err)
	s2, err := c.ListSchedules(ctx, &jv1.ListSchedulesRequest{})
	get("schedules", s2, err)
	s3, err := c.GetMaintenance(ctx, &jv1.GetMaintenanceRequest{Name: "patches"})
	get("maintenance", s3, err)
	s4, err := c.ListMaintenances(ctx, &jv1.ListMaintenancesRequest{})
	get("maintenances", s4, err)
	s5, err := c.GetSettings(ctx, &jv1.GetSettingsRequest{})
	get("settings", s5, err)

	b := r.runbooks()
	m9, err := b.ApplyRunbook(ctx, &jv1.ApplyRunbookRequest{Runbook: failover("other", "chat", "log")})
	get("apply runbook", m9, err)
	m10, err := b.GetRunbook(ctx, &jv1.GetRunbookRequest{Name: "other"})
	get("runbook", m10, err)
	m11, err := b.ListRunbooks(ctx, &jv1.ListRunbooksRequest{})
	get("runbooks", m11, err)
	m12, err := b.ListRunbookRevisions(ctx, &jv1.ListRunbookRevisionsRequest{Name: "other"})
	get("revisions", m12, err)
	m13, err := b.ValidateRunbook(ctx, &jv1.ValidateRunbookRequest{Runbook: failover("third", "chat", "log")})
	get("validate", m13, err)
	m14, err := b.PlanRunbook(ctx, &jv1.PlanRunbookRequest{Name: "outage", Service: "chat"})
	get("plan", m14, err)
	if len(m14.GetSteps()) != 2 {
		t.Errorf("plan %v", m14)
	}
	m15, err := b.DeleteRunbook(ctx, &jv1.DeleteRunbookRequest{Name: "other"})
	get("delete runbook", m15, err)

	r.everySignal(must)
	r.everyIncident(must)
	r.everyRun(must)

	d := r.continuity()
	m16, err := d.SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true})
	get("switch", m16, err)
	m17, err := d.Undo(ctx, &jv1.UndoRequest{Service: "chat", Reason: "x"})
	get("undo", m17, err)
	m18, err := d.SetQueueing(ctx, &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"})
	get("queueing", m18, err)
	m19, err := d.Acknowledge(ctx, &jv1.AcknowledgeRequest{Service: "chat", Reason: "x"})
	get("acknowledge", m19, err)
	m20, err := d.ReportInForce(ctx, &jv1.ReportInForceRequest{Subscriber: "app", Epochs: map[string]int64{"chat": 1}})
	get("in force", m20, err)
	m21, err := d.GetContinuity(ctx, &jv1.GetContinuityRequest{Service: "chat"})
	get("continuity", m21, err)
	m22, err := d.ListContinuity(ctx, &jv1.ListContinuityRequest{})
	get("all continuity", m22, err)
	must("watch continuity", nil, first(ctx, func(ctx context.Context) (receiver[*jv1.WatchContinuityResponse], error) {
		return d.WatchContinuity(ctx, &jv1.WatchContinuityRequest{})
	}))

	a := r.admin()
	m23, err := a.GetInfo(ctx, &jv1.GetInfoRequest{})
	get("info", m23, err)
	m24, err := a.SetAutomation(ctx, &jv1.SetAutomationRequest{Service: "chat", On: false, Reason: "x"})
	get("set automation", m24, err)
	m25, err := a.GetAutomation(ctx, &jv1.GetAutomationRequest{})
	get("automation", m25, err)
	m26, err := a.ListAuditEvents(ctx, &jv1.ListAuditEventsRequest{})
	get("audit", m26, err)
	m27, err := a.ListNotifications(ctx, &jv1.ListNotificationsRequest{})
	get("notifications", m27, err)
	must("backup", nil, first(ctx, func(ctx context.Context) (receiver[*jv1.BackupResponse], error) {
		return a.Backup(ctx, &jv1.BackupRequest{})
	}))
	r.called.Store(jv1.AdminService_ConfirmRestore_FullMethodName, true) // see TestARestoreWaitsForAHuman
	m28, err := c.Delete(ctx, &jv1.DeleteRequest{Kind: "detector", Name: "alerts"})
	get("delete", m28, err)

	protoregistry.GlobalFiles.RangeFilesByPackage("jurymast.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				name := fmt.Sprintf("/%s/%s", s.FullName(), s.Methods().Get(j).Name())
				if _, ok := r.called.Load(name); !ok {
					t.Errorf("%s was not called with success", name)
				}
			}
		}
		return true
	})
	// Every change is in the audit with who asked for it.
	seen := map[string]bool{}
	for _, e := range m26.GetEvents() {
		seen[e.GetAction()] = true
		if e.GetActor() == "" || e.GetTarget() == "" {
			t.Errorf("event %v", e)
		}
	}
	for _, action := range []string{
		"CatalogService.Apply", "RunbookService.ApplyRunbook", "RunbookService.DeleteRunbook", "RunService.StartRun", "RunService.CancelRun",
		"RunService.PauseRun", "RunService.ResumeRun", "RunService.DecideRun", "RunService.RetryStep", "RunService.SkipStep", "ContinuityService.SwitchProvider", "ContinuityService.Undo",
		"ContinuityService.SetQueueing", "AdminService.SetAutomation", "DetectorService.FireTrigger", "DetectorService.SetOperatorSignal",
	} {
		if !seen[action] {
			t.Errorf("%s is not in the audit", action)
		}
	}
}

// everySignal calls what takes evidence in and gives health out.
func (r *rig) everySignal(must func(string, any, error)) {
	ctx, d := r.t.Context(), r.detectors()
	m1, err := d.ReportSignals(ctx, &jv1.ReportSignalsRequest{Source: "alerts", Signals: []*jv1.Signal{
		{Provider: "alpha", State: jv1.SignalState_SIGNAL_STATE_OK, SignalId: "1"},
	}})
	must("report", m1, err)
	m2, err := d.SetOperatorSignal(ctx, &jv1.SetOperatorSignalRequest{
		Service: "chat", Provider: "alpha", State: jv1.SignalState_SIGNAL_STATE_OK, Reason: "x",
	})
	must("operator's signal", m2, err)
	m3, err := d.ListHealth(ctx, &jv1.ListHealthRequest{})
	must("health", m3, err)
	must("watch health", nil, first(ctx, func(ctx context.Context) (receiver[*jv1.WatchHealthResponse], error) {
		return d.WatchHealth(ctx, &jv1.WatchHealthRequest{})
	}))
	m4, err := d.FireTrigger(ctx, &jv1.FireTriggerRequest{Service: "chat", Runbook: "ask", Reason: "x"})
	must("trigger", m4, err)
	m5, err := d.ListTriggers(ctx, &jv1.ListTriggersRequest{})
	must("triggers", m5, err)
	m6, err := d.WhyNot(ctx, &jv1.WhyNotRequest{Service: "chat"})
	must("why not", m6, err)
	if code, text := r.http("POST", "/v1/signals/alerts", `{"provider":"beta","state":"ok"}`); code/100 != 2 {
		r.t.Errorf("signal over HTTP: %d %s", code, text)
	}
}

// everyRun calls what steers runs. The run that waits from the trigger is superseded by the one that is started here.
func (r *rig) everyRun(must func(string, any, error)) {
	ctx, s := r.t.Context(), r.runs()
	run, err := s.StartRun(ctx, &jv1.StartRunRequest{Runbook: "ask", Reason: "x"})
	must("start", run, err)
	eventually(r.t, "the run asks", func() bool {
		got, err := s.GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL
	})
	m1, err := s.DecideRun(ctx, &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "x"})
	must("decide", m1, err)
	eventually(r.t, "the run can be paused", func() bool {
		_, err = s.PauseRun(ctx, &jv1.PauseRunRequest{Name: run.GetName(), Reason: "x"})
		return err == nil
	})
	must("pause", nil, err)
	m2, err := s.ResumeRun(ctx, &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "x"})
	must("resume", m2, err)
	m3, err := s.CancelRun(ctx, &jv1.CancelRunRequest{Name: run.GetName(), Reason: "x"})
	must("cancel", m3, err)
	r.everyStep(must)
	m4, err := s.ListRuns(ctx, &jv1.ListRunsRequest{})
	must("runs", m4, err)
	m5, err := s.ListRunEvents(ctx, &jv1.ListRunEventsRequest{Run: run.GetName()})
	must("events", m5, err)
	must("watch runs", nil, first(ctx, func(ctx context.Context) (receiver[*jv1.WatchRunsResponse], error) {
		return s.WatchRuns(ctx, &jv1.WatchRunsRequest{})
	}))
}

// everyStep retries a step whose receiver has been mended, and skips the wait after it.
func (r *rig) everyStep(must func(string, any, error)) {
	r.t.Helper()
	ctx, s, desk := r.t.Context(), r.runs(), newProvider(r.t, "desk")
	desk.broken.Store(true)
	r.apply(runbook(&jv1.Runbook{Name: "mend", Services: []string{"chat"}, Steps: []*jv1.Step{
		{
			Id: "call", Retry: &jv1.Retry{Attempts: 2, Initial: durationpb.New(time.Hour), Max: durationpb.New(time.Hour)},
			Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Url: desk.url, Repeat: jv1.Repeatability_REPEATABILITY_IDEMPOTENT}},
		},
		{Id: "rest", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(time.Hour)}}},
	}}))
	var run *jv1.Run
	var err error
	eventually(r.t, "nothing acts on chat any more", func() bool {
		run, err = s.StartRun(ctx, &jv1.StartRunRequest{Runbook: "mend", Reason: "x"})
		return err == nil
	})
	eventually(r.t, "the first attempt has failed", func() bool {
		got, err := s.GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetSteps()[0].GetState() == jv1.StepState_STEP_STATE_RETRYING
	})
	desk.broken.Store(false)
	m1, err := s.RetryStep(ctx, &jv1.RetryStepRequest{Name: run.GetName(), Step: "call", Reason: "x"})
	must("retry", m1, err)
	eventually(r.t, "the wait is skipped", func() bool {
		_, err = s.SkipStep(ctx, &jv1.SkipStepRequest{Name: run.GetName(), Step: "rest", Reason: "x"})
		return err == nil
	})
	eventually(r.t, "the run ends well", func() bool {
		got, err := s.GetRun(ctx, &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetState() == jv1.RunState_RUN_STATE_SUCCEEDED
	})
}

type receiver[M any] interface{ Recv() (M, error) }

// first opens a stream and waits for its first message.
func first[M any](ctx context.Context, open func(context.Context) (receiver[M], error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := open(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return errors.Join(errClosedEarly, err)
	}
	return nil
}

// everyIncident calls the methods about incidents, once a run has told of one.
func (r *rig) everyIncident(must func(string, any, error)) {
	r.t.Helper()
	ctx := r.t.Context()
	r.apply(runbook(&jv1.Runbook{Name: "tell", Services: []string{"chat"}, Steps: []*jv1.Step{{
		Action: &jv1.Step_UpdateIncident{UpdateIncident: &jv1.UpdateIncidentStep{Status: jv1.IncidentStatus_INCIDENT_STATUS_INVESTIGATING}},
	}}}))
	_, err := r.runs().StartRun(ctx, &jv1.StartRunRequest{Runbook: "tell", Reason: "x"})
	must("tell of an incident", nil, err)
	incidents := jv1.NewIncidentServiceClient(r.conn)
	all, err := incidents.ListIncidents(ctx, &jv1.ListIncidentsRequest{Service: "chat", Open: true})
	must("incidents", all, err)
	if len(all.GetIncidents()) != 1 {
		r.t.Fatalf("incidents %v", all)
	}
	one, err := incidents.GetIncident(ctx, &jv1.GetIncidentRequest{Name: all.GetIncidents()[0].GetName()})
	must("incident", one, err)
	if one.GetTitle() != "chat: trouble" || one.GetRevision() == 0 {
		r.t.Errorf("incident %v", one)
	}
}
