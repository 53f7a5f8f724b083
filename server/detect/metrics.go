package detect

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// metrics are what the package counts.
type metrics struct {
	probes     *prometheus.CounterVec // detector, provider, result
	signals    *prometheus.CounterVec // source, result
	judgements *prometheus.CounterVec // result
}

const metricSubsystem = "detect"

// newMetrics makes the metrics and registers them, unless there is no registerer.
func newMetrics(r prometheus.Registerer, s *store.Store) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: metricSubsystem, Name: name, Help: help,
		}, labels)
	}
	m := &metrics{
		probes:     counter("probes_total", "Probes by what they found.", "detector", "provider", "state", "reason"),
		signals:    counter("signals_total", "Signals and alerts taken in: accepted, absorbed, ignored or refused.", "source", "result"),
		judgements: counter("judgements_total", "Changed judgements of health: committed, conflict or failed.", "result"),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.probes, m.signals, m.judgements, newHealthCollector(s)} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) probed(key targetKey, f finding) {
	m.probes.WithLabelValues(key.detector, key.provider, stateName(f.state), f.reason).Inc()
}

// forgetProbe drops the series of a target that is gone.
func (m *metrics) forgetProbe(key targetKey) {
	m.probes.DeletePartialMatch(prometheus.Labels{"detector": key.detector, "provider": key.provider})
}

// taken counts what became of signals. The source has to be one that is declared, so that a stranger makes no series.
func (m *metrics) taken(source, result string, n int) {
	if n > 0 {
		m.signals.WithLabelValues(source, result).Add(float64(n))
	}
}

func (m *metrics) judged(result string) { m.judgements.WithLabelValues(result).Inc() }

// healthCollector shows the stored health at the time of the scrape.
type healthCollector struct {
	store *store.Store
	desc  *prometheus.Desc
}

func newHealthCollector(s *store.Store) *healthCollector {
	return &healthCollector{store: s, desc: prometheus.NewDesc(
		prometheus.BuildFQName(telemetry.MetricNamespace, "", "health"),
		"Judged health of a provider for a service: 1 for the state it is in.",
		[]string{"service", "provider", "state"}, nil,
	)}
}

// Describe implements prometheus.Collector.
func (c *healthCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector.
func (c *healthCollector) Collect(out chan<- prometheus.Metric) {
	var all []store.Record[*jv1.Health]
	c.store.Read(func(v store.View) { all = store.List[*jv1.Health](v, store.HealthPrefix) })
	for _, h := range all {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1,
			h.Msg.GetService(), h.Msg.GetProvider(), healthName(h.Msg.GetState()))
	}
}
