package detect

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// votes are this replica's votes of a service, as `provider by detector: state`.
func (r *replica) votes(service string) []string {
	var all []string
	for _, s := range get[*recordv1.Votes](r, store.VotesKey(service, r.opts.Replica)).GetSignals() {
		all = append(all, fmt.Sprintf("%s by %s: %s", s.GetProvider(), s.GetSource(), stateName(s.GetState())))
	}
	return all
}

func (r *replica) wantVotes(service string, want ...string) {
	r.t.Helper()
	if got := r.votes(service); !slices.Equal(got, want) {
		r.t.Errorf("votes of %s are %q, want %q", service, got, want)
	}
}

func probing4(interval time.Duration, d *jv1.Detector) *jv1.Detector {
	jitter := 0.0
	d.Kind = &jv1.Detector_Http{Http: &jv1.HttpProbe{Interval: durationpb.New(interval), Jitter: &jitter}}
	return d
}

// TestProbesFanOut: a detector probes every provider of its service, or the one it names, in every service it fits.
func TestProbesFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(401, ``))
		r := start(t, m, "r1", over(world))
		minute := time.Minute
		r.put(append(chat(nil),
			store.Put(store.ServiceKey("video"), &jv1.Service{Name: "video", Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
			detector(probing4(minute, &jv1.Detector{Name: "all-of-chat", Service: "chat"})),
			detector(probing4(minute, &jv1.Detector{Name: "azure-of-chat", Service: "chat", Provider: "azure"})),
			detector(probing4(minute, &jv1.Detector{Name: "openai-anywhere", Provider: "openai"})),
			detector(probing4(minute, &jv1.Detector{Name: "of-nothing", Service: "gone"})),
			detector(reporter("no-probe")),
			detector(&jv1.Detector{Name: "later", Service: "chat", Kind: &jv1.Detector_Passive{}}),
		)...)
		time.Sleep(time.Second)
		r.wantVotes("chat", "azure by all-of-chat: ok", "openai by all-of-chat: ok", "azure by azure-of-chat: ok", "openai by openai-anywhere: ok")
		r.wantVotes("video", "openai by openai-anywhere: ok")
		if world.count("openai.example") != 2 || world.count("azure.example") != 2 {
			t.Errorf("calls: %v", world.calls)
		}

		// What the catalog takes away is taken back.
		r.put(store.Delete(store.DetectorKey("openai-anywhere")), store.Delete(store.DetectorKey("azure-of-chat")))
		time.Sleep(time.Second)
		r.wantVotes("chat", "azure by all-of-chat: ok", "openai by all-of-chat: ok")
		r.wantVotes("video")
		if v := get[*recordv1.Votes](r, store.VotesKey("video", "r1")); v != nil {
			t.Errorf("an empty record is left: %v", v)
		}
		before := world.count("azure.example")
		time.Sleep(3 * minute)
		if n := world.count("azure.example") - before; n != 3 {
			t.Errorf("%d probes of azure in three minutes", n)
		}
	})
}

func TestProbesHurryWhileUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		r := start(t, m, "r1", over(world))
		r.put(provider("openai"), store.Put(store.ServiceKey("chat"), &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
			detector(probing4(15*time.Second, &jv1.Detector{Name: "probe", Service: "chat"})))
		time.Sleep(time.Minute + time.Second)
		if n := world.count("openai.example"); n != 5 {
			t.Errorf("%d probes in a minute, want one at once and four after", n)
		}
		world.set("openai.example", answers(500, ``))
		began := time.Now()
		for len(r.votes("chat")) == 0 || !strings.HasSuffix(r.votes("chat")[0], "failing") {
			time.Sleep(100 * time.Millisecond)
			if time.Since(began) > time.Minute {
				t.Fatal("never failing")
			}
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("failing after %v: one interval and two thirds of one are enough", took)
		}
	})
}

// TestBadProbesTakeNothingElseDown: one probe panics, one never ends although it should.
func TestBadProbesTakeNothingElseDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		over1 := make(chan struct{})
		world.set("panics.example", func(*http.Request) (*http.Response, error) { panic("a planted panic") })
		world.set("sticks.example", func(r *http.Request) (*http.Response, error) {
			<-over1
			return answers(200, ``)(r)
		})
		world.set("well.example", answers(200, ``))
		r := start(t, m, "r1", over(world))
		s := &jv1.Service{Name: "chat"}
		for _, name := range []string{"panics", "sticks", "well", "refuses"} {
			s.Providers = append(s.Providers, &jv1.ServiceProvider{Name: name})
			r.put(provider(name))
		}
		s.Providers = append(s.Providers, &jv1.ServiceProvider{Name: "not-declared"})
		r.put(store.Put(store.ServiceKey("chat"), s), detector(probing4(10*time.Second, &jv1.Detector{Name: "probe", Service: "chat"})))
		time.Sleep(2 * time.Minute)
		r.wantVotes("chat", "panics by probe: unknown", "refuses by probe: failing", "sticks by probe: unknown", "well by probe: ok")
		if n := world.count("sticks.example"); n != 1 {
			t.Errorf("%d calls of a provider whose first call never ended", n)
		}
		close(over1)
		time.Sleep(time.Minute)
		r.wantVotes("chat", "panics by probe: unknown", "refuses by probe: failing", "sticks by probe: ok", "well by probe: ok")
		if n := counted(t, r.metrics.probes.WithLabelValues("probe", "panics", "unknown", "probe_panicked")); n < 10 {
			t.Errorf("%v panics counted", n)
		}
	})
}

// TestTargetThatIsDefinedAnew goes on where it was.
func TestTargetThatIsDefinedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		r := start(t, m, "r1", over(world))
		r.put(append(chat(nil), detector(everySecond("probe")))...)
		time.Sleep(10 * time.Second)
		r.wantVotes("chat", "azure by probe: failing", "openai by probe: failing")
		world.set("moved.example", answers(200, ``))
		r.put(store.Put(store.ProviderKey("openai"), &jv1.Provider{Name: "openai", BaseUrl: "http://moved.example"}))
		time.Sleep(300 * time.Millisecond) // one good probe
		r.wantVotes("chat", "azure by probe: failing", "openai by probe: failing")
		if world.count("moved.example") != 1 {
			t.Fatalf("%d probes", world.count("moved.example"))
		}
		time.Sleep(5 * time.Second)
		r.wantVotes("chat", "azure by probe: failing", "openai by probe: ok")
	})
}

// TestOwnNetworkDownIsUnknown: when nothing can be reached, nobody is accused, and who was healthy is unknown.
func TestOwnNetworkDownIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		r := start(t, m, "r1", over(world))
		r.put(append(chat(immediate(rule(1))), detector(everySecond("probe")))...)
		time.Sleep(5 * time.Second)
		r.wantHealth("openai", healthy, EvidenceOK)
		world.set("openai.example", fails(syscall.ENETUNREACH))
		world.set("azure.example", fails(syscall.ENETUNREACH))
		time.Sleep(time.Minute)
		r.wantVotes("chat", "azure by probe: unknown", "openai by probe: unknown")
		r.wantHealth("openai", unknown, NoEvidence)
		r.wantHealth("azure", unknown, NoEvidence)
		if len(r.triggers()) != 0 {
			t.Errorf("triggers %v", r.triggers())
		}
	})
}

func TestProbeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(503, ``))
		r := start(t, m, "r1", over(world))
		r.put(append(chat(nil), detector(probing4(time.Hour, &jv1.Detector{Name: "probe", Service: "chat"})),
			detector(&jv1.Detector{Name: "bad", Service: "chat", Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{Expect: "json."}}}))...)
		s, err := r.Probe(t.Context(), "probe", "openai")
		if err != nil || s.GetState() != stateFailing || s.GetCause() != causeOutage || s.GetLabels()[labelReason] != "server_error" || s.GetVantage() != "r1" {
			t.Errorf("probed %v, %v", s, err)
		}
		for _, test := range []struct {
			detector, provider string
			want               error
		}{{"probe", "nobody", ErrNotFound}, {"nothing", "openai", ErrNotFound}, {"bad", "openai", ErrInvalid}} {
			if s, err := r.Probe(t.Context(), test.detector, test.provider); !errors.Is(err, test.want) {
				t.Errorf("%s of %s: %v, %v", test.detector, test.provider, s, err)
			}
		}
	})
}

// TestVotesCostLittle counts what unchanging votes cost, by the store's revision.
func TestVotesCostLittle(t *testing.T) {
	for _, test := range []struct {
		services int
		interval time.Duration
		most     int64 // transactions in ten minutes
	}{
		{services: 1, interval: 15 * time.Second, most: 28},
		{services: 1, interval: time.Second, most: 61},
		{services: 200, interval: 15 * time.Second, most: 28 * 5},
	} {
		t.Run(fmt.Sprintf("%d services every %v", test.services, test.interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := store.NewMemory(store.MemoryOptions{Retain: 1000})
				defer m.Close()
				world := newProviders()
				world.set("openai.example", answers(200, ``))
				r := start(t, m, "r1", over(world))
				r.put(provider("openai"))
				for i := range test.services {
					name := fmt.Sprintf("s%d", i)
					r.put(store.Put(store.ServiceKey(name), &jv1.Service{Name: name, Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
						detector(&jv1.Detector{Name: name, Service: name, Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{Interval: durationpb.New(test.interval)}}}))
				}
				time.Sleep(time.Minute)
				before := m.Revision()
				time.Sleep(10 * time.Minute)
				t.Logf("%d transactions in ten minutes", m.Revision()-before)
				if n := m.Revision() - before; n > test.most || n < 10 {
					t.Errorf("%d transactions in ten minutes, at most %d wanted", n, test.most)
				}
				for _, h := range list[*jv1.Health](r, store.HealthPrefix) {
					if h.GetState() != healthy {
						t.Fatalf("%s became %v", h.GetService(), h.GetState())
					}
				}
			})
		})
	}
}

// BenchmarkThousandDetectors measures what a thousand detectors cost in one process: CPU per probe, and memory.
func BenchmarkThousandDetectors(b *testing.B) {
	const detectors = 1000
	m := store.NewMemory(store.MemoryOptions{Retain: 1000})
	defer m.Close()
	world := newProviders()
	world.set("openai.example", answers(200, ``))
	r := start(b, m, "r1", over(world))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r.put(provider("openai"))
	for i := range detectors {
		name := fmt.Sprintf("s%d", i)
		r.put(store.Put(store.ServiceKey(name), &jv1.Service{Name: name, Providers: []*jv1.ServiceProvider{{Name: "openai"}}}),
			detector(&jv1.Detector{Name: name, Service: name, Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{Interval: durationpb.New(time.Second)}}}))
	}
	for world.count("openai.example") < 2*detectors {
		time.Sleep(10 * time.Millisecond)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	var began, ended syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &began)
	first := world.count("openai.example")
	b.ResetTimer()
	for range b.N {
		time.Sleep(100 * time.Microsecond)
	}
	for world.count("openai.example") < first+detectors {
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ended)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/detectors, "heap-B/detector")
	used := time.Duration(ended.Utime.Nano() + ended.Stime.Nano() - began.Utime.Nano() - began.Stime.Nano())
	b.ReportMetric(float64(used.Microseconds())/float64(world.count("openai.example")-first), "CPU-µs/probe")
}
