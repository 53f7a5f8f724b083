package schedule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server/telemetry"
)

// metrics of the scheduler; their names are listed in docs/metrics.md.
type metrics struct {
	fired    *prometheus.CounterVec
	missed   *prometheus.CounterVec
	troubles prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		fired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_schedule_fired_total", Help: "Times of schedules this replica fired, by schedule.",
		}, []string{"schedule"}),
		missed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_schedule_missed_total", Help: "Times of schedules this replica found missed and did not fire, by schedule.",
		}, []string{"schedule"}),
		troubles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jurymast_schedule_errors_total", Help: "Times the store did not let this replica look after schedules.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.fired, m.missed, m.troubles)
	}
	return m
}

// tell counts and logs what was done about a schedule.
func (s *Scheduler) tell(schedule string, d decision) {
	if !d.due.IsZero() {
		s.metrics.fired.WithLabelValues(schedule).Inc()
		s.o.Logger.Info("a time of a schedule has come", "schedule", schedule, "time", d.due, telemetry.KeyReason, d.reason)
	}
	if d.missed > 0 {
		s.metrics.missed.WithLabelValues(schedule).Add(float64(d.missed))
		s.o.Logger.Warn("times of a schedule were missed", "schedule", schedule, "missed", d.missed, telemetry.KeyReason, d.reason)
	}
}
