package engine

import (
	"context"
	"fmt"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// Skip has a run go on without a step that waits for a human, for its next attempt, or for a time or a condition. One with
// a call under way is not skipped: nobody knows what becomes of the call. A call whose outcome is not known stays listed.
func (e *Engine) Skip(ctx context.Context, req *jv1.SkipStepRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason()},
		func(run *jv1.Run, _ *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
			if s := runs.StepOf(run, req.GetStep()); s != nil && runs.InFlight(s) {
				return runs.Event{}, fmt.Errorf("step %s of run %s has a call under way: wait for its end, or cancel the run: %w",
					s.GetId(), run.GetName(), ErrNotPossible)
			}
			step, err := only(run, fitting(run, req.GetStep(), skippable), req.GetStep(), "can be skipped now")
			if err != nil {
				return runs.Event{}, err
			}
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED, Step: step.GetId(), Time: now, Actor: actor,
				Message: "skipped by " + actor + ": " + req.GetReason(),
			}, nil
		})
}

// Retry makes the next attempt of a step at once: one that failed and waits for a human begins anew, one that waits before
// its next attempt waits no longer.
func (e *Engine) Retry(ctx context.Context, req *jv1.RetryStepRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason()},
		func(run *jv1.Run, _ *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
			step, err := only(run, fitting(run, req.GetStep(), retryable), req.GetStep(), "can be retried now")
			if err != nil {
				return runs.Event{}, err
			}
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_RETRY_REQUESTED, Step: step.GetId(), Time: now, Actor: actor,
				Message: "retry asked for by " + actor + ": " + req.GetReason(),
			}, nil
		})
}

// fitting lists the steps that fit, or only that of the id if one is given.
func fitting(run *jv1.Run, id string, fits func(*jv1.Run, *jv1.StepRun) bool) []*jv1.StepRun {
	var out []*jv1.StepRun
	for _, s := range run.GetSteps() {
		if (id == "" || s.GetId() == id) && fits(run, s) {
			out = append(out, s)
		}
	}
	return out
}

// skippable tells whether a step waits. A step that is made of steps does so only when it failed and a human is to say
// what comes then.
func skippable(_ *jv1.Run, s *jv1.StepRun) bool {
	switch {
	case runs.InFlight(s):
		return false
	case runs.Waits(s), s.GetState() == jv1.StepState_STEP_STATE_RETRYING:
		return true
	}
	return s.GetState() == jv1.StepState_STEP_STATE_RUNNING && !runbooks.IsContainer(s.GetKind())
}

func retryable(run *jv1.Run, s *jv1.StepRun) bool {
	return s.GetState() == jv1.StepState_STEP_STATE_RETRYING || runs.WaitOf(run, s) == jv1.RunWait_RUN_WAIT_RESUME
}
