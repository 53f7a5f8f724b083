package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/credential"
)

// EventTypePrefix begins the CloudEvents type of a notification; open, update or resolve follows.
const EventTypePrefix = "io.jurymast.notification."

// webhook posts CloudEvents 1.0 in structured mode, so that the signature of the body covers the attributes as well,
// with the headers of Standard Webhooks.
type webhook struct {
	channel *jv1.WebhookChannel
	poster  poster
	source  string
}

func newWebhook(ch *jv1.Channel, o SenderOptions) Sender {
	return &webhook{channel: ch.GetWebhook(), poster: newPoster(o), source: o.Source}
}

// cloudEvent is the JSON form of an event (CloudEvents 1.0.2, JSON format).
type cloudEvent struct {
	SpecVersion     string           `json:"specversion"`
	ID              string           `json:"id"`
	Source          string           `json:"source"`
	Type            string           `json:"type"`
	Subject         string           `json:"subject,omitempty"`
	Time            string           `json:"time,omitempty"`
	DataContentType string           `json:"datacontenttype"`
	Data            notificationData `json:"data"`
}

// notificationData is the notification as receivers of events see it.
type notificationData struct {
	Name     string            `json:"name"`
	Channel  string            `json:"channel"`
	Kind     string            `json:"kind"`
	Severity string            `json:"severity"`
	Title    string            `json:"title"`
	Text     string            `json:"text,omitempty"`
	Service  string            `json:"service,omitempty"`
	Run      string            `json:"run,omitempty"`
	Step     string            `json:"step,omitempty"`
	Thread   string            `json:"thread,omitempty"`
	Details  map[string]string `json:"details,omitempty"`
	Drill    bool              `json:"drill"`
}

// Send posts the event. The body is the same at every attempt; the timestamp that is signed is the attempt's.
func (w *webhook) Send(ctx context.Context, n *jv1.Notification) (string, error) {
	if err := mustName(n); err != nil {
		return "", err
	}
	body, err := json.Marshal(event(n, w.source))
	if err != nil {
		return "", &Failure{Cause: CauseOther, Permanent: true, Err: fmt.Errorf("encode the event: %w", err)}
	}
	secret, err := resolveSecret("signing secret", w.channel.GetSecret())
	if err != nil {
		return "", err
	}
	now := w.poster.now()
	header := http.Header{}
	header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	header.Set("Idempotency-Key", n.GetName())
	header.Set("Webhook-Id", n.GetName())
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if secret != "" {
		keys, err := signingKeys(secret)
		if err != nil {
			return "", &Failure{Cause: CauseCredential, Err: err}
		}
		header.Set("Webhook-Signature", sign(keys, n.GetName(), now, body))
	}
	got, err := w.poster.send(ctx, post{
		address: w.channel.GetUrl(), secretAddress: credential.IsReference(w.channel.GetUrl()),
		header: header, body: body, secrets: []string{secret}, final: finalForMessage,
	})
	if err != nil {
		return "", err
	}
	return got.receipt(), nil
}

func event(n *jv1.Notification, source string) cloudEvent {
	e := cloudEvent{
		SpecVersion:     "1.0",
		ID:              n.GetName(),
		Source:          source,
		Type:            EventTypePrefix + kindWord(n.GetKind()),
		DataContentType: "application/json",
		Data: notificationData{
			Name: n.GetName(), Channel: n.GetChannel(), Kind: kindWord(n.GetKind()), Severity: severityWord(n.GetSeverity()),
			Title: n.GetTitle(), Text: n.GetText(), Service: n.GetService(), Run: n.GetRun(), Step: n.GetStep(),
			Thread: n.GetThread(), Details: n.GetDetails(), Drill: n.GetDrill(),
		},
	}
	if n.GetRun() != "" {
		e.Subject = "runs/" + n.GetRun()
	}
	if n.GetCreateTime() != nil {
		e.Time = n.GetCreateTime().AsTime().Format(time.RFC3339Nano)
	}
	return e
}
