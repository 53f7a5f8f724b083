package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/jurymast/jurymast/server/telemetry"
)

// metrics are the API's own.
type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	streams *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "api", Name: "calls_total",
			Help: "Calls of the API that ended, by transport, method and code.",
		}, []string{"transport", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "api", Name: "call_seconds",
			Help:    "How long calls took, streams left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"transport", "method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "api", Name: "streams",
			Help: "Streams that are open.",
		}, []string{"transport", "method"}),
	}
	for _, c := range []prometheus.Collector{m.calls, m.seconds, m.streams} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// callMetrics are the metrics of one transport.
type callMetrics struct {
	*metrics
	transport string
}

func (m *callMetrics) ended(action string, code codes.Code) {
	m.calls.WithLabelValues(m.transport, action, code.String()).Inc()
}

func (m *callMetrics) took(action string, d time.Duration) {
	m.seconds.WithLabelValues(m.transport, action).Observe(d.Seconds())
}

func (m *callMetrics) opened(action string) { m.streams.WithLabelValues(m.transport, action).Inc() }

func (m *callMetrics) closed(action string) { m.streams.WithLabelValues(m.transport, action).Dec() }
