package continuity_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/store"
)

// fixture is a service chat with providers a (active), b and c, all healthy and proven.
type fixture struct {
	t     *testing.T
	store *store.Store
	desk  *continuity.Desk
	ctx   context.Context
}

func inBubble(t *testing.T, f func(t *testing.T, x *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		backend := store.NewMemory(store.MemoryOptions{})
		st := store.New(store.Options{Backend: backend})
		if err := st.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		defer st.Close()
		ctx := audit.With(t.Context(), audit.Caller{Principal: "ana", Role: "operator", Action: "test"})
		x := &fixture{t: t, store: st, desk: continuity.NewDesk(st, time.Now), ctx: ctx}
		svc := &jv1.Service{Name: "chat", Needs: []string{"tools"}}
		for _, p := range []string{"a", "b", "c"} {
			svc.Providers = append(svc.Providers, &jv1.ServiceProvider{Name: p})
			x.put(store.Put(store.ProviderKey(p), &jv1.Provider{Name: p}))
			x.judge(p, jv1.HealthState_HEALTH_STATE_HEALTHY)
			x.vote(p, jv1.SignalState_SIGNAL_STATE_OK, jv1.EvidenceClass_EVIDENCE_CLASS_PROBE, time.Hour)
		}
		x.put(store.Put(store.ServiceKey("chat"), svc),
			store.Put(store.ContinuityKey("chat"), continuity.Initial(svc, continuity.Author{Actor: "test"}, time.Now())))
		f(t, x)
	})
}

func (x *fixture) put(ops ...store.Op) {
	x.t.Helper()
	res, err := x.store.Commit(x.ctx, store.Txn{Then: ops})
	if err != nil {
		x.t.Fatal(err)
	}
	if err := x.store.WaitRevision(x.ctx, res.Revision); err != nil {
		x.t.Fatal(err)
	}
}

// fit stores the service with a change.
func (x *fixture) fit(edit func(*jv1.Service)) {
	x.t.Helper()
	svc := proto.CloneOf(x.service())
	edit(svc)
	x.put(store.Put(store.ServiceKey("chat"), svc))
}

func (x *fixture) judge(provider string, state jv1.HealthState) {
	x.t.Helper()
	x.put(store.Put(store.HealthKey("chat", provider), &jv1.Health{Service: "chat", Provider: provider, State: state}))
}

func (x *fixture) vote(provider string, state jv1.SignalState, class jv1.EvidenceClass, valid time.Duration) {
	x.t.Helper()
	x.put(store.Put(store.VotesKey("chat", "r-"+provider), &recordv1.Votes{Signals: []*jv1.Signal{{
		Provider: provider, State: state, Class: class, ObservedAt: timestamppb.Now(), ValidUntil: timestamppb.New(time.Now().Add(valid)),
	}}}))
}

func (x *fixture) guard(err error) continuity.Guard {
	var r *continuity.Refusal
	if errors.As(err, &r) {
		return r.Guard
	}
	return ""
}

func TestGuardsOfASwitch(t *testing.T) {
	ok, feed := jv1.SignalState_SIGNAL_STATE_OK, jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	probe := jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	for name, tc := range map[string]struct {
		to    string
		given func(x *fixture)
		want  continuity.Guard
		human continuity.Guard // with break-glass
	}{
		"healthy and proven": {to: "b"},
		"already active":     {to: "a"},
		"not of the service": {to: "z", want: continuity.UnknownProvider, human: continuity.UnknownProvider},
		"failing, the active one failing too": {to: "b", want: continuity.TargetUnhealthy, given: func(x *fixture) {
			x.judge("a", jv1.HealthState_HEALTH_STATE_FAILING)
			x.judge("b", jv1.HealthState_HEALTH_STATE_FAILING)
		}},
		"failing, the active one healthy": {to: "b", want: continuity.LastHealthy, given: func(x *fixture) {
			x.judge("b", jv1.HealthState_HEALTH_STATE_FAILING)
		}},
		"recovering is not healthy": {to: "b", want: continuity.LastHealthy, given: func(x *fixture) {
			x.judge("b", jv1.HealthState_HEALTH_STATE_RECOVERING)
		}},
		"unknown is not healthy": {to: "b", want: continuity.LastHealthy, given: func(x *fixture) {
			x.put(store.Delete(store.HealthKey("chat", "b")))
		}},
		"evidence expired": {to: "b", want: continuity.TargetUnproven, given: func(x *fixture) { x.vote("b", ok, probe, 0) }},
		"only the provider's own word": {to: "b", want: continuity.TargetUnproven, given: func(x *fixture) {
			x.vote("b", ok, feed, time.Hour)
		}},
		"a report proves as well": {to: "b", given: func(x *fixture) {
			x.vote("b", ok, probe, 0)
			x.put(store.Put(store.ReportKey("chat", "b", "alerts", "x"), &recordv1.Report{Signal: &jv1.Signal{
				Provider: "b", State: ok, Class: jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL, ObservedAt: timestamppb.Now(),
				ValidUntil: timestamppb.New(time.Now().Add(time.Hour)),
			}}))
		}},
		"lacks a capability": {to: "b", want: continuity.TargetIncapable, given: func(x *fixture) {
			x.put(store.Put(store.ProviderKey("b"), &jv1.Provider{Name: "b", Capabilities: []string{"streaming"}}))
		}},
		"too small": {to: "b", want: continuity.TargetTooSmall, given: func(x *fixture) {
			x.fit(func(s *jv1.Service) {
				s.Demand, s.Providers[1].Limits = &jv1.Limits{Tpm: 300_000, Rpm: 100}, &jv1.Limits{Tpm: 30_000}
			})
		}},
		"large enough as far as is known": {to: "b", given: func(x *fixture) {
			x.fit(func(s *jv1.Service) {
				s.Demand, s.Providers[1].Limits = &jv1.Limits{Tpm: 300_000, Rpm: 100}, &jv1.Limits{Tpm: 300_000}
			})
		}},
		"embeds with other models": {to: "b", want: continuity.TargetOtherModels, given: func(x *fixture) {
			x.fit(func(s *jv1.Service) {
				s.Needs, s.Providers[1].Models = []string{"embeddings"}, map[string]string{"embed-3": "e5-large"}
			})
		}},
		"embeds with the same models under other names": {to: "b", given: func(x *fixture) {
			x.fit(func(s *jv1.Service) {
				s.SameModels, s.Providers[1].SameModels = true, true
				s.Providers[1].Models = map[string]string{"embed-3": "prod-embed-3"}
			})
		}},
		"offers the capability": {to: "b", given: func(x *fixture) {
			x.put(store.Put(store.ProviderKey("b"), &jv1.Provider{Name: "b", Capabilities: []string{"streaming", "tools"}}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, x *fixture) {
				if tc.given != nil {
					tc.given(x)
				}
				req := &jv1.SwitchProviderRequest{Service: "chat", Provider: tc.to, Reason: "test"}
				st, err := x.desk.Switch(x.ctx, req)
				if got := x.guard(err); got != tc.want || (err == nil) != (tc.want == "") {
					t.Fatalf("refused by %q (%v), want %q", got, err, tc.want)
				}
				if err == nil && st.GetActiveProvider() != tc.to {
					t.Errorf("state %v", st)
				}
				req.BreakGlass = true
				st, err = x.desk.Switch(x.ctx, req)
				if got := x.guard(err); got != tc.human {
					t.Fatalf("break-glass refused by %q (%v), want %q", got, err, tc.human)
				}
				if tc.human == "" && (st.GetActiveProvider() != tc.to || st.GetBreakGlass() != (tc.want != "")) {
					t.Errorf("state after break-glass %v", st)
				}
			})
		})
	}
}

func TestSwitchKeepsEpochsGrowingAndIsAudited(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		last := int64(1)
		for _, to := range []string{"b", "b", "c", "a"} {
			st, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: to, Reason: "because", ExpectedEpoch: last})
			if err != nil {
				t.Fatal(err)
			}
			if st.GetEpoch() < last || st.GetEpoch() > last+1 {
				t.Errorf("epoch %d after %d", st.GetEpoch(), last)
			}
			last = st.GetEpoch()
		}
		if last != 4 {
			t.Errorf("three changes made epoch %d", last)
		}
		audits, _, err := store.Scan[*jv1.AuditEvent](x.ctx, x.store, store.Audit, "", 0)
		if err != nil || len(audits) != 3 {
			t.Fatalf("%d audit events, %v", len(audits), err)
		}
		for _, a := range audits {
			if a.Msg.GetActor() != "ana" || a.Msg.GetReason() != "because" || a.Msg.GetTarget() != "services/chat" {
				t.Errorf("audit %v", a.Msg)
			}
		}
	})
}

func TestSwitchPreconditions(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "r", ExpectedEpoch: 7}); !errors.Is(err, continuity.ErrEpoch) {
			t.Errorf("wrong epoch: %v", err)
		}
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "nope", Provider: "b", Reason: "r"}); !errors.Is(err, continuity.ErrNotFound) {
			t.Errorf("no such service: %v", err)
		}
		st, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "r", ValidateOnly: true})
		if err != nil || st.GetActiveProvider() != "a" {
			t.Errorf("validate only: %v, %v", st, err)
		}
	})
}

func TestARepeatedRequestIsAnsweredNotRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		req := &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "r", RequestId: "1"}
		if _, err := x.desk.Switch(x.ctx, req); err != nil {
			t.Fatal(err)
		}
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "c", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		st, err := x.desk.Switch(x.ctx, req)
		if err != nil || st.GetActiveProvider() != "c" || st.GetEpoch() != 3 {
			t.Errorf("the repeated request switched again: %v, %v", st, err)
		}
		other := &jv1.SwitchProviderRequest{Service: "chat", Provider: "a", Reason: "r", RequestId: "1"}
		if _, err := x.desk.Switch(x.ctx, other); !errors.Is(err, request.ErrMismatch) {
			t.Errorf("another body with the same id: %v", err)
		}
		time.Sleep(request.Retention + time.Second)
		if st, err = x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{
			Service: "chat", Provider: "a", Reason: "r", RequestId: "1", BreakGlass: true,
		}); err != nil || st.GetActiveProvider() != "a" {
			t.Errorf("a forgotten id can't be used again: %v, %v", st, err)
		}
	})
}

// A request that changed nothing when it was made changes nothing when it is repeated after another change.
func TestARepeatedRequestThatChangedNothingIsNotCarriedOutLater(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		req := &jv1.SwitchProviderRequest{Service: "chat", Provider: "a", Reason: "stay", RequestId: "1"}
		if st, err := x.desk.Switch(x.ctx, req); err != nil || st.GetEpoch() != 1 {
			t.Fatalf("%v, %v", st, err)
		}
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		if st, err := x.desk.Switch(x.ctx, req); err != nil || st.GetActiveProvider() != "b" {
			t.Errorf("the repeated request switched: %v, %v", st, err)
		}
	})
}

func TestUndoGoesBackThroughTheGuards(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		undo := &jv1.UndoRequest{Service: "chat", Reason: "r"}
		if _, err := x.desk.Undo(x.ctx, undo); x.guard(err) != continuity.NothingToUndo {
			t.Errorf("nothing was switched yet: %v", err)
		}
		if _, err := x.desk.Switch(x.ctx, &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		x.judge("a", jv1.HealthState_HEALTH_STATE_FAILING)
		if _, err := x.desk.Undo(x.ctx, undo); x.guard(err) != continuity.LastHealthy {
			t.Errorf("undo to a failing provider: %v", err)
		}
		x.judge("a", jv1.HealthState_HEALTH_STATE_HEALTHY)
		if st, err := x.desk.Undo(x.ctx, undo); err != nil || st.GetActiveProvider() != "a" {
			t.Errorf("undo: %v, %v", st, err)
		}
	})
}

func TestAutomationIsOffGloballyAndByService(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		check := func() (r *continuity.Refusal) {
			x.store.Read(func(v store.View) { r = continuity.Open(v, "chat", time.Now()).CheckAutomation() })
			return r
		}
		set := func(service string, on bool) {
			a, err := x.desk.SetAutomation(x.ctx, &jv1.SetAutomationRequest{Service: service, On: on, Reason: "works"})
			if err != nil || a.GetActor() != "ana" {
				t.Fatal(a, err)
			}
		}
		if r := check(); r != nil {
			t.Errorf("never switched off: %v", r)
		}
		set("", false)
		if r := check(); r == nil || !strings.Contains(r.Detail, "ana switched automation off everywhere") {
			t.Errorf("off everywhere: %v", r)
		}
		set("", true)
		set("chat", false)
		if r := check(); r == nil || r.Guard != continuity.AutomationOff {
			t.Errorf("off for chat: %v", r)
		}
		if _, err := x.desk.SetAutomation(x.ctx, &jv1.SetAutomationRequest{Service: "nope", Reason: "r"}); !errors.Is(err, continuity.ErrNotFound) {
			t.Errorf("unknown service: %v", err)
		}
	})
}

func TestPhaseIsDerivedFromTheFacts(t *testing.T) {
	svc := &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "a"}, {Name: "b"}}}
	on := func(p string) *jv1.ContinuityState { return &jv1.ContinuityState{ActiveProvider: p} }
	healthy, failing := jv1.HealthState_HEALTH_STATE_HEALTHY, jv1.HealthState_HEALTH_STATE_FAILING
	queueing := on("a")
	queueing.Queueing = true
	canary := on("b")
	canary.Weights = map[string]int32{"a": 5}
	drained := on("a")
	drained.Queueing, drained.Drain = true, &jv1.Drain{StartRate: "1/s"}
	for name, tc := range map[string]struct {
		state  *jv1.ContinuityState
		health jv1.HealthState
		want   jv1.Phase
	}{
		"preferred and well":         {on("a"), healthy, jv1.Phase_PHASE_NORMAL},
		"preferred, nothing known":   {on("a"), 0, jv1.Phase_PHASE_NORMAL},
		"preferred fails":            {on("a"), failing, jv1.Phase_PHASE_DEGRADED},
		"another serves":             {on("b"), healthy, jv1.Phase_PHASE_FAILED_OVER},
		"another serves and fails":   {on("b"), failing, jv1.Phase_PHASE_FAILED_OVER},
		"queueing outweighs":         {queueing, healthy, jv1.Phase_PHASE_QUEUEING},
		"a canary of the preferred":  {canary, healthy, jv1.Phase_PHASE_FAILING_BACK},
		"what is queued is sent":     {drained, healthy, jv1.Phase_PHASE_FAILING_BACK},
		"nothing is known of it yet": {nil, healthy, jv1.Phase_PHASE_UNSPECIFIED},
	} {
		if got := continuity.PhaseOf(svc, tc.state, &jv1.Health{State: tc.health}); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestInForceReportsCountWhileTheyAreRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		if _, err := x.desk.ReportInForce(x.ctx, &jv1.ReportInForceRequest{Subscriber: "gw-1", Epochs: map[string]int64{"chat": 1}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		present := func() (st *jv1.ContinuityState) {
			x.store.Read(func(v store.View) { st = continuity.Present(v, "chat", time.Now()) })
			return st
		}
		if st := present(); len(st.GetInForce()) != 1 || st.GetInForce()[0].GetSubscriber() != "gw-1" || len(st.GetProviders()) != 3 {
			t.Errorf("state %v", st)
		}
		time.Sleep(2 * time.Minute)
		if st := present(); len(st.GetInForce()) != 0 {
			t.Errorf("an old report counts: %v", st)
		}
	})
}

// Everything a decision read is compared: a fact that changes between decision and commit stops it.
func TestWorkspaceComparesWhatItRead(t *testing.T) {
	inBubble(t, func(t *testing.T, x *fixture) {
		for name, change := range map[string]func(){
			"health": func() { x.judge("b", jv1.HealthState_HEALTH_STATE_HEALTHY) },
			"vote": func() {
				x.vote("b", jv1.SignalState_SIGNAL_STATE_OK, jv1.EvidenceClass_EVIDENCE_CLASS_PROBE, time.Hour)
			},
			"service": func() { x.put(store.Put(store.ServiceKey("chat"), x.service())) },
		} {
			var txn store.Txn
			x.store.Read(func(v store.View) {
				w := continuity.Open(v, "chat", time.Now())
				if r := w.Switch("b", false, continuity.Author{Actor: "test"}); r != nil {
					t.Fatal(r)
				}
				txn.If, txn.Then = w.Txn()
			})
			change()
			res, err := x.store.Commit(x.ctx, txn)
			if err != nil || res.Committed {
				t.Errorf("%s changed under the decision, and it was committed: %v %v", name, res, err)
			}
		}
	})
}

func (x *fixture) service() (s *jv1.Service) {
	x.store.Read(func(v store.View) { s = store.Get[*jv1.Service](v, store.ServiceKey("chat")).Msg })
	return s
}
