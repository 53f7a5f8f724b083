package expr

import (
	"strings"

	"cel.dev/cel-go/cel"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Facts is what a step's condition may ask about. The zero value is valid: nothing is known.
type Facts struct {
	// Phase of the service; `phase` in an expression, e.g. "FAILED_OVER". Unspecified: the empty string.
	Phase jv1.Phase
	// Service the run is for; `service`.
	Service string
	// Provider whose health caused the run; `provider`. Empty: none did.
	Provider string
	// Active is the provider that is routed to; `active`.
	Active string
	// Preferred is the service's first provider; `preferred`.
	Preferred string
	// Queueing tells whether queueing is on; `queueing`.
	Queueing bool
	// Health by provider; `health`, with values such as "HEALTHY". Unspecified reads as "UNKNOWN".
	Health map[string]jv1.HealthState
	// Params are the run's parameters; `params`.
	Params map[string]string
	// Steps by id; `steps`. A step that is missing has neither succeeded, failed nor been skipped.
	Steps map[string]StepFacts
}

// StepFacts is what a condition may ask about an earlier step.
type StepFacts struct {
	// Succeeded says that the step ended well.
	Succeeded bool
	// Failed says that the step failed for good.
	Failed bool
	// Skipped says that the step's own condition was false.
	Skipped bool
	// Output is what the step gave.
	Output map[string]string
}

// PhaseName is how an expression writes a phase: upper case without prefix, empty for none.
func PhaseName(p jv1.Phase) string {
	if p == jv1.Phase_PHASE_UNSPECIFIED {
		return ""
	}
	return strings.TrimPrefix(p.String(), "PHASE_")
}

// HealthName is how an expression writes a health: upper case without prefix. What is not known is "UNKNOWN".
func HealthName(h jv1.HealthState) string {
	if h == jv1.HealthState_HEALTH_STATE_UNSPECIFIED {
		return "UNKNOWN"
	}
	return strings.TrimPrefix(h.String(), "HEALTH_STATE_")
}

// activation hands facts to CEL by name, and converts only what is asked for.
type activation struct{ facts *Facts }

// Parent says that nothing stands behind these facts.
func (a activation) Parent() cel.Activation { return nil }

// ResolveName returns the value of a variable.
func (a activation) ResolveName(name string) (any, bool) {
	f := a.facts
	switch name {
	case "phase":
		return PhaseName(f.Phase), true
	case "service":
		return f.Service, true
	case "provider":
		return f.Provider, true
	case "active":
		return f.Active, true
	case "preferred":
		return f.Preferred, true
	case "queueing":
		return f.Queueing, true
	case "health":
		names := make(map[string]string, len(f.Health))
		for provider, state := range f.Health {
			names[provider] = HealthName(state)
		}
		return names, true
	case "params":
		if f.Params == nil {
			return map[string]string{}, true
		}
		return f.Params, true
	case "steps":
		return stepsValue(f.Steps), true
	case typedParams:
		return record(f.Params), true
	case typedOutputs:
		return outputsValue(f.Steps), true
	}
	return nil, false
}
