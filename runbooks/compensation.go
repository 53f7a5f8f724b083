package runbooks

import (
	"fmt"
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// withoutEffect says why a step of a kind has nothing that a call of its own could undo. Empty: it has.
func withoutEffect(step *jv1.Step) string {
	kind := StepKind(step)
	switch {
	case kind == "http_request" && step.GetHttpRequest().GetMethod() == "GET":
		return "a GET changes nothing"
	case kind == "http_request", kind == "notify":
		return ""
	case kinds()[kind].compensation != "":
		return fmt.Sprintf("steps of kind %s undo themselves", kind)
	case IsContainer(kind):
		return fmt.Sprintf("the steps inside of %s are undone one by one: give it to those", kind)
	}
	return fmt.Sprintf("steps of kind %s do nothing outside that could be undone", kind)
}

// compensates tells whether a step is undone: it undoes itself, or has a compensation.
func compensates(step *jv1.Step) bool {
	return IsStateStep(StepKind(step)) || step.GetCompensate() != nil
}

// checkCompensation looks at how a step is undone. Its templates may also name outputs of the step itself.
func (s *stepCheck) checkCompensation() {
	spec, path := s.step.GetCompensate(), s.path+".compensate"
	if spec == nil || s.broken[path] {
		return
	}
	if reason := withoutEffect(s.step); reason != "" {
		s.problem(path, "compensate without effect: %s", reason)
		return
	}
	steps := slices.Concat(s.earlier(), []*jv1.Step{s.step})
	if retry := spec.GetRetry(); retry != nil {
		s.checkWaits(path+".retry", retry)
		if spec.GetHttpRequest() == nil {
			s.warn("%s: retry has no effect, a message is written once", path+".retry")
		}
	}
	if notify := spec.GetNotify(); notify != nil {
		s.notify(path+".notify.", notify, steps)
	}
	request := spec.GetHttpRequest()
	if request == nil {
		return
	}
	prefix := path + ".http_request."
	s.request(prefix, request, steps)
	switch {
	case request.GetRepeat() != jv1.Repeatability_REPEATABILITY_IDEMPOTENT:
		s.problem(prefix+"repeat", "what undoes a step is repeated with its key until it succeeds: it must be idempotent")
	case request.GetCheck() != nil:
		s.problem(prefix+"check", "what undoes a step is repeated, and not asked about")
	case len(request.GetOutputs()) > 0:
		s.problem(prefix+"outputs", "nothing comes after it that could use them")
	}
}

// checkWaits looks at the waits between attempts.
func (s *stepCheck) checkWaits(path string, retry *jv1.Retry) {
	initial, longest := retry.GetInitial(), retry.GetMax()
	if initial != nil && longest != nil && longest.AsDuration() < initial.AsDuration() {
		s.problem(path+".max", "the longest wait, %s, is shorter than the first, %s", words(longest.AsDuration()), words(initial.AsDuration()))
	}
}

// compensationSummary says in words how a step is undone. Empty: it is not.
func compensationSummary(step *jv1.Step) string {
	switch c := step.GetCompensate(); {
	case c.GetHttpRequest() != nil:
		return c.GetHttpRequest().GetMethod() + " " + c.GetHttpRequest().GetUrl()
	case c.GetNotify() != nil:
		return "tell " + strings.Join(c.GetNotify().GetChannels(), ", ")
	}
	return kinds()[StepKind(step)].compensation
}

// normalizeCompensation fills in what goes without saying: what undoes a step is repeated.
func normalizeCompensation(request *jv1.HttpRequestStep) {
	if request == nil {
		return
	}
	if request.Method == "" {
		request.Method = defaultMethod
	}
	setDefault(&request.Repeat, jv1.Repeatability_REPEATABILITY_IDEMPOTENT)
}

// simplifyCompensation is its inverse.
func simplifyCompensation(request *jv1.HttpRequestStep) {
	if request == nil {
		return
	}
	dropDefault(&request.Repeat, jv1.Repeatability_REPEATABILITY_IDEMPOTENT)
	if request.Method == defaultMethod {
		request.Method = ""
	}
}
