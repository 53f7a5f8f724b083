package runbooks

import (
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Effect is what the steps of a runbook change at most: two runbooks of the same effect can undo each other's work.
type Effect uint8

// The effects, each stronger than the one before.
const (
	// EffectOutside changes nothing of a service: it tells, waits, asks or calls.
	EffectOutside Effect = iota
	// EffectQueueing switches queueing, or drains what is queued.
	EffectQueueing
	// EffectRoute moves traffic: it switches, or shifts weights.
	EffectRoute
)

// String is the effect as people read it.
func (e Effect) String() string {
	switch e {
	case EffectQueueing:
		return "queueing"
	case EffectRoute:
		return "the route"
	default:
		return "nothing of the service"
	}
}

// EffectOf returns the strongest effect of a runbook's steps, those in parallel included. What a runbook does that it
// runs is not known here and doesn't count.
func EffectOf(rb *jv1.Runbook) Effect { return effectOf(rb.GetSteps()) }

func effectOf(steps []*jv1.Step) Effect {
	effect := EffectOutside
	for _, s := range steps {
		switch a := s.GetAction().(type) {
		case *jv1.Step_SwitchProvider, *jv1.Step_SetWeight:
			return EffectRoute
		case *jv1.Step_EnableQueueing, *jv1.Step_DisableQueueing, *jv1.Step_DrainQueue:
			effect = max(effect, EffectQueueing)
		case *jv1.Step_Parallel:
			effect = max(effect, effectOf(a.Parallel.GetSteps()))
		}
	}
	return effect
}

// Switches tells whether a step of the runbook makes another provider the active one.
func Switches(rb *jv1.Runbook) bool { return switches(rb.GetSteps()) }

func switches(steps []*jv1.Step) bool {
	return slices.ContainsFunc(steps, func(s *jv1.Step) bool {
		return s.GetSwitchProvider() != nil || switches(s.GetParallel().GetSteps())
	})
}
