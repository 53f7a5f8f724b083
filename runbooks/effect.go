package runbooks

import jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

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

// EffectOf returns the strongest effect of a runbook's steps, those in parallel and of runbooks it runs included. find
// returns a runbook by its name, nil when there is none; a nil find finds none, and what isn't found does nothing.
func EffectOf(rb *jv1.Runbook, find func(name string) *jv1.Runbook) Effect {
	effect := EffectOutside
	eachStep(rb.GetSteps(), find, map[string]bool{}, func(s *jv1.Step) {
		switch s.GetAction().(type) {
		case *jv1.Step_SwitchProvider, *jv1.Step_SetWeight:
			effect = EffectRoute
		case *jv1.Step_EnableQueueing, *jv1.Step_DisableQueueing, *jv1.Step_DrainQueue:
			effect = max(effect, EffectQueueing)
		}
	})
	return effect
}

// Switches tells whether a step of the runbook makes another provider the active one; find is as for [EffectOf].
func Switches(rb *jv1.Runbook, find func(name string) *jv1.Runbook) bool {
	found := false
	eachStep(rb.GetSteps(), find, map[string]bool{}, func(s *jv1.Step) { found = found || s.GetSwitchProvider() != nil })
	return found
}

// eachStep calls f with every step, those of runbooks that are run included, each of these once.
func eachStep(steps []*jv1.Step, find func(string) *jv1.Runbook, seen map[string]bool, f func(*jv1.Step)) {
	for _, s := range steps {
		f(s)
		eachStep(s.GetParallel().GetSteps(), find, seen, f)
		if name := s.GetRunRunbook().GetRunbook(); name != "" && find != nil && !seen[name] {
			seen[name] = true
			eachStep(find(name).GetSteps(), find, seen, f)
		}
	}
}
