package notify_test

import (
	"bytes"
	"encoding/json"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/telemetry"
)

func logTo() *jv1.Channel {
	return &jv1.Channel{Name: "log", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}
}

func TestLogChannelWritesOneEntry(t *testing.T) {
	for _, test := range []struct {
		kind     jv1.NotificationKind
		severity jv1.Severity
		level    string
	}{
		{jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_UNSPECIFIED, "error"},
		{jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_CRITICAL, "error"},
		{jv1.NotificationKind_NOTIFICATION_KIND_UPDATE, jv1.Severity_SEVERITY_WARNING, "warn"},
		{jv1.NotificationKind_NOTIFICATION_KIND_UPDATE, jv1.Severity_SEVERITY_INFO, "info"},
		{jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE, jv1.Severity_SEVERITY_CRITICAL, "info"},
	} {
		var out bytes.Buffer
		log := telemetry.NewLogger(telemetry.Options{Format: telemetry.FormatJSON, Output: &out})
		sender, err := notify.NewSender(logTo(), notify.SenderOptions{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		n := opening()
		n.Kind, n.Severity = test.kind, test.severity
		if receipt, err := sender.Send(t.Context(), n); err != nil || receipt != "logged" {
			t.Fatalf("%q, %v", receipt, err)
		}
		var entry map[string]any
		if err := json.Unmarshal(out.Bytes(), &entry); err != nil {
			t.Fatalf("%v in %s", err, out.String())
		}
		for key, want := range map[string]string{
			"@level": test.level, "@message": "chat is failing", "service": "chat", "run": "r-1", "step": "notify", "thread": "chat-7",
			"text": "since 12:00, switching", "details.provider": "primary", "notification": "r-1-notify-oncall", "channel": "oncall",
		} {
			if entry[key] != want {
				t.Errorf("%v %v: %s is %v, want %s", test.kind, test.severity, key, entry[key], want)
			}
		}
	}
}
