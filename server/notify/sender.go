package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Sender sends notifications to one channel.
type Sender interface {
	// Send makes one attempt and returns what the receiver answered. The error is a [Failure] and holds no secret.
	// Safe for concurrent use.
	Send(ctx context.Context, n *jv1.Notification) (receipt string, err error)
}

// SenderOptions is what senders share. The zero value is usable.
type SenderOptions struct {
	// Transport carries HTTP requests. Nil: [NewTransport], one for each sender, so give one where there are many.
	Transport http.RoundTripper
	// Logger is what the kind `log` writes to. Nil: nothing is written.
	Logger hclog.Logger
	// Now is the clock of timestamps and of Retry-After dates. Nil: time.Now.
	Now func() time.Time
	// Timeout bounds one attempt, from the connection to the end of the answer. 0: 15 s, as Standard Webhooks advises.
	Timeout time.Duration
	// Source names this installation in events: a URI reference. Empty: `/jurymast`.
	Source string
}

func (o SenderOptions) withDefaults() SenderOptions {
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Source == "" {
		o.Source = "/jurymast"
	}
	return o
}

// kinds is the table of channel kinds, by the name of their field in the Channel: one line each.
func kinds() map[string]func(*jv1.Channel, SenderOptions) Sender {
	return map[string]func(*jv1.Channel, SenderOptions) Sender{
		"webhook":   newWebhook,
		"slack":     newSlack,
		"pagerduty": newPagerDuty,
		"log":       newLog,
	}
}

// kindOf names the kind of a channel; empty when this version knows none.
func kindOf(ch *jv1.Channel) string {
	m := ch.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// NewSender returns the sender of a channel. It opens nothing and resolves no secret: that is done at every attempt.
// The error is a [Failure] that may be repeated: a newer version may have written the channel.
func NewSender(ch *jv1.Channel, o SenderOptions) (Sender, error) {
	construct, ok := kinds()[kindOf(ch)]
	if !ok {
		return nil, &Failure{Cause: CauseChannel, Err: errors.New("the channel is of no kind that this version knows")}
	}
	return construct(ch, o.withDefaults()), nil
}

// drillMark stands before the title of what is not real, so that nobody is alarmed by a rehearsal.
const drillMark = "[drill] "

// headline is the title of a notification as people see it.
func headline(n *jv1.Notification) string {
	if n.GetDrill() {
		return drillMark + n.GetTitle()
	}
	return n.GetTitle()
}

// kindWord is the kind in the words of our files: open, update or resolve.
func kindWord(k jv1.NotificationKind) string {
	if k == jv1.NotificationKind_NOTIFICATION_KIND_UNSPECIFIED {
		k = jv1.NotificationKind_NOTIFICATION_KIND_UPDATE
	}
	return word(k.String(), "NOTIFICATION_KIND_")
}

// severityWord is the severity in PagerDuty's words: info, warning, error or critical.
func severityWord(s jv1.Severity) string {
	if s == jv1.Severity_SEVERITY_UNSPECIFIED {
		s = jv1.Severity_SEVERITY_ERROR
	}
	return word(s.String(), "SEVERITY_")
}

func word(enum, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(enum, prefix))
}

// mustName refuses a notification without an id: nothing could tell its repetition from a new one.
func mustName(n *jv1.Notification) error {
	if n.GetName() == "" || strings.ContainsFunc(n.GetName(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &Failure{Cause: CauseOther, Permanent: true, Err: fmt.Errorf("notification %q has no usable id", n.GetName())}
	}
	return nil
}
