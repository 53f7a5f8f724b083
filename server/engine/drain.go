package engine

import (
	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// settleDrain takes the run's drain away once no step of it drains: however the step ended, by itself, by a human who
// skipped it or with the run, nobody must go on draining for a run that waits for nothing.
func (t *turn) settleDrain() {
	for _, s := range t.run.GetSteps() {
		if s.GetKind() == "drain_queue" && s.GetState() == jv1.StepState_STEP_STATE_RUNNING && t.run.GetEndTime() == nil {
			return
		}
	}
	t.desk.EndDrain(t.run.GetName())
}

// wakeDraining wakes the runs that drain what a report speaks of. Reports of thousands who keep no queue wake nobody.
func (e *Engine) wakeDraining(report *recordv1.InForceReport) {
	if len(report.GetQueues()) == 0 {
		return
	}
	var names []string
	e.o.Store.Read(func(v store.View) {
		for service := range report.GetQueues() {
			if run := store.Get[*jv1.ContinuityState](v, store.ContinuityKey(service)).Msg.GetDrain().GetRun(); run != "" {
				names = append(names, run)
			}
		}
	})
	for _, name := range names {
		e.wakeRun(name)
	}
}
