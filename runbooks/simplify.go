package runbooks

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Simplify is the inverse of Normalize: a copy of a runbook without what goes without saying, as people write it. It
// normalises to the same.
func Simplify(rb *jv1.Runbook) *jv1.Runbook {
	if rb == nil {
		return nil
	}
	s := proto.CloneOf(rb)
	if on := s.GetOn(); on.GetProvider() == DefaultOnProvider(on.GetHealth()) {
		on.Provider = ""
	}
	if a := s.GetAutomation(); a != nil {
		if a.GetWhenQueueing() == a.GetDefault() {
			a.WhenQueueing = 0
		}
		if a.GetWhenQueueing() == 0 && a.GetDefault() <= jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE &&
			a.GetDefault() != jv1.AutomationLevel_AUTOMATION_LEVEL_OBSERVE {
			s.Automation = nil
		}
	}
	simplifySteps(s.GetSteps(), map[string]int{})
	return s
}

func simplifySteps(steps []*jv1.Step, count map[string]int) {
	for _, step := range steps {
		kind := StepKind(step)
		count[kind]++
		if step.GetId() == fmt.Sprintf("%s_%d", kind, count[kind]) {
			step.Id = ""
		}
		dropDefault(&step.OnFailure, jv1.OnFailure_ON_FAILURE_ABORT)
		simplifyCompensation(step.GetCompensate().GetHttpRequest())
		switch action := step.GetAction().(type) {
		case *jv1.Step_Approval:
			if action.Approval != nil {
				dropDefault(&action.Approval.OnTimeout, jv1.TimeoutAction_TIMEOUT_ACTION_DENY)
			}
		case *jv1.Step_Verify:
			if action.Verify.GetProvider() == "active" {
				action.Verify.Provider = ""
			}
		case *jv1.Step_HttpRequest:
			simplifyRequest(action.HttpRequest)
		case *jv1.Step_Parallel:
			if action.Parallel != nil {
				dropDefault(&action.Parallel.FailOn, jv1.FailOn_FAIL_ON_ANY_ERROR)
			}
			simplifySteps(action.Parallel.GetSteps(), count)
		}
	}
}

func simplifyRequest(request *jv1.HttpRequestStep) {
	if request == nil {
		return
	}
	dropDefault(&request.Repeat, repeatability(request.Method))
	if request.Method == defaultMethod {
		request.Method = ""
	}
}

// repeatability is that of a request which doesn't say.
func repeatability(method string) jv1.Repeatability {
	if slices.Contains([]string{"GET", "PUT", "DELETE"}, method) {
		return jv1.Repeatability_REPEATABILITY_IDEMPOTENT
	}
	return jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE
}

// dropDefault empties an enum that says what goes without saying.
func dropDefault[E ~int32](field *E, value E) {
	if *field == value {
		*field = 0
	}
}
