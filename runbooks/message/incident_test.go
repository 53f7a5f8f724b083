package message

import (
	"strings"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestEveryIncidentStatusHasAText renders the shipped texts with all there can be and with no more than there always is.
func TestEveryIncidentStatusHasAText(t *testing.T) {
	for number, name := range jv1.IncidentStatus_name {
		if number == 0 {
			continue
		}
		step := &jv1.UpdateIncidentStep{Status: jv1.IncidentStatus(number)}
		if err := CheckIncident(step); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tmpl, err := ForIncident(step)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range samples() {
			title, text, err := tmpl.Render(data)
			if err != nil || title == "" || !strings.Contains(text, "chat") || strings.Contains(text, "\n") || strings.Contains(text, "  ") {
				t.Errorf("%s: %q, %q, %v", name, title, text, err)
			}
		}
	}
}

func TestIncidentTextsSayWhatIsTrue(t *testing.T) {
	since := time.Date(2026, 3, 14, 9, 26, 0, 0, time.UTC)
	served := Data{Service: "chat", Provider: "openai", Active: "azure-eu", Previous: "openai", Preferred: "openai", Since: since, Now: since}
	queued := served
	queued.Active, queued.Previous, queued.Queueing = "openai", "", true
	promised := served
	promised.NextUpdate = since.Add(30 * time.Minute)
	for _, tc := range []struct {
		status jv1.IncidentStatus
		data   Data
		says   string
		not    string
	}{
		{jv1.IncidentStatus_INCIDENT_STATUS_IDENTIFIED, served, "openai does not serve chat as it should. We are acting on it.", "update by"},
		{jv1.IncidentStatus_INCIDENT_STATUS_IDENTIFIED, queued, "No provider can serve chat.", "acting"},
		{jv1.IncidentStatus_INCIDENT_STATUS_MONITORING, promised, "chat is served by azure-eu instead of openai since", "queued"},
		{jv1.IncidentStatus_INCIDENT_STATUS_MONITORING, promised, "Next update by", "queued"},
		{jv1.IncidentStatus_INCIDENT_STATUS_MONITORING, queued, "are queued and sent later", "served by"},
		{jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED, served, "chat is served by azure-eu", "queued"},
		{jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED, queued, "still being sent", "It is over"},
	} {
		tmpl, err := ForIncident(&jv1.UpdateIncidentStep{Status: tc.status})
		if err != nil {
			t.Fatal(err)
		}
		title, text, err := tmpl.Render(tc.data)
		if err != nil || !strings.Contains(text, tc.says) || strings.Contains(text, tc.not) || title != "chat: trouble with openai" {
			t.Errorf("%v: %q: %q, %v", tc.status, title, text, err)
		}
	}
}

func TestIncidentTemplatesAreChecked(t *testing.T) {
	for _, tc := range []struct {
		step *jv1.UpdateIncidentStep
		want string
	}{
		{&jv1.UpdateIncidentStep{Status: jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED, Text: "{{.Nope}}"}, "Nope"},
		{&jv1.UpdateIncidentStep{Status: jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED, Title: "{{"}, "title"},
		{&jv1.UpdateIncidentStep{}, "status"},
	} {
		if err := CheckIncident(tc.step); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v", tc.step, err)
		}
	}
}
