package runbooks

import (
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

	"github.com/jurymast/jurymast/runbooks/rules"
)

// ClassOf is the evidence class of what a detector says. Unspecified: the detector has no kind.
func ClassOf(d *jv1.Detector) jv1.EvidenceClass {
	switch d.GetKind().(type) {
	case *jv1.Detector_Http, *jv1.Detector_Openai:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	case *jv1.Detector_Webhook:
		return jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL
	case *jv1.Detector_Passive:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PASSIVE
	case *jv1.Detector_StatusFeed:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	}
	return jv1.EvidenceClass_EVIDENCE_CLASS_UNSPECIFIED
}

// unmet says why the rule can't make a provider FAILING by what is configured, as a named reason. Empty: it can.
type unmet string

const (
	met           unmet = ""
	nobodyLooks   unmet = "nobody looks"
	feedAlone     unmet = "only the status page"
	tooFewClasses unmet = "too few classes"
	tooFewPlaces  unmet = "one class, one vantage"
)

// judge tells whether a failing rule can be met by evidence of the classes, seen from a number of vantages; zero
// vantages are taken for one, which is how an installation begins.
func judge(rule *jv1.FailingRule, classes []jv1.EvidenceClass, vantages int) unmet {
	counted := slices.Clone(classes)
	if of := machineClasses(rule.GetOf()); len(rule.GetOf()) > 0 {
		counted = slices.DeleteFunc(counted, func(c jv1.EvidenceClass) bool { return !slices.Contains(of, c) })
	}
	switch agree := int(rule.GetAgree()); {
	case len(counted) == 0:
		return nobodyLooks
	case len(counted) == 1 && counted[0] == jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED:
		return feedAlone
	case agree > 0 && len(counted) < agree:
		return tooFewClasses
	case agree > 0 || len(counted) >= 2:
		return met
	case vantages >= 2 && counted[0] == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE:
		return met
	}
	return tooFewPlaces
}

// warnOfHealthRule says which providers of a service no machine can find failing.
func warnOfHealthRule(r *report, s *jv1.Service) {
	rule := s.GetHealth().GetFailing()
	byReason := map[unmet][]string{}
	seen := map[jv1.EvidenceClass]bool{}
	for _, p := range providerNames(s) {
		var classes []jv1.EvidenceClass
		for _, d := range r.catalog.observers(s.GetName()) {
			if class := ClassOf(d); class != 0 && (d.GetProvider() == "" || d.GetProvider() == p) {
				seen[class] = true
				if !slices.Contains(classes, class) {
					classes = append(classes, class)
				}
			}
		}
		reason := judge(rule, classes, r.catalog.Vantages)
		byReason[reason] = append(byReason[reason], p)
	}
	say := func(reason unmet, format string, args ...any) {
		if list := byReason[reason]; len(list) > 0 {
			r.warn("no machine can find %s failing: "+format, append([]any{strings.Join(list, ", ")}, args...)...)
		}
	}
	if r.catalog.partial && len(seen) == 0 {
		return // the detectors are elsewhere
	}
	say(nobodyLooks, "no detector whose evidence counts observes it")
	say(feedAlone, "its own status page never suffices alone, add a probe")
	say(tooFewClasses, "%d classes of evidence must agree and fewer are configured: add a detector of another class, or set health.failing.agree to 1",
		rule.GetAgree())
	say(tooFewPlaces, "two classes of evidence must agree, or probes of two replicas: add a detector of another class, or set health.failing.agree to 1")
	for _, class := range machineClasses(rule.GetOf()) {
		if !seen[class] && len(seen) > 0 {
			r.warn("health.failing.of names %s, but no detector of that class observes the service", className(class))
		}
	}
}

func className(class jv1.EvidenceClass) string {
	value := class.Descriptor().Values().ByNumber(class.Number())
	if value == nil {
		return class.String()
	}
	return rules.EnumWord(value)
}
