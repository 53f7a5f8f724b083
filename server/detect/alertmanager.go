package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// alertGroup is what Alertmanager posts, version 4. Keys that aren't named here are left alone: newer versions add some.
type alertGroup struct {
	Version         string  `json:"version"`
	GroupKey        string  `json:"groupKey"`
	TruncatedAlerts int     `json:"truncatedAlerts"`
	Alerts          []alert `json:"alerts"`
}

// alert is one alert of a group. The group's own status is "firing" while any of its alerts is, so it is not read.
type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// alertmanagerVersion is the version of the body we read.
const alertmanagerVersion = "4"

// parseAlertmanager reads Alertmanager's body. The error says what is wrong with it.
func parseAlertmanager(body []byte) (alertGroup, error) {
	var g alertGroup
	if err := json.Unmarshal(body, &g); err != nil {
		return alertGroup{}, fmt.Errorf("not Alertmanager's JSON: %w: %w", ErrInvalid, err)
	}
	if g.Version != alertmanagerVersion {
		return alertGroup{}, fmt.Errorf("version %q, want %q: %w", cut(g.Version, 20), alertmanagerVersion, ErrInvalid)
	}
	for i := range g.Alerts {
		a := &g.Alerts[i]
		if a.Status != "firing" && a.Status != "resolved" {
			return alertGroup{}, fmt.Errorf("alerts[%d].status is neither firing nor resolved: %w", i, ErrInvalid)
		}
		if a.StartsAt.IsZero() || !timestamppb.New(a.StartsAt).IsValid() || !timestamppb.New(a.EndsAt).IsValid() {
			return alertGroup{}, fmt.Errorf("alerts[%d] has no usable startsAt: %w", i, ErrInvalid)
		}
		if a.Fingerprint == "" {
			a.Fingerprint = fingerprint(a.Labels)
		}
	}
	return g, nil
}

// fingerprint identifies a set of labels, for senders that don't.
func fingerprint(labels map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(h, "%q=%q\n", name, labels[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// wanted tells whether a detector asks for the alert.
func (a *alert) wanted(w *jv1.WebhookDetector) bool {
	if w.GetAlertname() != "" && a.Labels["alertname"] != w.GetAlertname() {
		return false
	}
	for name, value := range w.GetLabels() {
		if a.Labels[name] != value {
			return false
		}
	}
	return true
}

// signal is what the alert says. It counts from now on, as Alertmanager repeats itself while it fires.
func (a *alert) signal(groupKey string, validity time.Duration, now time.Time) (*jv1.Signal, error) {
	s := &jv1.Signal{
		State: stateFailing, ObservedAt: timestamppb.New(a.StartsAt), Labels: tidyLabels(a.Labels),
		Summary:  a.summary(),
		SignalId: a.id(groupKey), Class: jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL,
		ValidUntil: timestamppb.New(now.Add(min(validity, maxReportValidity))),
	}
	if a.Status == "resolved" {
		s.State = stateOK
		s.ObservedAt = timestamppb.New(a.EndsAt)
		if a.EndsAt.Before(a.StartsAt) {
			s.ObservedAt = timestamppb.New(now)
		}
	}
	if _, err := believable(timestamppb.New(a.StartsAt), now); err != nil {
		return nil, fmt.Errorf("startsAt: %w", err)
	}
	seen, err := believable(s.GetObservedAt(), now)
	if err != nil {
		return nil, fmt.Errorf("endsAt: %w", err)
	}
	s.ObservedAt = timestamppb.New(seen)
	return s, nil
}

// id identifies what is said of the alert: a repetition has the same.
func (a *alert) id(groupKey string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{groupKey, a.Fingerprint, a.StartsAt.UTC().Format(time.RFC3339Nano), a.Status}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// summary is the alert in words: its summary or description, else its name.
func (a *alert) summary() string {
	text := a.Annotations["summary"]
	if text == "" {
		text = a.Annotations["description"]
	}
	if name := a.Labels["alertname"]; text == "" {
		text = name
	} else if name != "" {
		text = name + ": " + text
	}
	return valid(cut(text, maxSummary))
}
