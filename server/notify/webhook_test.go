package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
)

// received is a request as a receiver saw it.
type received struct {
	header http.Header
	body   []byte
}

// receiver keeps what it is sent.
func receiver(t *testing.T) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Header.Clone(), body}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func TestWebhookSendsACloudEvent(t *testing.T) {
	url, got := receiver(t)
	n := opening()
	n.CreateTime = timestamppb.New(time.Date(2026, 11, 22, 3, 4, 5, 6_000_000, time.UTC))
	sender, err := notify.NewSender(webhookTo(url), notify.SenderOptions{Source: "/jurymast/eu-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if ct := r.header.Get("Content-Type"); ct != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("content type %q", ct)
	}
	if key := r.header.Get("Idempotency-Key"); key != n.GetName() {
		t.Errorf("idempotency key %q", key)
	}
	if signature := r.header.Get("Webhook-Signature"); signature != "" {
		t.Errorf("signed %q without a secret", signature)
	}
	var event map[string]any
	if err := json.Unmarshal(r.body, &event); err != nil {
		t.Fatal(err)
	}
	data := event["data"].(map[string]any)
	delete(event, "data")
	want := map[string]any{
		"specversion": "1.0", "id": "r-1-notify-oncall", "source": "/jurymast/eu-1", "type": "io.jurymast.notification.open",
		"subject": "runs/r-1", "time": "2026-11-22T03:04:05.006Z", "datacontenttype": "application/json",
	}
	if !maps.Equal(event, want) {
		t.Errorf("attributes %v, want %v", event, want)
	}
	details := data["details"].(map[string]any)
	delete(data, "details")
	wantData := map[string]any{
		"name": "r-1-notify-oncall", "channel": "oncall", "kind": "open", "severity": "critical", "title": "chat is failing",
		"text": "since 12:00, switching", "service": "chat", "run": "r-1", "step": "notify", "thread": "chat-7", "drill": false,
	}
	if !maps.Equal(data, wantData) || !maps.Equal(details, map[string]any{"provider": "primary"}) {
		t.Errorf("data %v details %v, want %v", data, details, wantData)
	}
}

// TestWebhookOfLeastNotification checks that the attributes that CloudEvents 1.0 requires are there and not empty
// whatever the notification lacks.
func TestWebhookOfLeastNotification(t *testing.T) {
	url, got := receiver(t)
	for kind := range jv1.NotificationKind_name {
		n := &jv1.Notification{Name: "n-1", Kind: jv1.NotificationKind(kind)}
		if _, err := newSender(t, webhookTo(url), 5*time.Second).Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		var event map[string]any
		if err := json.Unmarshal((<-got).body, &event); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "source", "specversion", "type"} {
			if text, ok := event[name].(string); !ok || text == "" {
				t.Errorf("%v: %s is %v", n.GetKind(), name, event[name])
			}
		}
		types := []string{"io.jurymast.notification.open", "io.jurymast.notification.update", "io.jurymast.notification.resolve"}
		if !slices.Contains(types, event["type"].(string)) {
			t.Errorf("type %v", event["type"])
		}
		for _, name := range []string{"subject", "time"} {
			if value, ok := event[name]; ok {
				t.Errorf("%s is %v although it is not known", name, value)
			}
		}
	}
}

func TestWebhookIsSignedForEverySecret(t *testing.T) {
	url, got := receiver(t)
	const first, second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	at := time.Unix(1_763_800_000, 0)
	channel := webhookTo(url)
	channel.GetWebhook().Secret = inFile(t, first+" "+second)
	for range 2 {
		now := at
		sender, err := notify.NewSender(channel, notify.SenderOptions{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sender.Send(t.Context(), opening()); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Minute)
	}
	one, two := <-got, <-got
	if string(one.body) != string(two.body) || one.header.Get("Webhook-Id") != two.header.Get("Webhook-Id") {
		t.Error("a repetition has another body or id")
	}
	if one.header.Get("Webhook-Timestamp") != "1763800000" || two.header.Get("Webhook-Timestamp") != "1763800060" {
		t.Errorf("timestamps %q, %q: want those of the attempts", one.header.Get("Webhook-Timestamp"), two.header.Get("Webhook-Timestamp"))
	}
	for _, r := range []received{one, two} {
		signatures := strings.Fields(r.header.Get("Webhook-Signature"))
		if len(signatures) != 2 {
			t.Fatalf("signatures %q", signatures)
		}
		for i, secret := range []string{first, second} {
			if want := verification(t, secret, r); signatures[i] != want {
				t.Errorf("signature %q, want %q", signatures[i], want)
			}
		}
	}
}

// verification computes the signature as a receiver does, from the specification and not from our code.
func verification(t *testing.T, secret string, r received) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.header.Get("webhook-id") + "." + r.header.Get("webhook-timestamp") + "." + string(r.body)))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestNotificationWithoutIdIsRefusedForGood(t *testing.T) {
	url, got := receiver(t)
	for name, ch := range map[string]*jv1.Channel{
		"webhook": webhookTo(url), "slack": slackTo(url), "pagerduty": pagerDutyTo(url, inFile(t, "key")), "log": logTo(),
	} {
		for _, id := range []string{"", "two words", "line\nbreak"} {
			_, err := newSender(t, ch, time.Second).Send(t.Context(), &jv1.Notification{Name: id})
			if f := failure(t, err); !f.Permanent {
				t.Errorf("%s: id %q may be repeated: %v", name, id, f)
			}
		}
	}
	if len(got) != 0 {
		t.Errorf("%d requests were made", len(got))
	}
}
