package detect

import (
	"fmt"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Warnings says for which providers of a service the health rule can't be met by the given detectors on an installation
// of so many replicas, so that no machine would ever call them failing. One sentence for each, none when all is well.
func Warnings(service *jv1.Service, detectors []*jv1.Detector, replicas int) []string {
	var warnings []string
	for _, p := range service.GetProviders() {
		if w := warning(service, p.GetName(), detectors, replicas); w != "" {
			warnings = append(warnings, w)
		}
	}
	return warnings
}

func warning(service *jv1.Service, provider string, detectors []*jv1.Detector, replicas int) string {
	var found [classes]bool
	for _, d := range detectors {
		if class := classOf(d); speaksOf(d, service.GetName(), provider) && counts(service.GetHealth(), class) && Check(d) == nil {
			found[class] = true
		}
	}
	var n int
	for _, f := range found {
		if f {
			n++
		}
	}
	feed := found[jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED]
	probed := found[jv1.EvidenceClass_EVIDENCE_CLASS_PROBE]
	need := int(service.GetHealth().GetFailing().GetAgree())
	subject := fmt.Sprintf("service %s: provider %s can never be judged FAILING: ", service.GetName(), provider)
	const remedy = "; add a detector of another class, or lower health.failing.agree"
	switch {
	case n == 0:
		return subject + "no detector that counts observes it" + remedy
	case n == 1 && feed:
		return subject + "only its own status page is read, which never counts alone" + remedy
	case need > 0 && n < need:
		return subject + fmt.Sprintf("health.failing.agree asks for %d evidence classes, its detectors give %d", need, n) + remedy
	case need == 0 && n < 2 && !probed:
		return subject + "two evidence classes must agree, its detectors give one" + remedy
	case need == 0 && n < 2 && replicas < 2:
		return subject + "two evidence classes must agree, or probes of two replicas, and there is one class and one replica" +
			"; add a detector of another class or a replica, or set health.failing.agree to 1"
	}
	return ""
}
