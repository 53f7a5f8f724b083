package api_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// TestPartsAreAsked calls what the API only passes on.
func TestPartsAreAsked(t *testing.T) {
	r := start(t, options{})
	ctx := t.Context()
	for _, test := range []struct {
		want string
		call func() error
	}{
		{"start x", func() error {
			run, err := r.runs().StartRun(ctx, &jv1.StartRunRequest{Runbook: "x", Reason: "y"})
			if err == nil && run.GetName() != "r-new" {
				t.Errorf("run %v", run)
			}
			return err
		}},
		{"cancel r", func() error {
			_, err := r.runs().CancelRun(ctx, &jv1.CancelRunRequest{Name: "r", Reason: "y"})
			return err
		}},
		{"pause r", func() error {
			_, err := r.runs().PauseRun(ctx, &jv1.PauseRunRequest{Name: "r", Reason: "y"})
			return err
		}},
		{"resume r", func() error {
			_, err := r.runs().ResumeRun(ctx, &jv1.ResumeRunRequest{Name: "r", Reason: "y"})
			return err
		}},
		{"decide r", func() error {
			_, err := r.runs().DecideRun(ctx, &jv1.DecideRunRequest{Name: "r", Comment: "y"})
			return err
		}},
		{"fire chat", func() error {
			_, err := r.detectors().FireTrigger(ctx, &jv1.FireTriggerRequest{Service: "chat", Reason: "y"})
			return err
		}},
		{"why-not chat", func() error {
			_, err := r.detectors().WhyNot(ctx, &jv1.WhyNotRequest{Service: "chat"})
			return err
		}},
		{"report probe", func() error {
			out, err := r.detectors().ReportSignals(ctx, &jv1.ReportSignalsRequest{Source: "probe", Signals: []*jv1.Signal{{State: jv1.SignalState_SIGNAL_STATE_OK}}})
			if err == nil && out.GetAccepted() != 1 {
				t.Errorf("accepted %v", out)
			}
			return err
		}},
		{"signal chat/alpha", func() error {
			out, err := r.detectors().SetOperatorSignal(ctx, &jv1.SetOperatorSignalRequest{
				Service: "chat", Provider: "alpha", State: jv1.SignalState_SIGNAL_STATE_FAILING, Reason: "y",
			})
			if err == nil && out.GetRevision() != 7 {
				t.Errorf("revision %v", out)
			}
			return err
		}},
	} {
		if err := test.call(); err != nil {
			t.Errorf("%s: %v", test.want, err)
		}
		if got := r.parts.last(); got != test.want {
			t.Errorf("asked %q, want %q", got, test.want)
		}
	}
	// A reason is mandatory wherever a human acts.
	_, err := r.runs().CancelRun(ctx, &jv1.CancelRunRequest{Name: "r"})
	wants(t, err, codes.InvalidArgument, "INVALID")
}

func TestRunsAreRead(t *testing.T) {
	r := start(t, options{})
	ctx := t.Context()
	r.put(
		store.Put(store.RunKey("r-1"), &jv1.Run{Name: "r-1", Service: "chat", Runbook: "a", EndTime: timestamppb.Now()}),
		store.Put(store.RunKey("r-2"), &jv1.Run{Name: "r-2", Service: "chat", Runbook: "b"}),
		store.Put(store.RunKey("r-3"), &jv1.Run{Name: "r-3", Service: "video", Runbook: "a"}),
		store.Put(store.RunEventsKey("r-1", 1), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Sequence: 1}, {Sequence: 2}}}),
		store.Put(store.RunEventsKey("r-1", 3), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Sequence: 3}}}),
		store.Put(store.RunEventsKey("r-2", 1), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Sequence: 1}}}),
	)
	names := func(req *jv1.ListRunsRequest) string {
		t.Helper()
		out, err := r.runs().ListRuns(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, run := range out.GetRuns() {
			all = append(all, run.GetName())
		}
		return strings.Join(all, " ") + " " + strings.Repeat("+", min(1, len(out.GetNextPageToken())))
	}
	for _, test := range []struct {
		req  *jv1.ListRunsRequest
		want string
	}{
		{&jv1.ListRunsRequest{}, "r-3 r-2 r-1 "},
		{&jv1.ListRunsRequest{Service: "chat"}, "r-2 r-1 "},
		{&jv1.ListRunsRequest{Runbook: "a"}, "r-3 r-1 "},
		{&jv1.ListRunsRequest{Live: true}, "r-3 r-2 "},
		{&jv1.ListRunsRequest{PageSize: 2}, "r-3 r-2 +"},
		{&jv1.ListRunsRequest{Service: "none"}, " "},
	} {
		if got := names(test.req); got != test.want {
			t.Errorf("%v: %q, want %q", test.req, got, test.want)
		}
	}
	events := func(req *jv1.ListRunEventsRequest) (sequences []int64, more bool) {
		t.Helper()
		out, err := r.runs().ListRunEvents(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.GetEvents() {
			sequences = append(sequences, e.GetSequence())
		}
		return sequences, out.GetMore()
	}
	if got, more := events(&jv1.ListRunEventsRequest{Run: "r-1"}); len(got) != 3 || more {
		t.Errorf("events %v %v", got, more)
	}
	if got, more := events(&jv1.ListRunEventsRequest{Run: "r-1", PageSize: 1}); len(got) != 1 || got[0] != 1 || !more {
		t.Errorf("first page %v %v", got, more)
	}
	if got, more := events(&jv1.ListRunEventsRequest{Run: "r-1", After: 1, PageSize: 2}); len(got) != 2 || got[0] != 2 || more {
		t.Errorf("second page %v %v", got, more)
	}
	_, err := r.runs().ListRunEvents(ctx, &jv1.ListRunEventsRequest{Run: "none"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	_, err = r.runs().GetRun(ctx, &jv1.GetRunRequest{Name: "r-1/../r-2"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

func TestAdmin(t *testing.T) {
	r := start(t, options{})
	ctx := t.Context()
	r.world()
	info, err := r.admin().GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil || info.GetVersion() != "test" || info.GetReplica() != "a" || info.GetRevision() == 0 || info.GetRestoreEpoch() == "" ||
		!info.GetFreshness().GetLive() || info.GetPrincipal() != "local" {
		t.Errorf("%v, %v", info, err)
	}
	got, err := r.admin().GetAutomation(ctx, &jv1.GetAutomationRequest{})
	if err != nil || len(got.GetAutomation()) != 1 || !got.GetAutomation()[0].GetOn() {
		t.Errorf("before it was set: %v, %v", got, err)
	}
	if _, err := r.admin().SetAutomation(ctx, &jv1.SetAutomationRequest{Service: "chat", Reason: "storm"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin().SetAutomation(ctx, &jv1.SetAutomationRequest{Reason: "storm"}); err != nil {
		t.Fatal(err)
	}
	got, err = r.admin().GetAutomation(ctx, &jv1.GetAutomationRequest{})
	if err != nil || len(got.GetAutomation()) != 2 || got.GetAutomation()[0].GetOn() || got.GetAutomation()[0].GetActor() != "local" || got.GetAutomation()[0].GetRevision() == 0 {
		t.Errorf("after it was set: %v, %v", got, err)
	}
	_, err = r.admin().SetAutomation(ctx, &jv1.SetAutomationRequest{Service: "none", Reason: "x"})
	wants(t, err, codes.NotFound, "NOT_FOUND")

	var seen []string
	for token := ""; ; {
		page, err := r.admin().ListAuditEvents(ctx, &jv1.ListAuditEventsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.GetEvents() {
			seen = append(seen, e.GetAction())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.Sort(seen) // within a millisecond their order is one of chance
	if got := strings.Join(seen, " "); got != "AdminService.SetAutomation AdminService.SetAutomation CatalogService.Apply" {
		t.Errorf("audit: %s", got)
	}

	r.put(store.Put(store.OutboxKey("n-1"), &jv1.Notification{Name: "n-1", Run: "r-1"}), store.Put(store.OutboxKey("n-2"), &jv1.Notification{Name: "n-2", Run: "r-2"}))
	told, err := r.admin().ListNotifications(ctx, &jv1.ListNotificationsRequest{Run: "r-1"})
	if err != nil || len(told.GetNotifications()) != 1 || told.GetNotifications()[0].GetName() != "n-1" {
		t.Errorf("%v, %v", told, err)
	}
}

func TestContinuityCommands(t *testing.T) {
	r := start(t, options{})
	ctx := t.Context()
	r.world()
	_, err := r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x"})
	wants(t, err, codes.FailedPrecondition, "GUARD_REFUSED")
	_, err = r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", BreakGlass: true})
	wants(t, err, codes.InvalidArgument, "INVALID")
	state, err := r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true, RequestId: "q"})
	if err != nil || state.GetActiveProvider() != "beta" || !state.GetBreakGlass() || state.GetRestoreEpoch() == "" {
		t.Errorf("%v, %v", state, err)
	}
	_, err = r.continuity().SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "alpha", Reason: "x", BreakGlass: true, RequestId: "q"})
	wants(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
	_, err = r.continuity().SetQueueing(ctx, &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x", ExpectedEpoch: 1})
	wants(t, err, codes.Aborted, "CHANGED")
	if state, err = r.continuity().SetQueueing(ctx, &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil || state.GetPhase() != jv1.Phase_PHASE_QUEUEING {
		t.Errorf("%v, %v", state, err)
	}
	r.put(store.Put(store.CooldownKey("chat", "alpha", "failover"), &recordv1.Cooldown{Runbook: "failover", Service: "chat"}))
	if out, err := r.continuity().Acknowledge(ctx, &jv1.AcknowledgeRequest{Service: "chat", Reason: "x"}); err != nil || len(out.GetCleared()) != 1 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = r.continuity().Undo(ctx, &jv1.UndoRequest{Service: "chat", Reason: "x"})
	wants(t, err, codes.FailedPrecondition, "GUARD_REFUSED")
	for _, service := range []string{"none", "a/b"} {
		_, err = r.continuity().GetContinuity(ctx, &jv1.GetContinuityRequest{Service: service})
		wants(t, err, codes.NotFound, "NOT_FOUND")
		_, err = r.continuity().SetQueueing(ctx, &jv1.SetQueueingRequest{Service: service, On: true, Reason: "x"})
		wants(t, err, codes.NotFound, "NOT_FOUND")
	}
	r.put(store.Put(store.TriggerKey("g-1"), &jv1.Trigger{Name: "g-1", Service: "chat", State: jv1.TriggerState_TRIGGER_STATE_PENDING}),
		store.Put(store.TriggerKey("g-2"), &jv1.Trigger{Name: "g-2", Service: "chat", State: jv1.TriggerState_TRIGGER_STATE_SETTLED}))
	if out, err := r.detectors().ListTriggers(ctx, &jv1.ListTriggersRequest{Pending: true, Service: "chat"}); err != nil || len(out.GetTriggers()) != 1 {
		t.Errorf("%v, %v", out, err)
	}
	if out, err := r.detectors().ListTriggers(ctx, &jv1.ListTriggersRequest{Blocked: true}); err != nil || len(out.GetTriggers()) != 0 {
		t.Errorf("triggers that are held back: %v, %v", out, err)
	}
	held := &jv1.Trigger{Name: "g-3", Service: "chat", State: jv1.TriggerState_TRIGGER_STATE_PENDING, Outcomes: []*jv1.TriggerOutcome{
		{Runbook: "outage", State: jv1.OutcomeState_OUTCOME_STATE_BLOCKED, Guard: "cooldown"},
	}}
	r.put(store.Put(store.TriggerKey("g-3"), held))
	if out, err := r.detectors().ListTriggers(ctx, &jv1.ListTriggersRequest{Blocked: true}); err != nil || len(out.GetTriggers()) != 1 || out.GetTriggers()[0].GetName() != "g-3" {
		t.Errorf("triggers that are held back: %v, %v", out, err)
	}
	r.put(store.Delete(store.TriggerKey("g-3")))
	if out, err := r.detectors().ListTriggers(ctx, &jv1.ListTriggersRequest{}); err != nil || len(out.GetTriggers()) != 2 || out.GetTriggers()[0].GetName() != "g-2" {
		t.Errorf("%v, %v", out, err)
	}
	for _, call := range []func() (string, error){
		func() (string, error) {
			s, err := r.catalog().GetService(ctx, &jv1.GetServiceRequest{Name: "chat"})
			return s.GetName(), err
		},
		func() (string, error) {
			s, err := r.catalog().GetDetector(ctx, &jv1.GetDetectorRequest{Name: "probe"})
			return s.GetName(), err
		},
		func() (string, error) {
			s, err := r.catalog().GetChannel(ctx, &jv1.GetChannelRequest{Name: "log"})
			return s.GetName(), err
		},
		func() (string, error) {
			s, err := r.catalog().ListServices(ctx, &jv1.ListServicesRequest{})
			return s.GetServices()[0].GetName(), err
		},
		func() (string, error) {
			s, err := r.catalog().ListDetectors(ctx, &jv1.ListDetectorsRequest{})
			return s.GetDetectors()[0].GetName(), err
		},
		func() (string, error) {
			s, err := r.catalog().ListChannels(ctx, &jv1.ListChannelsRequest{})
			return s.GetChannels()[0].GetName(), err
		},
	} {
		if name, err := call(); err != nil || name == "" {
			t.Errorf("%q, %v", name, err)
		}
	}
}
