package runbooks

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/message"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// stepCheck is what the checks of one step share.
type stepCheck struct {
	*runbookCheck
	step   *jv1.Step   // normalised
	before []*jv1.Step // the steps that have ended when this one begins, with those inside of them
	path   string      // of the step, e.g. `steps[2].parallel.steps[1]`
	kind   string
}

// checkSteps looks at all steps of a list, and those inside of them. The given ones tell what was written and what was
// filled in. Steps that run side by side don't come before each other.
func (c *runbookCheck) checkSteps(path string, steps, given, before []*jv1.Step, parallel bool) {
	all := kinds()
	for i, step := range steps {
		s := &stepCheck{runbookCheck: c, step: step, before: before, path: at(path, i), kind: StepKind(step)}
		if !parallel {
			before = append(slices.Clip(before), flat(steps[i:i+1])...)
		}
		if s.kind == "" {
			continue // the rules have said so
		}
		if all[s.kind].check == nil {
			s.problem(s.path+"."+s.kind, "step kind %s is not available in this version: remove the step, or upgrade", s.kind)
			continue
		}
		s.checkCommon(given[i])
		if step.GetEssential() && !parallel {
			s.warn("%s: it counts only inside of a parallel step", s.path+".essential")
		}
		all[s.kind].check(s)
		if inner := step.GetParallel().GetSteps(); len(inner) > 0 {
			c.checkSteps(s.path+".parallel.steps", inner, given[i].GetParallel().GetSteps(), s.before, true)
		}
	}
}

// field is the path of a field of the step's action.
func (s *stepCheck) field(name string) string { return s.path + "." + s.kind + "." + name }

// limit is how long the step may take, as far as it is said; name says where.
func (s *stepCheck) limit() (d time.Duration, name string) {
	if t := s.step.GetTimeout(); t != nil && t.AsDuration() < s.timeout {
		return t.AsDuration(), "the step's timeout"
	}
	return s.timeout, "the time a run may take"
}

// within checks that a duration fits into the time the step has.
func (s *stepCheck) within(field string, d *durationpb.Duration, what string) {
	if limit, name := s.limit(); d != nil && d.AsDuration() > limit {
		s.problem(field, "%s of %s is longer than %s, %s", what, words(d.AsDuration()), name, words(limit))
	}
}

// checkCommon looks at what every kind of step has.
func (s *stepCheck) checkCommon(given *jv1.Step) {
	if s.step.GetIf() != "" {
		s.condition(s.path+".if", s.step.GetIf())
	}
	if t := s.step.GetTimeout(); t != nil && s.kind != "approval" && t.AsDuration() > s.timeout {
		s.problem(s.path+".timeout", "the step's timeout of %s is longer than the time a run may take, %s",
			words(t.AsDuration()), words(s.timeout))
	}
	if e := s.step.GetExpected(); e != nil {
		s.within(s.path+".expected", e, "an expected duration")
		if s.kind == "approval" {
			s.problem(s.path+".expected", "how long people take is not expected: the runbook's escalation tells further people when nobody answers")
		}
	}
	if retry := s.step.GetRetry(); retry != nil {
		s.checkRetry(retry)
	}
	s.checkCompensation()
	if given.GetOnFailure() == jv1.OnFailure_ON_FAILURE_COMPENSATE && !s.undoes() {
		s.warn("%s: there is nothing to compensate: no step up to here changes the state of a service, or has a compensate", s.path+".on_failure")
	}
}

func (s *stepCheck) checkRetry(retry *jv1.Retry) {
	s.checkWaits(s.path+".retry", retry)
	if s.kind != "http_request" {
		s.warn("%s: retry has no effect, a %s step makes no attempts that fail", s.path+".retry", s.kind)
	}
}

// undoes tells whether a step up to this one changes what can be undone.
func (s *stepCheck) undoes() bool {
	return slices.ContainsFunc(append(slices.Clip(s.before), flat([]*jv1.Step{s.step})...), func(step *jv1.Step) bool {
		return compensates(step) || step.GetRunRunbook() != nil
	})
}

// condition compiles an expression of the step: it may refer to the steps before it.
func (s *stepCheck) condition(field, src string) {
	if s.broken[field] {
		return
	}
	compiled, err := expr.Compile(src, Scope(s.rb, s.earlier()))
	if err != nil {
		s.refuse(field, err)
		return
	}
	for _, name := range compiled.Keys("health") {
		s.provider(field, name)
	}
}

// earlier are the steps that have ended when this one begins.
func (s *stepCheck) earlier() []*jv1.Step { return s.before }

// isLater tells whether an id is that of a step that has not ended when this one begins.
func (s *stepCheck) isLater(id string) bool {
	is := func(step *jv1.Step) bool { return step.GetId() == id }
	return slices.ContainsFunc(Steps(s.rb), is) && !slices.ContainsFunc(s.before, is)
}

// refuse tells each problem of an expression with its place inside it.
func (s *stepCheck) refuse(field string, err error) {
	compileError, ok := errors.AsType[*expr.Error](err)
	if !ok {
		s.problem(field, "%v", err)
		return
	}
	for _, p := range compileError.Problems {
		if p.Step != "" && s.isLater(p.Step) {
			p.Message = fmt.Sprintf("step %q has not ended yet: a condition may refer to the steps before it", p.Step)
		}
		s.problem(field, "%s", p)
	}
}

// references checks what a template names: declared parameters, and outputs that the given steps have.
func (s *stepCheck) references(field string, text *message.Text, steps []*jv1.Step) {
	s.parameters(field, text.Params())
	for _, ref := range text.Outputs() {
		i := slices.IndexFunc(steps, func(step *jv1.Step) bool { return step.GetId() == ref.Step })
		if i < 0 {
			ids := make([]string, 0, len(steps))
			for _, step := range steps {
				ids = append(ids, step.GetId())
			}
			switch {
			case s.isLater(ref.Step):
				s.problem(field, "%v: step %q has not ended yet: a template may name outputs of the steps before it", ref, ref.Step)
			default:
				s.problem(field, "%v: unknown step %q%s", ref, ref.Step, alternatives(ref.Step, ids))
			}
			continue
		}
		outputs := Outputs(steps[i])
		if _, ok := outputs[ref.Name]; !ok {
			s.problem(field, "%v: the step %q gives no output %q%s", ref, ref.Step, ref.Name, alternatives(ref.Name, names(outputs)))
		}
	}
}

func checkNothing(*stepCheck) {}
