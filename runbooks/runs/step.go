package runs

import (
	"maps"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// Waits tells whether a step waits for a human.
func Waits(s *jv1.StepRun) bool {
	return s.GetState() == jv1.StepState_STEP_STATE_WAITING || s.GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN
}

// WaitOf is what a step waits for a human for. Records of versions that knew only steps in a row say it of the run alone.
func WaitOf(run *jv1.Run, s *jv1.StepRun) jv1.RunWait {
	switch {
	case !Waits(s):
		return jv1.RunWait_RUN_WAIT_UNSPECIFIED
	case s.GetWait() != jv1.RunWait_RUN_WAIT_UNSPECIFIED:
		return s.GetWait()
	case s.GetState() == jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN:
		return jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN
	}
	return run.GetWait()
}

// Waiting lists the steps that wait for a human, in order.
func Waiting(run *jv1.Run) []*jv1.StepRun {
	var out []*jv1.StepRun
	for _, s := range run.GetSteps() {
		if Waits(s) {
			out = append(out, s)
		}
	}
	return out
}

// Held tells whether the run as a whole waits for a human, whatever its steps do: it was paused, or nobody has approved
// yet that it begins.
func Held(run *jv1.Run) bool {
	return run.GetState() == waiting &&
		(len(Waiting(run)) == 0 || run.GetPauseRequested() && run.GetWait() == jv1.RunWait_RUN_WAIT_RESUME)
}

// InFlight tells whether an outside call of the step may be under way: its intent is stored and its result is not.
func InFlight(s *jv1.StepRun) bool {
	return LastAttempt(s).GetState() == jv1.AttemptState_ATTEMPT_STATE_INTENT
}

// LastAttempt returns the newest attempt of a step, or nil.
func LastAttempt(s *jv1.StepRun) *jv1.Attempt { return lastOf(s.GetAttempts()) }

// StepOf returns the step of that id, or nil.
func StepOf(run *jv1.Run, id string) *jv1.StepRun {
	for _, s := range run.GetSteps() {
		if s.GetId() == id {
			return s
		}
	}
	return nil
}

// Parameters are those that the step at i sees: the run's, or what the step around it gave the runbook it stands in, with
// that runbook's defaults beneath. The map must not be changed.
func Parameters(run *jv1.Run, tree *runbooks.Tree, i int) map[string]string {
	frame := tree.FrameOf(i)
	if frame.Node < 0 {
		return run.GetParameters()
	}
	out := Defaults(frame.Plan)
	maps.Copy(out, run.GetSteps()[frame.Node].GetOutput())
	return out
}

// Defaults are the values of a runbook's parameters when none are given.
func Defaults(plan *jv1.Runbook) map[string]string {
	out := map[string]string{}
	for name, p := range plan.GetParameters() {
		if p.GetDefault() != "" {
			out[name] = p.GetDefault()
		}
	}
	return out
}
