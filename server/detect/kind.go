package detect

import (
	"context"
	"fmt"
	"net/http"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/expr"
)

// probe observes one provider. It has to end when ctx does; one that doesn't, or that panics, is survived.
type probe interface {
	look(ctx context.Context) finding
}

// probeTools are what probes are made with.
type probeTools struct {
	transport http.RoundTripper
	network   *network
	now       func() time.Time
}

// rhythm is how often and how patiently a detector's probes look.
type rhythm struct {
	interval, timeout   time.Duration
	jitter              float64
	failures, successes int32
}

// kind is a way of probing. A new one is one file and one entry in kinds.
type kind struct {
	// has tells whether the detector is of the kind.
	has func(*jv1.Detector) bool
	// rhythm is how the detector is to look.
	rhythm func(*jv1.Detector) rhythm
	// check tells what is wrong with the detector by itself.
	check func(*jv1.Detector) error
	// probe makes the probe of a provider.
	probe func(*jv1.Detector, *jv1.Provider, probeTools) (probe, error)
}

// kinds returns the ways of probing.
func kinds() []kind {
	return []kind{
		{
			has: func(d *jv1.Detector) bool { return d.GetHttp() != nil },
			rhythm: func(d *jv1.Detector) rhythm {
				h := d.GetHttp()
				r := rhythm{
					interval: httpInterval(h), timeout: httpTimeout(h), jitter: defaultJitter,
					failures: h.GetFailures(), successes: h.GetSuccesses(),
				}
				if h.Jitter != nil {
					r.jitter = h.GetJitter()
				}
				return r
			},
			check: func(d *jv1.Detector) error {
				if src := d.GetHttp().GetExpect(); src != "" {
					if _, err := expr.CompileResponse(src); err != nil {
						return fmt.Errorf("http.expect: %w: %w", ErrInvalid, err)
					}
				}
				return nil
			},
			probe: func(d *jv1.Detector, p *jv1.Provider, tools probeTools) (probe, error) {
				return newHTTPProbe(d.GetHttp(), p, tools)
			},
		},
	}
}

func kindOf(d *jv1.Detector) (kind, bool) {
	for _, k := range kinds() {
		if k.has(d) {
			return k, true
		}
	}
	return kind{}, false
}

// Check tells what is wrong with a detector by itself: ErrUnsupported for a kind that this version can't run,
// ErrInvalid for a condition that doesn't compile or a detector that observes nothing. References to services and
// providers are not looked at.
func Check(d *jv1.Detector) error {
	if d.GetService() == "" && d.GetProvider() == "" {
		return fmt.Errorf("detector %s: neither service nor provider: %w", d.GetName(), ErrInvalid)
	}
	if d.GetWebhook() != nil {
		return nil
	}
	k, ok := kindOf(d)
	if !ok {
		return fmt.Errorf("detector %s: kind %s: %w", d.GetName(), kindName(d), ErrUnsupported)
	}
	if err := k.check(d); err != nil {
		return fmt.Errorf("detector %s: %w", d.GetName(), err)
	}
	return nil
}

// kindName is the name of the detector's kind in a file.
func kindName(d *jv1.Detector) string {
	set := d.ProtoReflect().WhichOneof(d.ProtoReflect().Descriptor().Oneofs().ByName("kind"))
	if set == nil {
		return "none"
	}
	return string(set.Name())
}

// classOf is the class of a detector's evidence; unspecified when it gives none.
func classOf(d *jv1.Detector) jv1.EvidenceClass {
	switch {
	case d.GetHttp() != nil, d.GetOpenai() != nil:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	case d.GetWebhook() != nil:
		return jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL
	case d.GetPassive() != nil:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PASSIVE
	case d.GetStatusFeed() != nil:
		return jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	default:
		return jv1.EvidenceClass_EVIDENCE_CLASS_UNSPECIFIED
	}
}

// speaksOf tells whether the detector observes the provider of the service.
func speaksOf(d *jv1.Detector, service, provider string) bool {
	return (d.GetService() == "" || d.GetService() == service) && (d.GetProvider() == "" || d.GetProvider() == provider)
}
