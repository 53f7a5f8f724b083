package runs

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// maxAttempts is how many attempts a step's record keeps.
const maxAttempts = 10

const (
	underWay  = jv1.AttemptState_ATTEMPT_STATE_INTENT
	unknown   = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	refuted   = jv1.AttemptState_ATTEMPT_STATE_FAILED
	confirmed = jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
)

// beginAttempt adds an attempt to a list of which the last ones are kept.
func beginAttempt(list []*jv1.Attempt, ev Event) []*jv1.Attempt {
	list = append(list, &jv1.Attempt{
		Id: ev.AttemptID, IdempotencyKey: ev.Key, StartTime: timestamppb.New(ev.Time), State: underWay,
	})
	for len(list) > maxAttempts {
		list = dropAttempt(list)
	}
	return list
}

// dropAttempt forgets the attempt that is needed least: the oldest one that certainly was not carried out, else the
// oldest. So a list that ever held one which may have been carried out holds one still, see [EffectOf].
func dropAttempt(list []*jv1.Attempt) []*jv1.Attempt {
	i := slices.IndexFunc(list, func(a *jv1.Attempt) bool { return a.GetState() == refuted })
	i = max(i, 0)
	return slices.Delete(list, i, i+1)
}

// closeAttempt writes down what became of the last attempt of a step, and what went wrong with the step. The event may
// know more of the attempt than its kind tells. What nobody knows of an attempt that is over stays so until somebody
// says it: a human, or the receiver.
func closeAttempt(step *jv1.StepRun, ev Event, state jv1.AttemptState) {
	step.Error = bounded(ev.Error, maxError)
	told := ev.Attempt != jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED
	if told {
		state = ev.Attempt
	}
	a := LastAttempt(step)
	if a.GetState() != underWay && (a.GetState() != unknown || !told && ev.Actor == "") {
		return
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_CHECKED {
		a.Checks++
	}
	if state == refuted && a.GetState() == unknown || state == refuted && ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_CHECKED {
		// All attempts have one key: what holds for the last one holds for those before.
		for _, earlier := range step.GetAttempts() {
			if earlier.GetState() == unknown {
				earlier.State = refuted
			}
		}
	}
	a.State = state
	a.Error = bounded(ev.Error, maxError)
	a.Result = bounded(ev.Message, maxError)
	a.EndTime = timestamppb.New(ev.Time)
}

// Effect says whether a step took effect outside.
type Effect uint8

// The effects.
const (
	// NoEffect: it certainly did not.
	NoEffect Effect = iota
	// MaybeEffect: a call was begun, and nobody knows what became of it.
	MaybeEffect
	// SureEffect: it did.
	SureEffect
)

// EffectOf tells whether a step's call or message took effect, by its attempts and by how it ended. A step that failed
// may have: its call may have been carried out and its answer not.
func EffectOf(s *jv1.StepRun) Effect {
	effect := NoEffect
	if s.GetState() == jv1.StepState_STEP_STATE_SUCCEEDED {
		return SureEffect
	}
	for _, a := range s.GetAttempts() {
		switch a.GetState() {
		case confirmed:
			return SureEffect
		case unknown, underWay:
			effect = MaybeEffect
		}
	}
	return effect
}
