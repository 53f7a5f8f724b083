package notify

import (
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/telemetry"
)

// logChannel writes notifications to the log of the server.
type logChannel struct {
	log hclog.Logger
}

func newLog(_ *jv1.Channel, o SenderOptions) Sender {
	return &logChannel{log: o.Logger}
}

// Send writes one entry. Its level is that of the severity; what resolves a thread is information.
func (l *logChannel) Send(_ context.Context, n *jv1.Notification) (string, error) {
	if err := mustName(n); err != nil {
		return "", err
	}
	args := []any{"notification", n.GetName(), "kind", kindWord(n.GetKind()), "severity", severityWord(n.GetSeverity())}
	for _, fact := range []struct{ key, value string }{
		{telemetry.KeyChannel, n.GetChannel()},
		{telemetry.KeyService, n.GetService()},
		{telemetry.KeyRun, n.GetRun()},
		{telemetry.KeyStep, n.GetStep()},
		{"thread", n.GetThread()},
		{"text", n.GetText()},
	} {
		if fact.value != "" {
			args = append(args, fact.key, fact.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.GetDetails())) {
		args = append(args, "details."+name, n.GetDetails()[name])
	}
	l.log.Log(logLevel(n), headline(n), args...)
	return "logged", nil
}

func logLevel(n *jv1.Notification) hclog.Level {
	if n.GetKind() == jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE {
		return hclog.Info
	}
	switch n.GetSeverity() {
	case jv1.Severity_SEVERITY_INFO:
		return hclog.Info
	case jv1.Severity_SEVERITY_WARNING:
		return hclog.Warn
	default:
		return hclog.Error
	}
}
