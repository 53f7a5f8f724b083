package detect

import (
	"fmt"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// source is a detector that takes signals in, as the store has it.
type source struct {
	detector store.Record[*jv1.Detector]
	view     store.View // only inside the read it was made in
}

// sourceOf finds the detector a sender speaks as. While the store is away, a name that isn't known may be a new one:
// ErrUnavailable, so that the sender comes back.
func sourceOf(v store.View, fresh store.Freshness, name string, format jv1.WebhookFormat) (source, error) {
	d := store.Get[*jv1.Detector](v, store.DetectorKey(name))
	switch {
	case d.Msg != nil && d.Msg.GetWebhook().GetFormat() == format:
		return source{detector: d, view: v}, nil
	case !fresh.Live:
		return source{}, fmt.Errorf("source %s is not known yet: %w", name, ErrUnavailable)
	case d.Msg != nil:
		return source{}, fmt.Errorf("detector %s does not take signals in this form: %w", name, ErrUnknownSource)
	default:
		return source{}, fmt.Errorf("detector %s: %w", name, ErrUnknownSource)
	}
}

// binds returns what the sender speaks of when it names this service and provider, each of which may be empty: the
// detector's, and nothing else. ErrNotBound when that is not the detector's to speak of.
func (s source) binds(service, provider string) ([]pair, error) {
	d := s.detector.Msg
	if d.GetService() != "" && service == "" {
		service = d.GetService()
	}
	if d.GetProvider() != "" && provider == "" {
		provider = d.GetProvider()
	}
	switch {
	case !speaksOf(d, service, provider):
		return nil, fmt.Errorf("detector %s may not speak of service %q, provider %q: %w", d.GetName(), service, provider, ErrNotBound)
	case provider == "":
		return nil, fmt.Errorf("detector %s is bound to no provider, so the signal has to name one: %w", d.GetName(), ErrInvalid)
	}
	var pairs []pair
	for _, svc := range store.List[*jv1.Service](s.view, store.Services) {
		if (service == "" || svc.Msg.GetName() == service) && declares(svc.Msg, provider) {
			pairs = append(pairs, pair{svc.Msg.GetName(), provider})
		}
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("service %q has no provider %q: %w", service, provider, ErrNotBound)
	}
	return pairs, nil
}
