package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// metrics of the engine; their names are listed in docs/metrics.md.
type metrics struct {
	live        prometheus.Gauge
	escalations *prometheus.CounterVec
	slow        *prometheus.CounterVec
	held        *prometheus.CounterVec
	notUndone   *prometheus.CounterVec
	ended       *prometheus.CounterVec
	conflicts   prometheus.Counter
	foreign     prometheus.Counter
	trouble     prometheus.Counter
	recovery    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		live: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "jurymast_runs_live", Help: "Live runs this replica executes.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_runs_ended_total", Help: "Runs that ended on this replica, by runbook and state.",
		}, []string{"runbook", "state"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jurymast_engine_conflicts_total", Help: "Transactions whose facts had changed, and which were decided anew.",
		}),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jurymast_engine_foreign_records_total", Help: "Runs, runbooks and triggers of a newer version that this replica left as they are.",
		}),
		trouble: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jurymast_engine_store_errors_total", Help: "Errors of the store the engine waited out.",
		}),
		escalations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_escalations_total", Help: "Times that further people were told because nobody answered a run, by runbook.",
		}, []string{"runbook"}),
		held: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_guard_held_total", Help: "Starts and switches that a guard came to hold back, by guard.",
		}, []string{"guard"}),
		slow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_steps_slow_total", Help: "Steps that took longer than expected, by runbook and step.",
		}, []string{"runbook", "step"}),
		notUndone: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_steps_not_undone_total", Help: "Steps that could not be undone, by runbook and step.",
		}, []string{"runbook", "step"}),
		recovery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jurymast_recovery_seconds", Help: "Time from the first failure until a run restored service.",
			Buckets: []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}),
	}
	if r != nil {
		r.MustRegister(m.live, m.escalations, m.slow, m.held, m.notUndone, m.ended, m.conflicts, m.foreign, m.trouble, m.recovery)
	}
	return m
}

// committed logs what a turn did.
func (e *Engine) committed(t *turn) {
	if t.held != nil {
		e.metrics.held.WithLabelValues(string(t.held.Guard)).Inc()
	}
	for _, ev := range t.events {
		e.log.Info("run", "run", ev.GetRun(), "event", strings.TrimPrefix(ev.GetKind().String(), "RUN_EVENT_KIND_"), "step", ev.GetStep(),
			"actor", ev.GetActor(), "message", ev.GetMessage())
		switch ev.GetKind() {
		case jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED:
			e.metrics.escalations.WithLabelValues(t.run.GetRunbook()).Inc()
		case jv1.RunEventKind_RUN_EVENT_KIND_UNDO_FAILED:
			e.metrics.notUndone.WithLabelValues(t.run.GetRunbook(), ev.GetStep()).Inc()
		case jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW:
			e.metrics.slow.WithLabelValues(t.run.GetRunbook(), ev.GetStep()).Inc()
		}
		if ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED && t.run.GetRestoredTime() != nil && t.run.GetOnset() != nil &&
			t.run.GetRestoredTime().AsTime().Equal(ev.GetTime().AsTime()) {
			e.metrics.recovery.Observe(t.run.GetRestoredTime().AsTime().Sub(t.run.GetOnset().AsTime()).Seconds())
		}
	}
}

// ended counts a run that has come to its end here.
func (e *Engine) ended(run *jv1.Run) {
	if runs.Ended(run.GetState()) {
		e.metrics.ended.WithLabelValues(run.GetRunbook(), strings.TrimPrefix(run.GetState().String(), "RUN_STATE_")).Inc()
	}
}

// trouble logs an error that is waited out.
func (e *Engine) trouble(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
		return
	}
	e.metrics.trouble.Inc()
	e.log.Warn("waiting out an error", "concerning", what, "error", err)
}
