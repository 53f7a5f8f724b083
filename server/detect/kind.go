package detect

import (
	"context"
	"net/http"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
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

// speaksOf tells whether the detector observes the provider of the service.
func speaksOf(d *jv1.Detector, service, provider string) bool {
	return (d.GetService() == "" || d.GetService() == service) && (d.GetProvider() == "" || d.GetProvider() == provider)
}
