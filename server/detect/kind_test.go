package detect

import (
	"errors"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		detector *jv1.Detector
		want     error
		text     string
	}{
		{everySecond("d"), nil, ""},
		{reporter("d"), nil, ""},
		{&jv1.Detector{Name: "d", Kind: &jv1.Detector_Http{}}, ErrInvalid, "neither service nor provider"},
		{&jv1.Detector{Name: "d", Service: "chat", Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{Expect: "json.a =="}}}, ErrInvalid, "http.expect"},
		{&jv1.Detector{Name: "d", Service: "chat", Kind: &jv1.Detector_Passive{}}, ErrUnsupported, "kind passive"},
		{&jv1.Detector{Name: "d", Service: "chat", Kind: &jv1.Detector_Openai{}}, ErrUnsupported, "kind openai"},
		{&jv1.Detector{Name: "d", Provider: "openai", Kind: &jv1.Detector_StatusFeed{}}, ErrUnsupported, "kind status_feed"},
		{&jv1.Detector{Name: "d", Service: "chat"}, ErrUnsupported, "kind none"},
	} {
		if err := Check(test.detector); !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v: %v, want %v with %q", test.detector, err, test.want, test.text)
		}
	}
}

func TestWarnings(t *testing.T) {
	service := func(agree int32, of ...jv1.EvidenceClass) *jv1.Service {
		return &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}}, Health: rule(agree, of...)}
	}
	probe, alerts := everySecond("probe"), reporter("alerts")
	later := &jv1.Detector{Name: "traffic", Service: "chat", Kind: &jv1.Detector_Passive{}}
	elsewhere := &jv1.Detector{Name: "video", Service: "video", Kind: probe.Kind}
	another := &jv1.Detector{Name: "azure", Provider: "azure", Kind: probe.Kind}
	for _, test := range []struct {
		name      string
		service   *jv1.Service
		detectors []*jv1.Detector
		replicas  int
		want      string // empty: no warning
	}{
		{"one daemon, one probe, one is enough", service(1), []*jv1.Detector{probe}, 1, ""},
		{"one daemon, one probe", service(0), []*jv1.Detector{probe}, 1, "one class and one replica"},
		{"two daemons, one probe", service(0), []*jv1.Detector{probe}, 2, ""},
		{"two daemons, one probe, two classes asked for", service(2), []*jv1.Detector{probe}, 2, "asks for 2 evidence classes, its detectors give 1"},
		{"two classes", service(0), []*jv1.Detector{probe, alerts}, 1, ""},
		{"two classes asked for", service(2), []*jv1.Detector{probe, alerts}, 1, ""},
		{"two detectors of one class", service(2), []*jv1.Detector{probe, probe}, 1, "give 1"},
		{"three asked for", service(3), []*jv1.Detector{probe, alerts}, 1, "give 2"},
		{"alerts alone", service(0), []*jv1.Detector{alerts}, 3, "two evidence classes must agree, its detectors give one"},
		{"none", service(1), nil, 1, "no detector"},
		{"none that counts", service(1, external), []*jv1.Detector{probe}, 1, "no detector"},
		{"one that this version can't run", service(2), []*jv1.Detector{probe, later}, 1, "give 1"},
		{"of other services and providers", service(1), []*jv1.Detector{elsewhere, another}, 1, "no detector"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Warnings(test.service, test.detectors, test.replicas)
			if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
				t.Errorf("warned %q, want %q", got, test.want)
			}
		})
	}
	// The rule can be met exactly when nothing is warned of: the judge agrees.
	if j := Judge(Facts{Rule: immediate(rule(1)), Signals: []*jv1.Signal{bads(probing)}, Now: t0}); j.Health.GetState() != failing {
		t.Errorf("one probe with agree 1 is judged %v", j.Health.GetState())
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
