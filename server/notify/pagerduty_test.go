package notify_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func pagerDutyTo(url, key string) *jv1.Channel {
	return &jv1.Channel{Name: "oncall", Kind: &jv1.Channel_Pagerduty{Pagerduty: &jv1.PagerDutyChannel{Url: url, RoutingKey: key}}}
}

type pagerDutyEvent struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Payload     struct {
		Summary   string            `json:"summary"`
		Source    string            `json:"source"`
		Severity  string            `json:"severity"`
		Timestamp string            `json:"timestamp"`
		Component string            `json:"component"`
		Details   map[string]string `json:"custom_details"`
	} `json:"payload"`
}

func sentToPagerDuty(t *testing.T, n *jv1.Notification) pagerDutyEvent {
	t.Helper()
	url, got := receiver(t)
	if _, err := newSender(t, pagerDutyTo(url, inFile(t, "0123456789abcdef0123456789abcdef")), 5*time.Second).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	var e pagerDutyEvent
	if err := json.Unmarshal((<-got).body, &e); err != nil {
		t.Fatal(err)
	}
	if e.RoutingKey != "0123456789abcdef0123456789abcdef" {
		t.Errorf("routing key %q", e.RoutingKey)
	}
	return e
}

func TestPagerDutyEvent(t *testing.T) {
	n := opening()
	n.CreateTime = timestamppb.New(time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC))
	n.Drill = true
	e := sentToPagerDuty(t, n)
	if e.EventAction != "trigger" || e.DedupKey != "jurymast/chat-7" {
		t.Errorf("%s %s", e.EventAction, e.DedupKey)
	}
	p := e.Payload
	if p.Summary != "[drill] chat is failing" || p.Source != "chat" || p.Component != "chat" || p.Severity != "critical" || p.Timestamp != "2026-11-22T03:04:05Z" {
		t.Errorf("payload %+v", p)
	}
	want := map[string]string{
		"text": "since 12:00, switching", "run": "r-1", "step": "notify", "notification": "r-1-notify-oncall", "provider": "primary", "drill": "true",
	}
	if !maps.Equal(p.Details, want) {
		t.Errorf("details %v, want %v", p.Details, want)
	}
	if len(n.GetDetails()) != 1 {
		t.Error("the notification was changed")
	}
}

func TestPagerDutyActionsOfAThread(t *testing.T) {
	keys := map[string]bool{}
	for kind, want := range map[jv1.NotificationKind]string{
		jv1.NotificationKind_NOTIFICATION_KIND_UNSPECIFIED: "trigger",
		jv1.NotificationKind_NOTIFICATION_KIND_OPEN:        "trigger",
		jv1.NotificationKind_NOTIFICATION_KIND_UPDATE:      "trigger",
		jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE:     "resolve",
	} {
		e := sentToPagerDuty(t, &jv1.Notification{Name: "n-" + want, Thread: "chat-7", Title: "t", Kind: kind})
		keys[e.DedupKey] = true
		if e.EventAction != want {
			t.Errorf("%v: %s, want %s", kind, e.EventAction, want)
		}
		if e.Payload.Source == "" || e.Payload.Severity != "error" {
			t.Errorf("%v: required fields: %+v", kind, e.Payload)
		}
	}
	if len(keys) != 1 {
		t.Errorf("one thread has the keys %v", keys)
	}
}

func TestPagerDutyDedupKeys(t *testing.T) {
	long := strings.Repeat("x", 300)
	for thread, want := range map[string]string{"": "jurymast/n", "a/b": "jurymast/a/b", strings.Repeat("y", 246): "jurymast/" + strings.Repeat("y", 246)} {
		if e := sentToPagerDuty(t, &jv1.Notification{Name: "n", Thread: thread}); e.DedupKey != want {
			t.Errorf("thread %q: %q, want %q", thread, e.DedupKey, want)
		}
	}
	one := sentToPagerDuty(t, &jv1.Notification{Name: "n", Thread: long + "1"}).DedupKey
	two := sentToPagerDuty(t, &jv1.Notification{Name: "n", Thread: long + "2"}).DedupKey
	if len(one) > 255 || one == two || !strings.HasPrefix(one, "jurymast/") {
		t.Errorf("keys of long threads: %q, %q", one, two)
	}
}

func TestPagerDutyAnswers(t *testing.T) {
	for _, test := range []struct {
		code      int
		body      string
		receipt   string
		permanent bool
	}{
		{202, `{"status":"success","message":"Event processed","dedup_key":"jurymast/chat-7"}`, "202 Accepted, dedup_key jurymast/chat-7", false},
		{202, `<html>`, "202 Accepted", false},
		{400, `{"status":"invalid event"}`, "", true},
		{403, ``, "", true},
		{404, ``, "", true},
		{408, ``, "", false},
		{429, ``, "", false},
		{500, ``, "", false},
	} {
		server := httptest.NewServer(said(test.code, test.body))
		receipt, err := newSender(t, pagerDutyTo(server.URL, inFile(t, "key")), 5*time.Second).Send(t.Context(), opening())
		server.Close()
		if test.receipt != "" {
			if err != nil || receipt != test.receipt {
				t.Errorf("%d: %q, %v, want %q", test.code, receipt, err, test.receipt)
			}
			continue
		}
		if f := failure(t, err); f.Permanent != test.permanent {
			t.Errorf("%d: permanent %t, want %t", test.code, f.Permanent, test.permanent)
		}
	}
}
