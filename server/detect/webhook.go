package detect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// maxBody is the most bytes of a posted body.
const maxBody = 1 << 20

// receipt answers a sender.
type receipt struct {
	// Accepted signals are new.
	Accepted int `json:"accepted"`
	// Absorbed ones were known, or older than what is stored.
	Absorbed int `json:"absorbed"`
	// Ignored alerts are none the detector asks for, or speak of a provider it may not speak of.
	Ignored int `json:"ignored,omitempty"`
}

// Handler serves `POST /v1/webhooks/alertmanager/{source}` and `POST /v1/signals/{source}`. It answers 2xx only when
// everything is stored durably, 503 with Retry-After when the sender shall come back, and 4xx when that would not help.
// Senders show the secret of their detector as a bearer token; where it has none, Options.Authorize decides.
func (d *Detect) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/webhooks/alertmanager/{source}", d.receive(jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER, d.takeAlerts))
	mux.Handle("/v1/signals/{source}", d.receive(jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL, d.takeSignal))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { d.refuse(w, "", ErrUnknownSource) })
	return mux
}

// receive does what all bodies have in common: method, source, sender, type and size.
func (d *Detect) receive(format jv1.WebhookFormat, take func(context.Context, string, []byte) (receipt, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			d.fail(w, refusal{http.StatusMethodNotAllowed, codes.Unimplemented, "NOT_FOUND", "use POST"})
			return
		}
		name := r.PathValue("source")
		var src source
		var err error
		d.opts.Store.Read(func(v store.View) { src, err = sourceOf(v, d.opts.Store.Freshness(), name, format) })
		if err != nil {
			d.refuse(w, "", err)
			return
		}
		if err := d.admit(r, src.detector.Msg.GetWebhook().GetSecret()); err != nil {
			d.refuse(w, name, err)
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			d.metrics.taken(name, "refused", 1)
			d.fail(w, refusal{http.StatusUnsupportedMediaType, codes.InvalidArgument, "INVALID", "Content-Type must be application/json"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			d.refuse(w, name, err)
			return
		}
		got, err := take(r.Context(), name, body)
		if err != nil {
			d.refuse(w, name, err)
			return
		}
		answer(w, http.StatusOK, got)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a sender that is gone needs no answer
}

// takeSignal takes our own body in.
func (d *Detect) takeSignal(ctx context.Context, name string, body []byte) (receipt, error) {
	s, err := parseSignal(body)
	if err != nil {
		return receipt{}, err
	}
	groups, err := d.entries(name, []*jv1.Signal{s})
	if err != nil {
		return receipt{}, err
	}
	var got receipt
	got.Accepted, got.Absorbed, err = d.keep(ctx, name, groups)
	return got, err
}

// takeAlerts takes Alertmanager's body in.
func (d *Detect) takeAlerts(ctx context.Context, name string, body []byte) (receipt, error) {
	g, err := parseAlertmanager(body)
	if err != nil {
		return receipt{}, err
	}
	if g.TruncatedAlerts > 0 {
		d.log.Warn("alerts were left out by the sender", telemetry.KeyDetector, name, telemetry.KeyCount, g.TruncatedAlerts)
	}
	groups, refused, err := d.alertEntries(name, g)
	if err != nil {
		return receipt{}, err
	}
	got := receipt{Ignored: len(g.Alerts) - len(groups)}
	d.metrics.taken(name, "ignored", got.Ignored)
	if len(groups) == 0 && refused != nil {
		return receipt{}, refused
	}
	if refused != nil {
		d.log.Warn("alert ignored", telemetry.KeyDetector, name, telemetry.KeyError, refused)
	}
	got.Accepted, got.Absorbed, err = d.keep(ctx, name, groups)
	return got, err
}

// alertEntries binds the alerts of a group that the detector asks for. An alert that speaks of somebody else's provider
// or of the future is left out, with the reason of the last such one; the others count.
func (d *Detect) alertEntries(name string, g alertGroup) (groups [][]entry, refused, err error) {
	now := d.opts.Now()
	d.opts.Store.Read(func(v store.View) {
		var src source
		if src, err = sourceOf(v, d.opts.Store.Freshness(), name, jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER); err != nil {
			return
		}
		for i := range g.Alerts {
			a := &g.Alerts[i]
			if !a.wanted(src.detector.Msg.GetWebhook()) {
				continue
			}
			group, why := src.alert(a, g.GroupKey, now)
			if why != nil {
				refused = fmt.Errorf("alerts[%d]: %w", i, why)
				continue
			}
			groups = append(groups, group)
		}
	})
	return groups, refused, err
}

// alert makes the entries of one alert. A detector that is bound to no provider takes the alert's label `provider`.
func (s source) alert(a *alert, groupKey string, now time.Time) ([]entry, error) {
	d := s.detector.Msg
	provider := d.GetProvider()
	if provider == "" {
		provider = a.Labels["provider"]
	}
	pairs, err := s.binds("", provider)
	if err != nil {
		return nil, err
	}
	group := make([]entry, 0, len(pairs))
	for _, p := range pairs {
		signal, err := a.signal(groupKey, orDefault(d.GetWebhook().GetValidFor(), defaultReportValidity), now)
		if err != nil {
			return nil, err
		}
		signal.Source, signal.Service, signal.Provider = d.GetName(), p.service, p.provider
		group = append(group, entry{pair: p, source: d.GetName(), subject: a.Fingerprint, signal: signal, begins: a.StartsAt})
	}
	return group, nil
}

// bearer is the token a request shows.
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
