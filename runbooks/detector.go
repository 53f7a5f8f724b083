package runbooks

import (
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

	"github.com/jurymast/jurymast/runbooks/expr"
)

// laterDetectors are the kinds of detectors that the API knows and this version can't run.
var laterDetectors = []string{"passive", "openai", "status_feed"}

// DetectorKind returns the kind of a detector as files write it, e.g. `http`. Empty: it has none.
func DetectorKind(d *jv1.Detector) string {
	m := d.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// ValidateDetector finds what is wrong with a detector. The catalog may be nil, see Catalog.
func ValidateDetector(d *jv1.Detector, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	r := newReport("detector", d.GetName(), catalog)
	validateDetector(r, d)
	return r.problems, r.warnings
}

func validateDetector(r *report, d *jv1.Detector) {
	if d == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(d)
	if kind := DetectorKind(d); slices.Contains(laterDetectors, kind) {
		r.problem(kind, "detector kind %s is not available in this version: remove the detector, or upgrade", kind)
		return
	}
	checkObserved(r, d)
	if probe := d.GetHttp(); probe != nil {
		checkProbe(r, d, probe)
	}
	if webhook := d.GetWebhook(); webhook.GetFormat() == jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL {
		if webhook.GetAlertname() != "" {
			r.problem("webhook.alertname", "only alerts have a name: use it with format alertmanager")
		}
		if len(webhook.GetLabels()) > 0 {
			r.problem("webhook.labels", "only alerts are chosen by labels: use it with format alertmanager")
		}
	}
}

// checkObserved looks at the service and the provider a detector speaks of.
func checkObserved(r *report, d *jv1.Detector) {
	if d.GetService() == "" {
		r.problem("service", "must be given: the service that the detector observes")
		return
	}
	s, ok := r.catalog.Services[d.GetService()]
	if !ok {
		r.missing("service", "service", d.GetService(), names(r.catalog.Services))
		return
	}
	if list := providerNames(s); d.GetProvider() != "" && !slices.Contains(list, d.GetProvider()) {
		r.problem("provider", "%s is not a provider of %s%s", d.GetProvider(), s.GetName(), alternatives(d.GetProvider(), list))
	}
}

func checkProbe(r *report, d *jv1.Detector, probe *jv1.HttpProbe) {
	interval := defaultInterval
	if probe.GetInterval() != nil {
		interval = probe.GetInterval().AsDuration()
	}
	if t := probe.GetTimeout(); t != nil && t.AsDuration() > interval {
		r.problem("http.timeout", "%s is longer than the time between two probes, %s", words(t.AsDuration()), words(interval))
	}
	if probe.GetBody() != "" && probe.GetMethod() != "POST" {
		r.problem("http.body", "only a POST has a body: give method: POST")
	}
	if probe.GetExpect() != "" {
		s := &stepCheck{runbookCheck: &runbookCheck{report: r}}
		condition, err := expr.CompileResponse(probe.GetExpect())
		if err != nil {
			s.refuse("http.expect", err)
		} else if probe.GetMethod() == "HEAD" && condition.Reads("json") {
			r.problem("http.expect", "the answer to a HEAD has no body, so there is no json")
		}
	}
	if probe.GetAuthenticate() {
		warnOfCredentials(r, d)
	}
	if interval < time.Second && probe.GetAuthenticate() {
		r.warn("it calls the provider with our credential every %s", words(interval))
	}
}

// warnOfCredentials names the providers that a probe is to call with a credential and that have none.
func warnOfCredentials(r *report, d *jv1.Detector) {
	for _, name := range providerNames(r.catalog.Services[d.GetService()]) {
		p, ok := r.catalog.Providers[name]
		if ok && p.GetCredential() == "" && (d.GetProvider() == "" || d.GetProvider() == name) {
			r.warn("http.authenticate has no effect for %s, which has no credential", name)
		}
	}
}
