package telemetry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/jurymast/jurymast/server/telemetry"
)

func scrape(t *testing.T, handler http.Handler) string {
	t.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("scrape answered %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func TestRegistry(t *testing.T) {
	registry := telemetry.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Namespace: telemetry.MetricNamespace, Name: "runs_total", Help: "Runs."})
	registry.MustRegister(counter)
	counter.Add(3)
	text := scrape(t, telemetry.MetricsHandler(hclog.NewNullLogger(), registry))
	for _, want := range []string{"\njurymast_runs_total 3\n", "\ngo_goroutines ", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
	if err := telemetry.NewRegistry().Register(counter); err != nil {
		t.Errorf("two registries share something: %v", err)
	}
}

// The default registry brings go_* and process_* of its own, which must not clash.
func TestOnlyPrefixes(t *testing.T) {
	other := telemetry.NewRegistry()
	for _, name := range []string{"etcd_size", "etcdx", "grpc_calls", "mine"} {
		other.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name}))
	}
	log, text := logged(t, hclog.Info)
	got := scrape(t, telemetry.MetricsHandler(log, telemetry.NewRegistry(), telemetry.OnlyPrefixes(other, "etcd_", "grpc_")))
	for name, want := range map[string]bool{"etcd_size": true, "grpc_calls": true, "etcdx": false, "mine": false} {
		if strings.Contains(got, "\n"+name+" 0") != want {
			t.Errorf("%s is served: %v, want %v", name, !want, want)
		}
	}
	if text() != "" {
		t.Errorf("complaints: %s", text())
	}
}

func TestBrokenMetricsDontHideTheOthers(t *testing.T) {
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("no idea") })
	log, text := logged(t, hclog.Info)
	got := scrape(t, telemetry.MetricsHandler(log, telemetry.NewRegistry(), telemetry.OnlyPrefixes(broken, "etcd_")))
	if !strings.Contains(got, "go_goroutines") {
		t.Error("one broken gatherer hid all metrics")
	}
	if !strings.Contains(text(), "[WARN]  serving metrics") || !strings.Contains(text(), "no idea") {
		t.Errorf("log: %s", text())
	}
}
