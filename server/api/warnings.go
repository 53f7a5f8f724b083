package api

import (
	"fmt"
	"slices"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// warnings tells what will not work as it may look, of the services that the batch is about.
func warnings(c *catalog, batch []*declared) []string {
	var names []string
	for _, d := range batch {
		switch m := d.msg.(type) {
		case *jv1.Service:
			names = append(names, m.GetName())
		case *jv1.Detector:
			names = append(names, m.GetService())
		}
	}
	slices.Sort(names)
	var out []string
	replicas := map[string]bool{}
	for _, r := range store.List[*recordv1.Session](c.view, store.Sessions) {
		replicas[r.Msg.GetReplica()] = true
	}
	for _, name := range slices.Compact(names) {
		if s := get[*jv1.Service](c, store.ServiceKey(name)); s != nil {
			var observers []*jv1.Detector
			each(c, kinds["detector"], func(d *jv1.Detector) {
				if d.GetService() == name {
					observers = append(observers, d)
				}
			})
			if w := quorumWarning(s, observers, len(replicas)); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// quorumWarning tells when the rule by which a provider of the service counts as failing can't be met by the detectors
// and replicas there are: then nothing ever fails over by itself. Empty when it can.
func quorumWarning(s *jv1.Service, observers []*jv1.Detector, replicas int) string {
	rule := s.GetHealth().GetFailing()
	var classes []jv1.EvidenceClass
	probes := 0
	for _, d := range observers {
		class := evidenceClass(d)
		if len(rule.GetOf()) > 0 && !slices.Contains(rule.GetOf(), class) {
			continue
		}
		if class == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE {
			probes++
		}
		if !slices.Contains(classes, class) {
			classes = append(classes, class)
		}
	}
	there := "no detector that counts"
	if len(classes) > 0 {
		there = "only " + strings.Join(classNames(classes), " and ") + " evidence"
	}
	feedAlone := len(classes) == 1 && classes[0] == jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	switch agree := int(rule.GetAgree()); {
	case agree > 0 && len(classes) >= agree && !feedAlone:
		return ""
	case agree == 0 && (len(classes) >= 2 || probes > 0 && replicas >= 2):
		return ""
	case agree == 0:
		return fmt.Sprintf("service %s: its providers can never count as failing by themselves: that needs two evidence classes, or a probe on "+
			"at least two replicas, and there is %s on %d; add a detector of another class, or set health.failing.agree to 1",
			s.GetName(), there, replicas)
	case feedAlone:
		return fmt.Sprintf("service %s: its providers can never count as failing by themselves: a provider's own status page is not enough", s.GetName())
	default:
		return fmt.Sprintf("service %s: its providers can never count as failing by themselves: health.failing.agree is %d, and there is %s",
			s.GetName(), agree, there)
	}
}

// evidenceClass is the class of a detector's signals.
func evidenceClass(d *jv1.Detector) jv1.EvidenceClass {
	switch d.GetKind().(type) {
	case *jv1.Detector_Http, *jv1.Detector_Openai:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	case *jv1.Detector_Webhook:
		return jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL
	case *jv1.Detector_Passive:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PASSIVE
	case *jv1.Detector_StatusFeed:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	default:
		return jv1.EvidenceClass_EVIDENCE_CLASS_UNSPECIFIED
	}
}

func classNames(classes []jv1.EvidenceClass) []string {
	var out []string
	for _, c := range classes {
		out = append(out, strings.ToLower(strings.TrimPrefix(c.String(), "EVIDENCE_CLASS_")))
	}
	return out
}
