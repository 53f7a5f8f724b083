package api_test

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestApplyStoresABatchInOneTransaction(t *testing.T) {
	r := start(t, options{})
	var before int64
	r.store.Read(func(v store.View) { before = v.Revision() })
	out := r.world()
	if got, want := actions(out.GetResults()), "runbook/failover created, channel/log created, detector/probe created, "+
		"service/chat created, provider/alpha created, provider/beta created"; got != want {
		t.Errorf("results %s, want %s", got, want)
	}
	if out.GetRevision() != before+1 {
		t.Errorf("revision %d after %d: not one transaction", out.GetRevision(), before)
	}
	if len(out.GetWarnings()) > 0 {
		t.Errorf("warnings %v", out.GetWarnings())
	}
	state, err := r.continuity().GetContinuity(t.Context(), &jv1.GetContinuityRequest{Service: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	if s := state.GetState(); s.GetActiveProvider() != "alpha" || s.GetEpoch() != 1 || s.GetRevision() != out.GetRevision() ||
		s.GetPhase() != jv1.Phase_PHASE_NORMAL || strings.Join(s.GetProviders(), " ") != "alpha beta" || s.GetRestoreEpoch() == "" {
		t.Errorf("state %v", s)
	}
	if !state.GetFreshness().GetLive() || state.GetFreshness().GetAsOf() == nil {
		t.Errorf("freshness %v", state.GetFreshness())
	}
	rb, err := r.runbooks().GetRunbook(t.Context(), &jv1.GetRunbookRequest{Name: "failover"})
	if err != nil {
		t.Fatal(err)
	}
	if rb.GetVersion() != 1 || rb.GetRevision() != out.GetRevision() || len(rb.GetContentHash()) != 64 || rb.GetUpdateTime() == nil {
		t.Errorf("runbook %v", rb)
	}
	events, err := r.admin().ListAuditEvents(t.Context(), &jv1.ListAuditEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(events.GetEvents()) != 1 {
		t.Fatalf("audit %v", events.GetEvents())
	}
	if e := events.GetEvents()[0]; e.GetAction() != "CatalogService.Apply" || e.GetActor() != "local" || e.GetRole() != "admin" ||
		!strings.Contains(e.GetDetails()["created"], "service/chat") {
		t.Errorf("audit %v", e)
	}
}

func TestApplyAgainChangesNothing(t *testing.T) {
	r := start(t, options{})
	first := r.world()
	again := r.world()
	if got := actions(again.GetResults()); strings.Count(got, "unchanged") != 6 || again.GetRevision() != 0 {
		t.Errorf("second apply: %s at %d", got, again.GetRevision())
	}
	changed, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		service("chat", "beta", "alpha"), provider("alpha"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := actions(changed.GetResults()); got != "service/chat updated, provider/alpha unchanged" || changed.GetRevision() <= first.GetRevision() {
		t.Errorf("third apply: %s at %d", got, changed.GetRevision())
	}
	state, err := r.continuity().GetContinuity(t.Context(), &jv1.GetContinuityRequest{Service: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	if s := state.GetState(); s.GetActiveProvider() != "alpha" || s.GetEpoch() != 1 || s.GetPhase() != jv1.Phase_PHASE_FAILED_OVER {
		t.Errorf("an update of the service moved its route: %v", s)
	}
}

func TestApplyRefusesAndStoresNothing(t *testing.T) {
	r := start(t, options{})
	r.world()
	bad := func(m *jv1.Resource, change func(*jv1.Resource)) *jv1.Resource {
		out := proto.CloneOf(m)
		change(out)
		return out
	}
	for _, test := range []struct {
		name      string
		resources []*jv1.Resource
		field     string
		text      string
	}{
		{"nothing", nil, "resources", "must be given"},
		{"empty resource", []*jv1.Resource{{}}, "resources[0]", "exactly one kind"},
		{"bad name", []*jv1.Resource{provider("a"), provider("Not A Name")}, "resources[1].provider.name", "lower-case"},
		{"no address", []*jv1.Resource{bad(provider("a"), func(m *jv1.Resource) { m.GetProvider().BaseUrl = "" })}, "resources[0].provider.base_url", "must be given"},
		{"secret instead of a reference", []*jv1.Resource{bad(provider("a"), func(m *jv1.Resource) { m.GetProvider().Credential = "sk-123" })}, "resources[0].provider.credential", "never the secret itself"},
		{"unknown provider", []*jv1.Resource{provider("gamma"), service("video", "gamma", "delta")}, "resources[1].service.providers[1].name", `unknown provider "delta"`},
		{"twice", []*jv1.Resource{provider("a"), service("s", "a"), provider("a")}, "resources[2].provider.name", "resources[0]"},
		{"unknown service", []*jv1.Resource{detector("d", "video")}, "resources[0].detector.service", `unknown service "video"`},
		{"unknown channel", []*jv1.Resource{runbook("r", "chat", "beta", "pager")}, "resources[0].runbook.steps[1].notify.channels[0]", `unknown channel "pager"`},
		{"unknown target", []*jv1.Resource{runbook("r", "chat", "delta", "log")}, "resources[0].runbook.steps[0].switch_provider.to[0]", `delta is not a provider of chat`},
		{"too many", manyProviders(41), "resources", "40"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before int64
			r.store.Read(func(v store.View) { before = v.Revision() })
			_, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: test.resources})
			wants(t, err, codes.InvalidArgument, "INVALID")
			found := false
			for _, v := range detail[*errdetails.BadRequest](err).GetFieldViolations() {
				found = found || v.GetField() == test.field && strings.Contains(v.GetDescription(), test.text)
			}
			if !found {
				t.Errorf("violations %v, want one of %s with %q", detail[*errdetails.BadRequest](err), test.field, test.text)
			}
			r.store.Read(func(v store.View) {
				if v.Revision() != before {
					t.Error("something was stored")
				}
			})
		})
	}
}

func manyProviders(n int) []*jv1.Resource {
	var out []*jv1.Resource
	for i := range n {
		out = append(out, provider("p"+strings.Repeat("x", i)))
	}
	return out
}

func TestApplyTheLargestBatch(t *testing.T) {
	r := start(t, options{})
	r.world()
	var batch []*jv1.Resource
	for i := range 40 {
		batch = append(batch, runbook("rb"+strings.Repeat("x", i), "chat", "beta", "log"))
	}
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: batch, RequestId: "x"}); err != nil {
		t.Error(err)
	}
}

func TestApplyChecksRevisions(t *testing.T) {
	r := start(t, options{})
	r.world()
	p, err := r.catalog().GetProvider(t.Context(), &jv1.GetProviderRequest{Name: "alpha"})
	if err != nil {
		t.Fatal(err)
	}
	p.Vendor = "one"
	apply := func(check bool) error {
		_, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{
			Resources: []*jv1.Resource{{Kind: &jv1.Resource_Provider{Provider: p}}}, CheckRevision: check,
		})
		return err
	}
	if err := apply(true); err != nil {
		t.Fatal(err)
	}
	p.Vendor = "two"
	wants(t, apply(true), codes.Aborted, "CHANGED")
	if err := apply(false); err != nil {
		t.Error(err)
	}
}

func TestApplyOnlyValidates(t *testing.T) {
	r := start(t, options{})
	out, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha")}, ValidateOnly: true, RequestId: "v"})
	if err != nil || actions(out.GetResults()) != "provider/alpha created" || out.GetRevision() != 0 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = r.catalog().GetProvider(t.Context(), &jv1.GetProviderRequest{Name: "alpha"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

func TestApplyIsIdempotentByRequestID(t *testing.T) {
	r := start(t, options{})
	request := &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha"), service("chat", "alpha"), detector("probe", "chat")}, RequestId: "once"}
	first, err := r.catalog().Apply(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.catalog().Apply(t.Context(), request)
	if err != nil || !proto.Equal(first, again) {
		t.Errorf("repeated: %v, %v, want %v", again, err, first)
	}
	_, err = r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("beta")}, RequestId: "once"})
	wants(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
	if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "detector", Name: "probe"}); err != nil {
		t.Fatal(err)
	}
	// What changed nothing changes nothing either when it is repeated after another change.
	same := &jv1.ApplyRequest{Resources: []*jv1.Resource{service("chat", "alpha")}, RequestId: "same"}
	for range 2 {
		out, err := r.catalog().Apply(t.Context(), same)
		if err != nil || out.GetRevision() != 0 || out.GetResults()[0].GetAction() != jv1.ApplyAction_APPLY_ACTION_UNCHANGED {
			t.Errorf("apply what is there: %v, %v", out, err)
		}
		changed := service("chat", "alpha")
		changed.GetService().Description = "changed"
		if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{changed}}); err != nil {
			t.Fatal(err)
		}
	}

	deletion := &jv1.DeleteRequest{Kind: "service", Name: "chat", RequestId: "gone"}
	gone, err := r.catalog().Delete(t.Context(), deletion)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.catalog().Delete(t.Context(), deletion); err != nil || again.GetRevision() != gone.GetRevision() {
		t.Errorf("repeated deletion: %v, %v", again, err)
	}
}

func TestAnActiveProviderStays(t *testing.T) {
	r := start(t, options{})
	r.world()
	_, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{service("chat", "beta")}})
	wants(t, err, codes.FailedPrecondition, "GUARD_REFUSED")
	if v := detail[*errdetails.PreconditionFailure](err).GetViolations(); len(v) != 1 || v[0].GetSubject() != "provider_active" {
		t.Errorf("violations %v", v)
	}
	if _, err := r.continuity().SwitchProvider(t.Context(), &jv1.SwitchProviderRequest{Service: "chat", Provider: "beta", Reason: "x", BreakGlass: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{service("chat", "beta")}}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsReferredToStays(t *testing.T) {
	r := start(t, options{})
	r.world()
	remove := func(kind, name string) error {
		_, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: kind, Name: name})
		return err
	}
	for _, test := range []struct{ kind, name, by string }{
		{"provider", "alpha", "service/chat"},
		{"provider", "beta", "runbook/failover service/chat"},
		{"service", "chat", "detector/probe runbook/failover"},
		{"channel", "log", "runbook/failover"},
	} {
		err := remove(test.kind, test.name)
		wants(t, err, codes.FailedPrecondition, "IN_USE")
		var by []string
		for _, v := range detail[*errdetails.PreconditionFailure](err).GetViolations() {
			by = append(by, v.GetSubject())
		}
		if got := strings.Join(by, " "); got != test.by {
			t.Errorf("%s %s is used by %q, want %q", test.kind, test.name, got, test.by)
		}
	}
	wants(t, remove("channel", "none"), codes.NotFound, "NOT_FOUND")
	wants(t, remove("channel", "../services/chat"), codes.NotFound, "NOT_FOUND")
	_, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "runbook", Name: "failover", ExpectedRevision: 1})
	wants(t, err, codes.Aborted, "CHANGED")
	for _, x := range []struct{ kind, name string }{
		{"runbook", "failover"}, {"channel", "log"}, {"detector", "probe"}, {"service", "chat"}, {"provider", "beta"}, {"provider", "alpha"},
	} {
		if err := remove(x.kind, x.name); err != nil {
			t.Errorf("remove %s %s: %v", x.kind, x.name, err)
		}
	}
}

// TestARemovedServiceLeavesNothing keeps an episode or a signal of a service that is gone from counting for a later one
// of the same name.
func TestARemovedServiceLeavesNothing(t *testing.T) {
	r := start(t, options{})
	r.world()
	var ops []store.Op
	for i := range 95 {
		ops = append(ops, store.Put(store.EpisodeKey("chat", "alpha", int64(i+1), "failover"), &recordv1.Episode{Run: "r"}))
	}
	r.put(ops...)
	r.put(
		store.Put(store.HealthKey("chat", "alpha"), &jv1.Health{Service: "chat", Provider: "alpha", Generation: 95}),
		store.Put(store.ReportKey("chat", "alpha", "probe", "x"), &recordv1.Report{}),
		store.Put(store.CooldownKey("chat", "alpha", "failover"), &recordv1.Cooldown{}),
		store.Put(store.AutomationKey("chat"), &jv1.Automation{Service: "chat"}),
		store.Put(store.HealthKey("chat2", "alpha"), &jv1.Health{Service: "chat2", Provider: "alpha"}),
	)
	for _, x := range []struct{ kind, name string }{{"runbook", "failover"}, {"detector", "probe"}, {"service", "chat"}} {
		if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: x.kind, Name: x.name}); err != nil {
			t.Fatal(err)
		}
	}
	r.store.Read(func(v store.View) {
		v.Each(store.Root, func(key string, _ proto.Message, _, _ int64) bool {
			if key != store.RetiredKey("chat") && (strings.Contains(key, "/chat/") || strings.HasSuffix(key, "/chat")) {
				t.Errorf("%s is left", key)
			}
			return true
		})
		if store.Get[*jv1.Health](v, store.HealthKey("chat2", "alpha")).Msg == nil {
			t.Error("a neighbour's record is gone")
		}
	})
	// What a crash between the two transactions leaves is removed when the name comes back.
	r.put(store.Put(store.EpisodeKey("chat", "alpha", 1, "failover"), &recordv1.Episode{Run: "r"}))
	r.world()
	r.store.Read(func(v store.View) {
		if store.Get[*recordv1.Episode](v, store.EpisodeKey("chat", "alpha", 1, "failover")).Msg != nil {
			t.Error("an old episode lives on under the new service")
		}
	})
}

func TestEpochsGoOnWhenAServiceComesBack(t *testing.T) {
	r := start(t, options{})
	last := int64(0)
	for range 3 {
		if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha"), service("chat", "alpha")}}); err != nil {
			t.Fatal(err)
		}
		r.store.Read(func(v store.View) {
			epoch := store.Get[*jv1.ContinuityState](v, store.ContinuityKey("chat")).Msg.GetEpoch()
			if epoch <= last {
				t.Errorf("epoch %d after %d", epoch, last)
			}
			last = epoch
			if store.Get[*jv1.ContinuityState](v, store.RetiredKey("chat")).Msg != nil {
				t.Error("the last state of the old service is still kept")
			}
		})
		if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "service", Name: "chat"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServiceUnderARunStays(t *testing.T) {
	r := start(t, options{})
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha"), service("chat", "alpha")}}); err != nil {
		t.Fatal(err)
	}
	r.put(store.Put(store.LiveRunKey("chat"), &recordv1.LiveRun{Run: "r"}))
	_, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "service", Name: "chat"})
	wants(t, err, codes.FailedPrecondition, "GUARD_REFUSED")
}

func TestPages(t *testing.T) {
	r := start(t, options{})
	if _, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		provider("a"), provider("b"), provider("c"), provider("d"), provider("e"),
	}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	token := ""
	for {
		page, err := r.catalog().ListProviders(t.Context(), &jv1.ListProvidersRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.GetProviders() {
			names = append(names, p.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if got := strings.Join(names, ""); got != "abcde" {
		t.Errorf("listed %s", got)
	}
	_, err := r.catalog().ListProviders(t.Context(), &jv1.ListProvidersRequest{PageToken: "made up"})
	wants(t, err, codes.InvalidArgument, "INVALID")
	_, err = r.catalog().ListProviders(t.Context(), &jv1.ListProvidersRequest{PageSize: 1001})
	wants(t, err, codes.InvalidArgument, "INVALID")
}

func TestRunbookRevisions(t *testing.T) {
	r := start(t, options{})
	r.world()
	ctx := t.Context()
	second := plan("failover", "chat", "any", "log")
	stored, err := r.runbooks().ApplyRunbook(ctx, &jv1.ApplyRunbookRequest{Runbook: second})
	if err != nil || stored.GetRunbook().GetVersion() != 2 {
		t.Fatalf("%v, %v", stored, err)
	}
	if again, err := r.runbooks().ApplyRunbook(ctx, &jv1.ApplyRunbookRequest{Runbook: second, ExpectedRevision: stored.GetRunbook().GetRevision()}); err != nil ||
		again.GetRunbook().GetVersion() != 2 {
		t.Errorf("the same again: %v, %v", again, err)
	}
	_, err = r.runbooks().ApplyRunbook(ctx, &jv1.ApplyRunbookRequest{Runbook: plan("failover", "chat", "beta", "log"), ExpectedRevision: 1})
	wants(t, err, codes.Aborted, "CHANGED")
	first, err := r.runbooks().GetRunbook(ctx, &jv1.GetRunbookRequest{Name: "failover", Version: 1})
	if err != nil || first.GetSteps()[0].GetSwitchProvider().GetTo()[0] != "beta" {
		t.Errorf("version 1: %v, %v", first, err)
	}
	_, err = r.runbooks().GetRunbook(ctx, &jv1.GetRunbookRequest{Name: "failover", Version: 3})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	if _, err := r.runbooks().DeleteRunbook(ctx, &jv1.DeleteRunbookRequest{Name: "failover"}); err != nil {
		t.Fatal(err)
	}
	revisions, err := r.runbooks().ListRunbookRevisions(ctx, &jv1.ListRunbookRevisionsRequest{Name: "failover"})
	if err != nil || len(revisions.GetRevisions()) != 2 || revisions.GetRevisions()[0].GetVersion() != 2 {
		t.Errorf("revisions of a removed runbook: %v, %v", revisions, err)
	}
	// Back under the same name it goes on counting: a run of version 1 must never find another plan there.
	third, err := r.runbooks().ApplyRunbook(ctx, &jv1.ApplyRunbookRequest{Runbook: plan("failover", "chat", "beta", "log")})
	if err != nil || third.GetRunbook().GetVersion() != 3 {
		t.Errorf("after removal: %v, %v", third, err)
	}
	listed, err := r.runbooks().ListRunbooks(ctx, &jv1.ListRunbooksRequest{})
	if err != nil || len(listed.GetRunbooks()) != 1 {
		t.Errorf("list: %v, %v", listed, err)
	}
	_, err = r.runbooks().ListRunbookRevisions(ctx, &jv1.ListRunbookRevisionsRequest{Name: "none"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

func TestValidateRunbook(t *testing.T) {
	r := start(t, options{})
	r.world()
	good, err := r.runbooks().ValidateRunbook(t.Context(), &jv1.ValidateRunbookRequest{Runbook: plan("new", "chat", "beta", "log")})
	if err != nil || len(good.GetProblems()) > 0 {
		t.Errorf("%v, %v", good, err)
	}
	bad, err := r.runbooks().ValidateRunbook(t.Context(), &jv1.ValidateRunbookRequest{Runbook: plan("new", "chat", "beta", "pager")})
	if err != nil || len(bad.GetProblems()) != 1 || bad.GetProblems()[0].GetField() != "steps[1].notify.channels[0]" {
		t.Errorf("%v, %v", bad, err)
	}
	_, err = r.runbooks().GetRunbook(t.Context(), &jv1.GetRunbookRequest{Name: "new"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
	only, err := r.runbooks().ApplyRunbook(t.Context(), &jv1.ApplyRunbookRequest{Runbook: plan("new", "chat", "beta", "log"), ValidateOnly: true})
	if err != nil || only.GetRunbook().GetVersion() != 0 {
		t.Errorf("%v, %v", only, err)
	}
	_, err = r.runbooks().PlanRunbook(t.Context(), &jv1.PlanRunbookRequest{})
	wants(t, err, codes.InvalidArgument, "INVALID")
	_, err = r.runbooks().PlanRunbook(t.Context(), &jv1.PlanRunbookRequest{Runbook: plan("new", "chat", "beta", "pager")})
	wants(t, err, codes.InvalidArgument, "INVALID")
	if v := detail[*errdetails.BadRequest](err).GetFieldViolations(); len(v) != 1 || v[0].GetField() != "runbook.steps[1].notify.channels[0]" {
		t.Errorf("violations %v", v)
	}
	if _, err := r.runbooks().PlanRunbook(t.Context(), &jv1.PlanRunbookRequest{Runbook: plan("new", "chat", "beta", "log")}); err != nil {
		t.Errorf("a plan of what is not stored: %v", err)
	}
	if _, err := r.runbooks().PlanRunbook(t.Context(), &jv1.PlanRunbookRequest{Name: "failover"}); err != nil || r.parts.last() != "plan failover" {
		t.Errorf("%v, %s", err, r.parts.last())
	}
}

func TestApplyWarnsOfARuleThatCannotBeMet(t *testing.T) {
	r := start(t, options{})
	s := service("chat", "alpha")
	s.GetService().Health.Failing.Agree = 2
	out, err := r.catalog().Apply(t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{provider("alpha"), s, detector("probe", "chat")}})
	if err != nil {
		t.Fatal(err)
	}
	if w := out.GetWarnings(); len(w) != 1 || !strings.Contains(w[0], "no machine can find alpha failing") {
		t.Errorf("warnings %q", w)
	}
}
