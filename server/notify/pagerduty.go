package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// PagerDutyURL is the address of PagerDuty's Events API v2.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// Limits of the Events API v2, in characters.
const (
	pagerDutySummary = 1024
	pagerDutyKey     = 255
)

// pagerDuty sends to the Events API v2. A thread is one alert: its messages share the dedup key, which is what makes a
// repeated delivery harmless there.
type pagerDuty struct {
	channel *jv1.PagerDutyChannel
	poster  poster
	source  string
}

func newPagerDuty(ch *jv1.Channel, o SenderOptions) Sender {
	return &pagerDuty{channel: ch.GetPagerduty(), poster: newPoster(o), source: o.Source}
}

type pagerDutyEvent struct {
	RoutingKey  string            `json:"routing_key"`
	EventAction string            `json:"event_action"`
	DedupKey    string            `json:"dedup_key"`
	Client      string            `json:"client,omitempty"`
	Payload     *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyPayload struct {
	Summary       string            `json:"summary"`
	Source        string            `json:"source"`
	Severity      string            `json:"severity"`
	Timestamp     string            `json:"timestamp,omitempty"`
	Component     string            `json:"component,omitempty"`
	Group         string            `json:"group,omitempty"`
	Class         string            `json:"class,omitempty"`
	CustomDetails map[string]string `json:"custom_details,omitempty"`
}

// Send triggers the thread's alert, or resolves it.
func (p *pagerDuty) Send(ctx context.Context, n *jv1.Notification) (string, error) {
	if err := mustName(n); err != nil {
		return "", err
	}
	key, err := resolveSecret("routing key", p.channel.GetRoutingKey())
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(p.event(n, key))
	if err != nil {
		return "", &Failure{Cause: CauseOther, Permanent: true, Err: fmt.Errorf("encode the event: %w", err)}
	}
	address := p.channel.GetUrl()
	if address == "" {
		address = PagerDutyURL
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Idempotency-Key", n.GetName())
	got, err := p.poster.send(ctx, post{
		address: address, header: header, body: body, secrets: []string{key}, final: finalForPagerDuty,
	})
	if err != nil {
		return "", err
	}
	return pagerDutyReceipt(got), nil
}

// finalForPagerDuty follows the API's documentation: 429 and 5xx may be repeated, other refusals never succeed.
func finalForPagerDuty(status int) bool { return status != http.StatusRequestTimeout }

func (p *pagerDuty) event(n *jv1.Notification, key string) pagerDutyEvent {
	e := pagerDutyEvent{RoutingKey: key, EventAction: "trigger", DedupKey: dedupKey(n), Client: "Jurymast"}
	if n.GetKind() == jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE {
		e.EventAction = "resolve"
	}
	e.Payload = &pagerDutyPayload{
		Summary:       cut(headline(n), pagerDutySummary),
		Source:        n.GetService(),
		Severity:      severityWord(n.GetSeverity()),
		Component:     n.GetService(),
		Group:         n.GetThread(),
		Class:         kindWord(n.GetKind()),
		CustomDetails: pagerDutyDetails(n),
	}
	if e.Payload.Source == "" {
		e.Payload.Source = p.source
	}
	if n.GetCreateTime() != nil {
		e.Payload.Timestamp = n.GetCreateTime().AsTime().Format(time.RFC3339Nano)
	}
	return e
}

// dedupKey names the alert of a notification's thread. A resolve with a key that was never triggered is ignored there.
func dedupKey(n *jv1.Notification) string {
	thread := n.GetThread()
	if thread == "" {
		thread = n.GetName()
	}
	const prefix = "jurymast/"
	if len(prefix+thread) <= pagerDutyKey {
		return prefix + thread
	}
	sum := sha256.Sum256([]byte(thread))
	return prefix + hex.EncodeToString(sum[:])
}

func pagerDutyDetails(n *jv1.Notification) map[string]string {
	details := maps.Clone(n.GetDetails())
	if details == nil {
		details = map[string]string{}
	}
	for name, value := range map[string]string{
		"text": n.GetText(), "run": n.GetRun(), "step": n.GetStep(), "notification": n.GetName(),
	} {
		if value != "" {
			details[name] = value
		}
	}
	if n.GetDrill() {
		details["drill"] = strconv.FormatBool(true)
	}
	return details
}

// pagerDutyReceipt is the status and the alert's key, which PagerDuty repeats.
func pagerDutyReceipt(got answer) string {
	var said struct {
		DedupKey string `json:"dedup_key"`
	}
	if err := json.Unmarshal(got.body, &said); err != nil || said.DedupKey == "" {
		return got.receipt()
	}
	return got.receipt() + ", dedup_key " + cut(said.DedupKey, pagerDutyKey)
}
