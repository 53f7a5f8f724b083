package notify_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func slackTo(url string) *jv1.Channel {
	return &jv1.Channel{Name: "team", Kind: &jv1.Channel_Slack{Slack: &jv1.SlackChannel{Url: url}}}
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type slackMessage struct {
	Text   string `json:"text"`
	Blocks []struct {
		Type     string      `json:"type"`
		Text     slackText   `json:"text"`
		Fields   []slackText `json:"fields"`
		Elements []slackText `json:"elements"`
	} `json:"blocks"`
}

func sentToSlack(t *testing.T, n *jv1.Notification) slackMessage {
	t.Helper()
	url, got := receiver(t)
	receipt, err := newSender(t, slackTo(url), 5*time.Second).Send(t.Context(), n)
	if err != nil || receipt != "202 Accepted" {
		t.Fatalf("receipt %q, %v", receipt, err)
	}
	var m slackMessage
	if err := json.Unmarshal((<-got).body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSlackMessage(t *testing.T) {
	n := opening()
	n.Text = "see <https://status.example> & <!channel>"
	m := sentToSlack(t, n)
	if m.Text != ":red_circle: chat is failing" {
		t.Errorf("text %q", m.Text)
	}
	if len(m.Blocks) != 4 {
		t.Fatalf("%d blocks: %+v", len(m.Blocks), m.Blocks)
	}
	if b := m.Blocks[0]; b.Type != "header" || b.Text != (slackText{"plain_text", ":red_circle: chat is failing"}) {
		t.Errorf("header %+v", b)
	}
	if b := m.Blocks[1]; b.Type != "section" || b.Text != (slackText{"mrkdwn", "see &lt;https://status.example&gt; &amp; &lt;!channel&gt;"}) {
		t.Errorf("section %+v", b)
	}
	if b := m.Blocks[2]; len(b.Fields) != 1 || b.Fields[0] != (slackText{"mrkdwn", "*provider*\nprimary"}) {
		t.Errorf("fields %+v", b)
	}
	if b := m.Blocks[3]; b.Type != "context" || b.Elements[0].Text != "open · critical · service chat · run r-1 · id r-1-notify-oncall" {
		t.Errorf("context %+v", b)
	}
}

func TestSlackSignsTellWhatMatters(t *testing.T) {
	for _, test := range []struct {
		kind     jv1.NotificationKind
		severity jv1.Severity
		drill    bool
		want     string
	}{
		{jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_UNSPECIFIED, false, ":red_circle: t"},
		{jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_WARNING, false, ":large_yellow_circle: t"},
		{jv1.NotificationKind_NOTIFICATION_KIND_UPDATE, jv1.Severity_SEVERITY_INFO, false, ":information_source: t"},
		{jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE, jv1.Severity_SEVERITY_CRITICAL, false, ":large_green_circle: t"},
		{jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_CRITICAL, true, ":red_circle: [drill] t"},
	} {
		m := sentToSlack(t, &jv1.Notification{Name: "n", Title: "t", Kind: test.kind, Severity: test.severity, Drill: test.drill})
		if m.Text != test.want {
			t.Errorf("text %q, want %q", m.Text, test.want)
		}
	}
}

func TestSlackKeepsToItsLimits(t *testing.T) {
	n := &jv1.Notification{
		Name: "n", Title: strings.Repeat("ü", 200), Text: strings.Repeat("<&>\n", 1000), Details: map[string]string{"": ""},
	}
	for i := range 25 {
		n.Details[fmt.Sprintf("fact-%02d%s", i, strings.Repeat("&", 300))] = strings.Repeat(">", 3000)
	}
	m := sentToSlack(t, n)
	if len(m.Blocks) > 50 {
		t.Errorf("%d blocks", len(m.Blocks))
	}
	text, facts := "", 0
	for _, b := range m.Blocks {
		size := utf8.RuneCountInString(b.Text.Text)
		if b.Type == "header" && (size > 150 || size == 0) || size > 3000 || len(b.Fields) > 10 || len(b.Elements) > 10 {
			t.Errorf("%s: text of %d, %d fields, %d elements", b.Type, size, len(b.Fields), len(b.Elements))
		}
		for _, f := range b.Fields {
			facts++
			if size := utf8.RuneCountInString(f.Text); size > 2000 || size == 0 {
				t.Errorf("field of %d", size)
			}
		}
		if b.Type == "section" {
			text += b.Text.Text
		}
	}
	if facts != 26 {
		t.Errorf("%d facts, want 26", facts)
	}
	if want := strings.Repeat("&lt;&amp;&gt;\n", 1000); text != want {
		t.Error("the text did not arrive whole")
	}
}
