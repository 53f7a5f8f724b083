package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Limits of Slack's Block Kit: characters of a header, of a section's text, of a field, and fields of a section.
const (
	slackHeader  = 150
	slackSection = 3000
	slackField   = 2000
	slackFields  = 10
)

// slack posts to an incoming webhook. Such a webhook returns no message id, so messages of a thread follow each other
// in the channel instead of being edited.
type slack struct {
	channel *jv1.SlackChannel
	poster  poster
}

func newSlack(ch *jv1.Channel, o SenderOptions) Sender {
	return &slack{channel: ch.GetSlack(), poster: newPoster(o)}
}

type slackMessage struct {
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Send posts the message.
func (s *slack) Send(ctx context.Context, n *jv1.Notification) (string, error) {
	if err := mustName(n); err != nil {
		return "", err
	}
	body, err := json.Marshal(slackMessageOf(n))
	if err != nil {
		return "", &Failure{Cause: CauseOther, Permanent: true, Err: fmt.Errorf("encode the message: %w", err)}
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Idempotency-Key", n.GetName())
	got, err := s.poster.send(ctx, post{
		// The address of an incoming webhook is its key, even where it is written plainly.
		address: s.channel.GetUrl(), secretAddress: true, header: header, body: body, final: finalForMessage,
	})
	if err != nil {
		return "", err
	}
	return got.receipt(), nil
}

func slackMessageOf(n *jv1.Notification) slackMessage {
	title := slackSign(n) + " " + headline(n)
	m := slackMessage{
		Text:   slackEscape(title),
		Blocks: []slackBlock{{Type: "header", Text: &slackText{Type: "plain_text", Text: cut(title, slackHeader)}}},
	}
	for _, part := range pieces(n.GetText(), slackSection) {
		m.Blocks = append(m.Blocks, slackBlock{Type: "section", Text: &slackText{Type: "mrkdwn", Text: part}})
	}
	var fields []slackText
	for _, name := range slices.Sorted(maps.Keys(n.GetDetails())) {
		fields = append(fields, slackFieldOf(name, n.GetDetails()[name]))
	}
	for group := range slices.Chunk(fields, slackFields) {
		m.Blocks = append(m.Blocks, slackBlock{Type: "section", Fields: group})
	}
	m.Blocks = append(m.Blocks, slackBlock{Type: "context", Elements: []slackText{{Type: "mrkdwn", Text: slackEscape(slackContext(n))}}})
	return m
}

// slackContext is the small print: what an operator types to see more, and the id by which a repetition is recognised.
func slackContext(n *jv1.Notification) string {
	words := []string{kindWord(n.GetKind()), severityWord(n.GetSeverity())}
	for _, w := range []struct{ name, value string }{{"service", n.GetService()}, {"run", n.GetRun()}, {"id", n.GetName()}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	return strings.Join(words, " · ")
}

// slackSign is the sign that is seen from across the room.
func slackSign(n *jv1.Notification) string {
	switch {
	case n.GetKind() == jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE:
		return ":large_green_circle:"
	case n.GetSeverity() == jv1.Severity_SEVERITY_INFO:
		return ":information_source:"
	case n.GetSeverity() == jv1.Severity_SEVERITY_WARNING:
		return ":large_yellow_circle:"
	default:
		return ":red_circle:"
	}
}

// slackEscape takes the meaning from the three characters that Slack reads as control characters, so that no text of a
// message can mention a whole channel.
func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// pieces escapes text and splits it where it is longer than a block may be; nothing for blank text.
func pieces(text string, limit int) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var out []string
	var piece strings.Builder
	size := 0
	for _, r := range text {
		escaped := slackEscape(string(r))
		width := utf8.RuneCountInString(escaped)
		if size+width > limit {
			out = append(out, piece.String())
			piece.Reset()
			size = 0
		}
		piece.WriteString(escaped)
		size += width
	}
	return append(out, piece.String())
}

// slackFieldOf is one fact; a long value is cut.
func slackFieldOf(name, value string) slackText {
	text := "*" + slackEscape(cut(name, slackHeader)) + "*"
	if parts := pieces(value, slackField-slackHeader*len("&amp;")); len(parts) > 0 {
		text += "\n" + parts[0]
	}
	return slackText{Type: "mrkdwn", Text: text}
}
