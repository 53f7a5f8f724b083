package detect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/store"
)

// TestWarningsAgreeWithTheJudge: a rule is warned about at apply exactly when the judge can't be brought to FAILING by
// everything that the declared detectors could say.
func TestWarningsAgreeWithTheJudge(t *testing.T) {
	provided := &jv1.Provider{Name: "openai", BaseUrl: "http://openai.example"}
	webhook := reporter("alerts")
	choices := [][]jv1.EvidenceClass{nil, {probing}, {external}, {passive}, {probing, external}, {feed, probing}}
	met := 0
	for agree := range int32(5) {
		for _, of := range choices {
			for _, detectors := range [][]*jv1.Detector{{everySecond("probe")}, {webhook}, {everySecond("probe"), webhook}, {everySecond("probe"), everySecond("other")}} {
				for vantages := 1; vantages <= 3; vantages++ {
					s := &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}}, Health: immediate(rule(agree, of...))}
					resources := []*jv1.Resource{{Kind: &jv1.Resource_Provider{Provider: provided}}, {Kind: &jv1.Resource_Service{Service: s}}}
					var signals []*jv1.Signal
					for _, d := range detectors {
						resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: d}})
						for v := range vantages {
							signals = append(signals, bads(runbooks.ClassOf(d), at(fmt.Sprintf("r%d", v))))
						}
					}
					_, warnings := runbooks.ValidateResources(resources, &runbooks.Catalog{Vantages: vantages})
					warned := slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "no machine can find openai failing") })
					canFail := Judge(Facts{Rule: s.GetHealth(), Signals: signals, Now: t0}).Health.GetState() == failing
					if warned == canFail {
						t.Errorf("agree %d of %v, %d detectors from %d vantages: warned %v, can fail %v", agree, of, len(detectors), vantages, warned, canFail)
					}
					if canFail {
						met++
					}
				}
			}
		}
	}
	if met == 0 {
		t.Error("no rule could be met")
	}
}

func TestNewRefuses(t *testing.T) {
	m := store.NewMemory(store.MemoryOptions{})
	defer m.Close()
	s := store.New(store.Options{Backend: m})
	defer s.Close()
	k := store.NewKeeper(s, store.SessionOptions{Replica: "r1"})
	for _, o := range []Options{{}, {Store: s}, {Store: s, Keeper: k}, {Keeper: k, Replica: "r1"}} {
		if d, err := New(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v, %v", o, d, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := store.NewMemory(store.MemoryOptions{})
	defer m.Close()
	r := start(t, m, "r1")
	r.put(
		store.Put(store.HealthKey("chat", "openai"), health(failing, QuorumFailing)),
		store.Put(store.ServiceKey("chat"), &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
	)
	r.metrics.probed(targetKey{"probe", "openai"}, finding{state: stateFailing, reason: "server_error"})
	r.metrics.taken("alerts", "accepted", 2)
	series := func() map[string]float64 {
		families, err := r.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				all[f.GetName()+labelled(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return all
	}
	for name, want := range map[string]float64{
		`jurymast_health provider=openai service=chat state=failing`:                                    1,
		`jurymast_detect_probes_total detector=probe provider=openai reason=server_error state=failing`: 1,
		`jurymast_detect_signals_total result=accepted source=alerts`:                                   2,
	} {
		if got := series(); got[name] != want {
			t.Errorf("%s is %v, want %v; there are %v", name, got[name], want, got)
		}
	}
	r.metrics.forgetProbe(targetKey{"probe", "openai"})
	for name := range series() {
		if strings.HasPrefix(name, "jurymast_detect_probes_total") {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := New(r.opts); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func labelled(m *dto.Metric) string {
	text := ""
	for _, l := range m.GetLabel() {
		text += " " + l.GetName() + "=" + l.GetValue()
	}
	return text
}
