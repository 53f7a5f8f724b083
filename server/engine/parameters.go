package engine

import (
	"fmt"
	"maps"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// parameters are the given ones with the runbook's defaults beneath.
func (s *start) parameters() map[string]string {
	out := map[string]string{}
	for name, p := range s.plan.Msg.GetParameters() {
		if p.GetDefault() != "" {
			out[name] = p.GetDefault()
		}
	}
	maps.Copy(out, s.given())
	return out
}

// given are the parameters that the start gives. A trigger that names no runbook speaks to all that match: each takes
// what it knows.
func (s *start) given() map[string]string {
	if s.trigger == nil || s.trigger.GetRunbook() != "" {
		return s.params
	}
	out := maps.Clone(s.params)
	maps.DeleteFunc(out, func(name, _ string) bool { return s.plan.Msg.GetParameters()[name] == nil })
	return out
}

// checkParameters refuses what an automatic start gives. The runbook or its service may have changed since the trigger
// was accepted.
func (s *start) checkParameters() *continuity.Refusal {
	problems := runbooks.CheckParameters(s.plan.Msg, s.desk.Service.Msg, s.given())
	if len(problems) == 0 {
		return nil
	}
	return continuity.Refuse(continuity.Parameters, "%s", words(problems))
}

// checkParameters refuses what a client gives, with every reason; the error is an ErrInvalid.
func checkParameters(v store.View, plan *jv1.Runbook, service string, given map[string]string) error {
	problems := runbooks.CheckParameters(plan, store.Get[*jv1.Service](v, store.ServiceKey(service)).Msg, given)
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", words(problems), ErrInvalid)
}

func words(problems []runbooks.ParameterProblem) string {
	texts := make([]string, 0, len(problems))
	for _, p := range problems {
		texts = append(texts, fmt.Sprintf("%s (%s)", p.Message, p.Reason))
	}
	return strings.Join(texts, "; ")
}
