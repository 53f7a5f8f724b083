package detect

import (
	"errors"
	"fmt"
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
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// ago is a time before now, as senders write it.
func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }

func (r *replica) reports() []*recordv1.Report { return list[*recordv1.Report](r, store.Reports) }

// inWorld runs a test in virtual time with one replica, the catalog of chat and the detector `alerts`.
func inWorld(t *testing.T, run func(t *testing.T, r *replica, m *store.Memory, f *storetest.Faulty)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1")
		r.put(append(chat(nil), detector(reporter("alerts")))...)
		run(t, r, m, f)
	})
}

func TestReport(t *testing.T) {
	type call struct {
		signals            []*jv1.Signal
		accepted, absorbed int
		wait               time.Duration
	}
	one := func(s *jv1.Signal) []*jv1.Signal { return []*jv1.Signal{s} }
	for _, test := range []struct {
		name  string
		calls func() []call
		state jv1.SignalState // stored last
		count int             // of reports
	}{
		{"a known id is absorbed", func() []call {
			return []call{
				{one(&jv1.Signal{State: stateFailing, SignalId: "1"}), 1, 0, time.Second},
				{one(&jv1.Signal{State: stateFailing, SignalId: "1"}), 0, 1, time.Second},
			}
		}, stateFailing, 1},
		{"a late copy of an earlier one is absorbed", func() []call {
			return []call{
				{one(&jv1.Signal{State: stateFailing, SignalId: "1"}), 1, 0, time.Second},
				{one(&jv1.Signal{State: stateOK, SignalId: "2"}), 1, 0, time.Second},
				{one(&jv1.Signal{State: stateFailing, SignalId: "1"}), 0, 1, time.Second},
			}
		}, stateOK, 1},
		{"an older one is absorbed", func() []call {
			return []call{
				{one(&jv1.Signal{State: stateOK, ObservedAt: ago(time.Minute)}), 1, 0, 0},
				{one(&jv1.Signal{State: stateFailing, ObservedAt: ago(2 * time.Minute)}), 0, 1, 0},
				{one(&jv1.Signal{State: stateFailing, ObservedAt: ago(time.Second)}), 1, 0, 0},
			}
		}, stateFailing, 1},
		{"without id and time each counts", func() []call {
			return []call{
				{one(&jv1.Signal{State: stateFailing}), 1, 0, time.Second},
				{one(&jv1.Signal{State: stateFailing}), 1, 0, time.Second},
				{one(&jv1.Signal{State: stateOK}), 1, 0, time.Second},
			}
		}, stateOK, 1},
		{"one that counts no more is absorbed", func() []call {
			return []call{{one(&jv1.Signal{State: stateFailing, ObservedAt: ago(defaultReportValidity + time.Second)}), 0, 1, 0}}
		}, 0, 0},
		{"components are subjects of their own", func() []call {
			a, b := map[string]string{"component": "a"}, map[string]string{"component": "b"}
			return []call{
				{[]*jv1.Signal{{State: stateFailing, Labels: a}, {State: stateOK, Labels: b}}, 2, 0, 0},
			}
		}, 0, 2},
		{"several of one subject at once are taken in order", func() []call {
			return []call{{[]*jv1.Signal{
				{State: stateFailing, SignalId: "1", ObservedAt: ago(3 * time.Second)},
				{State: stateOK, SignalId: "2", ObservedAt: ago(2 * time.Second)},
				{State: stateOK, SignalId: "2", ObservedAt: ago(2 * time.Second)},
				{State: stateFailing, SignalId: "0", ObservedAt: ago(4 * time.Second)},
			}, 2, 2, 0}}
		}, stateOK, 1},
		{"more than one transaction holds", func() []call {
			var many []*jv1.Signal
			for i := range 3*chunk + 1 {
				many = append(many, &jv1.Signal{State: stateOK, Labels: map[string]string{"component": fmt.Sprint(i)}, Summary: strings.Repeat("x", 1000)})
			}
			return []call{{many, 3*chunk + 1, 0, 0}}
		}, 0, 3*chunk + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, _ *storetest.Faulty) {
				for i, c := range test.calls() {
					accepted, absorbed, err := r.Report(t.Context(), "alerts", c.signals)
					if err != nil || accepted != c.accepted || absorbed != c.absorbed {
						t.Errorf("call %d: %d accepted, %d absorbed, %v; want %d, %d", i, accepted, absorbed, err, c.accepted, c.absorbed)
					}
					time.Sleep(c.wait)
				}
				time.Sleep(time.Second)
				reports := r.reports()
				if len(reports) != test.count {
					t.Fatalf("%d reports, want %d", len(reports), test.count)
				}
				if test.state != 0 && reports[0].GetSignal().GetState() != test.state {
					t.Errorf("stored %v", reports[0])
				}
			})
		})
	}
}

// TestReportIsWhatTheServerSays: what a sender may not choose is set, what is too much is cut.
func TestReportIsWhatTheServerSays(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, _ *storetest.Faulty) {
		s := &jv1.Signal{
			Source: "somebody", State: stateFailing, Class: operator, Vantage: "elsewhere", Cause: causeConfiguration,
			Summary: strings.Repeat("é", 600) + "\xff", ObservedAt: timestamppb.New(time.Now().Add(time.Minute)),
			ValidUntil: timestamppb.New(time.Now().Add(10000 * time.Hour)), Labels: map[string]string{},
		}
		for i := range 100 {
			s.Labels[fmt.Sprintf("%03d", i)+strings.Repeat("n", 200)] = strings.Repeat("v", 1000)
		}
		before := proto.CloneOf(s)
		if _, _, err := r.Report(t.Context(), "alerts", []*jv1.Signal{s}); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(before, s) {
			t.Error("the caller's signal was changed")
		}
		now := time.Now()
		time.Sleep(time.Second)
		got := r.reports()[0].GetSignal()
		if got.GetSource() != "alerts" || got.GetService() != "chat" || got.GetProvider() != "openai" || got.GetClass() != external ||
			got.GetVantage() != "" || got.GetCause() != causeConfiguration {
			t.Errorf("stored %v", got)
		}
		if len(got.GetSummary()) > maxSummary || len(got.GetLabels()) != maxLabels || !got.GetObservedAt().AsTime().Equal(now) ||
			!got.GetValidUntil().AsTime().Equal(now.Add(maxReportValidity)) {
			t.Errorf("summary of %d bytes, %d labels, observed at %v, valid until %v", len(got.GetSummary()), len(got.GetLabels()), got.GetObservedAt().AsTime(), got.GetValidUntil().AsTime())
		}
	})
}

func TestReportRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, m *store.Memory, _ *storetest.Faulty) {
		r.put(
			detector(&jv1.Detector{Name: "of-service", Service: "chat", Kind: reporter("").Kind}),
			detector(&jv1.Detector{Name: "of-provider", Provider: "azure", Kind: reporter("").Kind}),
			detector(&jv1.Detector{Name: "of-gone", Service: "gone", Provider: "openai", Kind: reporter("").Kind}),
			detector(hook("am", &jv1.WebhookDetector{Format: jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER})),
			detector(everySecond("probe")),
		)
		time.Sleep(time.Second) // for the session
		before := m.Revision()
		for _, test := range []struct {
			source string
			signal *jv1.Signal
			want   error
		}{
			{"nobody", &jv1.Signal{State: stateFailing}, ErrUnknownSource},
			{"am", &jv1.Signal{State: stateFailing}, ErrUnknownSource},
			{"probe", &jv1.Signal{State: stateFailing}, ErrUnknownSource},
			{"alerts", &jv1.Signal{State: stateFailing, Provider: "azure"}, ErrNotBound},
			{"alerts", &jv1.Signal{State: stateFailing, Service: "video"}, ErrNotBound},
			{"of-service", &jv1.Signal{State: stateFailing}, ErrInvalid},
			{"of-service", &jv1.Signal{State: stateFailing, Provider: "nobody"}, ErrNotBound},
			{"of-provider", &jv1.Signal{State: stateFailing, Provider: "openai"}, ErrNotBound},
			{"of-gone", &jv1.Signal{State: stateFailing}, ErrNotBound},
			{"alerts", &jv1.Signal{}, ErrInvalid},
			{"alerts", &jv1.Signal{State: 77}, ErrInvalid},
			{"alerts", &jv1.Signal{State: stateFailing, ObservedAt: ago(-MaxSkew - time.Second)}, ErrInvalid},
			{"alerts", &jv1.Signal{State: stateFailing, ObservedAt: &timestamppb.Timestamp{Nanos: -1}}, ErrInvalid},
			{"alerts", &jv1.Signal{State: stateFailing, ValidUntil: ago(time.Second)}, ErrInvalid},
			{"alerts", &jv1.Signal{State: stateFailing, SignalId: strings.Repeat("x", maxSignalID+1)}, ErrInvalid},
		} {
			_, _, err := r.Report(t.Context(), test.source, []*jv1.Signal{{State: stateOK, Provider: test.signal.GetProvider()}, test.signal})
			if !errors.Is(err, test.want) {
				t.Errorf("%s may say %v: %v, want %v", test.source, test.signal, err, test.want)
			}
		}
		if len(r.reports()) != 0 {
			t.Errorf("stored: %v", r.reports())
		}
		if m.Revision() != before {
			t.Error("something was written")
		}
		if n := counted(t, r.metrics.signals.WithLabelValues("alerts", "refused")); n != 16 {
			t.Errorf("%v refusals counted for alerts", n)
		}
	})
}

func TestReportOfADetectorBoundToAProviderOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, _ *storetest.Faulty) {
		r.put(
			detector(&jv1.Detector{Name: "of-provider", Provider: "openai", Kind: reporter("").Kind}),
			store.Put(store.ServiceKey("video"), &jv1.Service{Name: "video", Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
			store.Put(store.ServiceKey("other"), &jv1.Service{Name: "other", Providers: []*jv1.ServiceProvider{{Name: "azure"}}}),
		)
		if accepted, _, err := r.Report(t.Context(), "of-provider", []*jv1.Signal{{State: stateFailing}}); err != nil || accepted != 1 {
			t.Fatalf("%d accepted, %v", accepted, err)
		}
		time.Sleep(time.Second)
		for service, want := range map[string]jv1.HealthState{"chat": suspect, "video": suspect, "other": unknown} {
			if got := stateOf(get[*jv1.Health](r, store.HealthKey(service, "openai"))); got != want {
				t.Errorf("%s: %v, want %v", service, got, want)
			}
		}
		if _, _, err := r.Report(t.Context(), "of-provider", []*jv1.Signal{{State: stateOK, Service: "video"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := get[*jv1.Health](r, store.HealthKey("video", "openai")); got.GetState() != healthy {
			t.Errorf("video: %v", got)
		}
		r.wantHealth("openai", suspect, OneClassFailing)
	})
}

// TestNothingIsAcknowledgedWithoutTheStore: every trouble of the store is ErrUnavailable, and what was acknowledged is
// there afterwards.
func TestNothingIsAcknowledgedWithoutTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, f *storetest.Faulty) {
		say := func() error {
			_, _, err := r.Report(t.Context(), "alerts", []*jv1.Signal{{State: stateFailing}})
			return err
		}
		f.SetDown(true)
		if err := say(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("while it is down: %v", err)
		}
		if _, err := r.OperatorSignal(t.Context(), "chat", "openai", stateFailing, "why", 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("operator while it is down: %v", err)
		}
		time.Sleep(10 * time.Second)
		if _, _, err := r.Report(t.Context(), "new-one", []*jv1.Signal{{State: stateFailing}}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a source that may be new: %v", err)
		}
		f.SetDown(false)
		time.Sleep(10 * time.Second)
		if err := say(); err != nil {
			t.Errorf("when it is back: %v", err)
		}
		r.stop()
		time.Sleep(time.Second)
		if err := say(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestIntakeBeforeTheFirstPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := store.New(store.Options{Backend: m})
		defer s.Close()
		d, err := New(Options{Store: s, Keeper: store.NewKeeper(s, store.SessionOptions{Replica: "r1"}), Replica: "r1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Report(t.Context(), "alerts", []*jv1.Signal{{State: stateFailing}}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("report: %v", err)
		}
		if _, err := d.OperatorSignal(t.Context(), "chat", "openai", stateOK, "why", 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("operator: %v", err)
		}
	})
}

// TestConcurrentReports: several replicas take signals of one subject; none is lost, the newest stays.
func TestConcurrentReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		replicas := []*replica{start(t, m, "r1"), start(t, m, "r2"), start(t, m, "r3")}
		replicas[0].put(append(chat(nil), detector(reporter("alerts")))...)
		time.Sleep(time.Second)
		var calls sync.WaitGroup
		began := time.Now()
		for i := range 9 {
			calls.Go(func() {
				s := &jv1.Signal{State: stateFailing, SignalId: fmt.Sprint(i), ObservedAt: timestamppb.New(began.Add(time.Duration(i-9) * time.Second))}
				if i == 8 {
					s.State = stateOK
				}
				if _, _, err := replicas[i%3].Report(t.Context(), "alerts", []*jv1.Signal{s}); err != nil {
					t.Errorf("report %d: %v", i, err)
				}
			})
		}
		calls.Wait()
		time.Sleep(time.Second)
		for _, r := range replicas {
			if all := r.reports(); len(all) != 1 || all[0].GetSignal().GetSignalId() != "8" {
				t.Errorf("stored %v", all)
			}
		}
	})
}

func TestOperatorSignal(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, _ *storetest.Faulty) {
		ctx := audit.With(t.Context(), audit.Caller{Principal: "alice", Role: "operator", Action: "DetectorService.SetOperatorSignal"})
		for _, test := range []struct {
			service, provider string
			state             jv1.SignalState
			reason            string
			validFor          time.Duration
			want              error
		}{
			{"nope", "openai", stateFailing, "why", 0, ErrNotFound},
			{"chat", "nobody", stateFailing, "why", 0, ErrNotFound},
			{"chat", "openai", 0, "why", 0, ErrInvalid},
			{"chat", "openai", stateFailing, "", 0, ErrInvalid},
			{"chat", "openai", stateFailing, "why", -time.Second, ErrInvalid},
		} {
			if rev, err := r.OperatorSignal(ctx, test.service, test.provider, test.state, test.reason, test.validFor); !errors.Is(err, test.want) {
				t.Errorf("%+v: %d, %v", test, rev, err)
			}
		}
		rev, err := r.OperatorSignal(ctx, "chat", "openai", stateFailing, "I see it", time.Hour)
		if err != nil || rev == 0 {
			t.Fatal(rev, err)
		}
		time.Sleep(time.Second)
		r.wantHealth("openai", failing, OperatorFailing)
		events, _, err := store.Scan[*jv1.AuditEvent](ctx, r.store, store.Audit, "", 0)
		if err != nil || len(events) != 1 {
			t.Fatalf("%d audit events, %v", len(events), err)
		}
		if e := events[0]; e.Mod != rev || e.Msg.GetActor() != "alice" || e.Msg.GetTarget() != "health/chat/openai" || e.Msg.GetReason() != "I see it" ||
			e.Msg.GetAction() != "DetectorService.SetOperatorSignal" || e.Msg.GetDetails()["state"] != "failing" {
			t.Errorf("audit event %v", e.Msg)
		}
		if _, err := r.OperatorSignal(ctx, "chat", "openai", stateUnknown, "withdrawn", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.wantHealth("openai", failing, EvidenceExpired)
	})
}

func TestSweepKeepsWhatMayComeAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, _ *store.Memory, _ *storetest.Faulty) {
		r.put(detector(hook("short", &jv1.WebhookDetector{Format: jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL, ValidFor: durationpb.New(time.Minute)})))
		for i := range 2*sweepsAtOnce + 1 {
			labels := map[string]string{"component": fmt.Sprint(i)}
			if _, _, err := r.Report(t.Context(), "short", []*jv1.Signal{{State: stateOK, Labels: labels}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(23 * time.Hour)
		if n := len(r.reports()); n != 2*sweepsAtOnce+1 {
			t.Errorf("%d reports left after 23 h", n)
		}
		time.Sleep(2 * time.Hour)
		if n := len(r.reports()); n != 0 {
			t.Errorf("%d reports left after 25 h", n)
		}
	})
}
