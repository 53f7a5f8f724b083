package telemetry

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// MetricNamespace starts the name of every metric of our own.
const MetricNamespace = "jurymast"

// NewRegistry returns a registry of its own, independent of prometheus.DefaultRegisterer, with the collectors of the
// process (process_*) and of the Go runtime (go_*). Each part registers its metrics in it when it is constructed.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
	)
	return registry
}

// MetricsHandler serves what the gatherers know in the formats of Prometheus and OpenMetrics. When one gatherer fails, the
// metrics of the others are still served and the failure is logged: a broken metric must not blind the operator.
func MetricsHandler(log hclog.Logger, gatherers ...prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(prometheus.Gatherers(gatherers), promhttp.HandlerOpts{
		ErrorLog:          metricsLog{log: log},
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	})
}

// OnlyPrefixes returns a gatherer with the metrics whose names start with one of the prefixes. The embedded etcd registers
// its metrics in prometheus.DefaultGatherer, where a second set of go_* and process_* metrics would clash with
// those of NewRegistry: OnlyPrefixes(prometheus.DefaultGatherer, "etcd_") takes etcd's alone.
func OnlyPrefixes(from prometheus.Gatherer, prefixes ...string) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := from.Gather()
		var kept []*dto.MetricFamily
		for _, family := range families {
			for _, prefix := range prefixes {
				if strings.HasPrefix(family.GetName(), prefix) {
					kept = append(kept, family)
					break
				}
			}
		}
		if err != nil {
			return kept, fmt.Errorf("gathering metrics: %w", err)
		}
		return kept, nil
	})
}

type metricsLog struct{ log hclog.Logger }

// Println receives promhttp's complaints.
func (m metricsLog) Println(args ...any) {
	m.log.Warn("serving metrics", KeyError, strings.TrimSpace(fmt.Sprintln(args...)))
}
