package notify

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/telemetry"
)

// metrics are the deliverer's. Channels are few and named by operators, so they may be a label.
type metrics struct {
	delivered *prometheus.CounterVec
	dead      *prometheus.CounterVec
	failures  *prometheus.CounterVec
	pending   *prometheus.GaugeVec
	seconds   *prometheus.HistogramVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "notify", Name: name, Help: help,
		}, labels)
	}
	m := &metrics{
		delivered: counter("delivered_total", "Notifications that a receiver took.", "channel"),
		dead:      counter("dead_total", "Notifications that were given up.", "channel"),
		failures:  counter("failures_total", "Attempts that failed, by cause.", "channel", "cause"),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "notify", Name: "pending",
			Help: "Notifications in the outbox that are neither delivered nor dead.",
		}, []string{"channel"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: telemetry.MetricNamespace, Subsystem: "notify", Name: "delivery_seconds",
			Help:    "From writing a notification to the receiver's answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600},
		}, []string{"channel"}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.delivered, m.dead, m.failures, m.pending, m.seconds} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of notify: %w", err)
		}
	}
	return m, nil
}

// count counts a recorded attempt.
func (m *metrics) count(n *jv1.Notification, f *Failure) {
	if f != nil {
		m.failures.WithLabelValues(n.GetChannel(), string(f.Cause)).Inc()
	}
	switch n.GetState() {
	case jv1.DeliveryState_DELIVERY_STATE_DELIVERED:
		m.delivered.WithLabelValues(n.GetChannel()).Inc()
		if n.GetCreateTime() != nil {
			m.seconds.WithLabelValues(n.GetChannel()).Observe(max(n.GetEndTime().AsTime().Sub(n.GetCreateTime().AsTime()), 0).Seconds())
		}
	case jv1.DeliveryState_DELIVERY_STATE_DEAD:
		m.dead.WithLabelValues(n.GetChannel()).Inc()
	}
}

func (m *metrics) showPending(counts map[string]int) {
	for channel, n := range counts {
		m.pending.WithLabelValues(channel).Set(float64(n))
	}
}
