package runbooks

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Normalize returns a copy of a runbook in which what may be left out is said: step ids, enums, and the providers that
// `on` and `verify` mean. Normalizing twice changes nothing. Durations and counts stay as they are; their defaults are
// the engine's. Nil gives nil.
func Normalize(rb *jv1.Runbook) *jv1.Runbook {
	if rb == nil {
		return nil
	}
	n := proto.CloneOf(rb)
	if on := n.GetOn(); on != nil && on.GetProvider() == "" {
		on.Provider = DefaultOnProvider(on.GetHealth())
	}
	if n.Automation == nil {
		n.Automation = &jv1.AutomationPolicy{}
	}
	setDefault(&n.Automation.Default, jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE)
	setDefault(&n.Automation.WhenQueueing, n.Automation.Default)
	normalizeSteps(n.GetSteps(), map[string]int{})
	return n
}

// DefaultOnProvider is the provider that `on` means when it names none: `preferred` for one that became healthy,
// otherwise `active`.
func DefaultOnProvider(health jv1.OnHealth) string {
	if health == jv1.OnHealth_ON_HEALTH_HEALTHY {
		return "preferred"
	}
	return "active"
}

// normalizeSteps goes through steps, and those inside of them, in the order of the file; count holds how many of a kind
// there were before: ids are unique in the whole runbook.
func normalizeSteps(steps []*jv1.Step, count map[string]int) {
	for _, step := range steps {
		kind := StepKind(step)
		count[kind]++
		if step.GetId() == "" && kind != "" {
			step.Id = fmt.Sprintf("%s_%d", kind, count[kind])
		}
		setDefault(&step.OnFailure, jv1.OnFailure_ON_FAILURE_ABORT)
		normalizeCompensation(step.GetCompensate().GetHttpRequest())
		switch action := step.GetAction().(type) {
		case *jv1.Step_Approval:
			if action.Approval != nil {
				setDefault(&action.Approval.OnTimeout, jv1.TimeoutAction_TIMEOUT_ACTION_DENY)
			}
		case *jv1.Step_Verify:
			if action.Verify != nil && action.Verify.Provider == "" {
				action.Verify.Provider = "active"
			}
		case *jv1.Step_HttpRequest:
			normalizeRequest(action.HttpRequest)
		case *jv1.Step_Parallel:
			if action.Parallel != nil {
				setDefault(&action.Parallel.FailOn, jv1.FailOn_FAIL_ON_ANY_ERROR)
			}
			normalizeSteps(action.Parallel.GetSteps(), count)
		}
	}
}

// defaultMethod is that of a request which doesn't say.
const defaultMethod = "POST"

func normalizeRequest(request *jv1.HttpRequestStep) {
	if request == nil {
		return
	}
	if request.Method == "" {
		request.Method = defaultMethod
	}
	setDefault(&request.Repeat, repeatability(request.Method))
}

// setDefault fills an enum that says nothing.
func setDefault[E ~int32](field *E, value E) {
	if *field == 0 {
		*field = value
	}
}
