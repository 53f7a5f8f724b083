package runbooks

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ValidateService finds what is wrong with a service. The catalog may be nil, see Catalog.
func ValidateService(s *jv1.Service, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	r := newReport("service", s.GetName(), catalog)
	validateService(r, s)
	return r.problems, r.warnings
}

func validateService(r *report, s *jv1.Service) {
	if s == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(s)
	checkServiceProviders(r, s)
	checkTimeouts(r, s.GetTimeouts())
	if _, ok := jv1.OnAmbiguous_name[int32(s.GetQueueing().GetOnAmbiguous())]; !ok {
		r.problem("queueing.on_ambiguous", "must be one of park, resend")
	}
	checkRepeated(r, "match.paths", s.GetMatch().GetPaths())
	checkRepeated(r, "match.models", s.GetMatch().GetModels())
	checkFailingRule(r, s.GetHealth().GetFailing())
	warnOfHealthRule(r, s)
}

func checkServiceProviders(r *report, s *jv1.Service) {
	list := providerNames(s)
	for i, name := range list {
		field := at("providers", i) + ".name"
		if slices.Contains(list[:i], name) {
			r.problem(field, "%s is listed before", name)
			continue
		}
		p, ok := r.catalog.Providers[name]
		if !ok {
			r.missing(field, "provider", name, names(r.catalog.Providers))
			continue
		}
		if lacking := lacks(p, s.GetNeeds()); len(lacking) > 0 {
			r.warn("%s: %s does not offer %s, which the service needs: no switch will choose it", field, name, strings.Join(lacking, ", "))
		}
		if short := Shortage(s, name); short != "" {
			r.warn("%s: %s: no switch will choose it", at("providers", i)+".limits", short)
		}
		if other := OtherModels(s, name); other != "" {
			r.warn("%s: only the same models may serve, but %s: no switch will choose it (same_models says that they are the same under other names)",
				at("providers", i)+".models", other)
		}
	}
}

// lacks lists the needs that a provider does not offer. One that says nothing of its capabilities is not restricted.
func lacks(p *jv1.Provider, needs []string) []string {
	if len(p.GetCapabilities()) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(needs), func(need string) bool { return slices.Contains(p.GetCapabilities(), need) })
}

func checkTimeouts(r *report, t *jv1.Timeouts) {
	total := t.GetTotal()
	if total == nil || total.AsDuration() == 0 {
		return
	}
	within := func(field string, d *durationpb.Duration) {
		if d != nil && d.AsDuration() > total.AsDuration() {
			r.problem(field, "%s is longer than the whole request may take, %s", words(d.AsDuration()), words(total.AsDuration()))
		}
	}
	within("timeouts.first_byte", t.GetFirstByte())
	within("timeouts.idle", t.GetIdle())
}

func checkRepeated(r *report, field string, list []string) {
	for i, entry := range list {
		if slices.Contains(list[:i], entry) {
			r.problem(at(field, i), "%s is listed before", entry)
		}
	}
}

// checkFailingRule finds a rule that no installation could meet.
func checkFailingRule(r *report, rule *jv1.FailingRule) {
	of := machineClasses(rule.GetOf())
	if len(of) == 0 {
		return // all count, or none but the operator
	}
	if agree := int(rule.GetAgree()); agree > len(of) {
		r.problem("health.failing.agree", "%d classes must agree, but of names %d: name more classes, or let fewer agree", agree, len(of))
		return
	}
	if len(of) == 1 && of[0] == jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED {
		r.problem("health.failing.of", "a provider's own status page never makes it failing by itself: name another class")
	}
}

// machineClasses leaves out the operator, whose word counts always, and alone.
func machineClasses(of []jv1.EvidenceClass) []jv1.EvidenceClass {
	return slices.DeleteFunc(slices.Clone(of), func(c jv1.EvidenceClass) bool {
		return c == jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR
	})
}
