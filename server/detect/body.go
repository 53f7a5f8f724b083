package detect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// signalBody is our own signal as other systems post it.
type signalBody struct {
	SignalID   string            `json:"signal_id"`
	State      string            `json:"state"`
	Service    string            `json:"service"`
	Provider   string            `json:"provider"`
	Component  string            `json:"component"`
	Severity   string            `json:"severity"`
	Summary    string            `json:"summary"`
	ObservedAt *time.Time        `json:"observed_at"`
	ValidUntil *time.Time        `json:"valid_until"`
	Labels     map[string]string `json:"labels"`
	Evidence   json.RawMessage   `json:"evidence"`
}

// labelSeverity and labelEvidence hold what a signal has no field for.
const (
	labelSeverity = "severity"
	labelEvidence = "evidence"
)

// parseSignal reads our own body. An unknown key is an error: it would be a misspelt one. The error says what is wrong.
func parseSignal(body []byte) (*jv1.Signal, error) {
	var b signalBody
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return nil, fmt.Errorf("not a signal: %w: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the signal: %w", ErrInvalid)
	}
	s := &jv1.Signal{
		SignalId: b.SignalID, Service: b.Service, Provider: b.Provider, Summary: b.Summary,
		Labels: map[string]string{},
	}
	switch b.State {
	case "failing":
		s.State = stateFailing
	case "ok":
		s.State = stateOK
	case "unknown":
		s.State = stateUnknown
	default:
		return nil, fmt.Errorf("state is %q, want failing, ok or unknown: %w", cut(b.State, 40), ErrInvalid)
	}
	switch b.Severity {
	case "", "critical", "error", "warning", "info":
	default:
		return nil, fmt.Errorf("severity is %q, want critical, error, warning or info: %w", cut(b.Severity, 40), ErrInvalid)
	}
	maps.Copy(s.Labels, b.Labels)
	setLabel(s.Labels, labelComponent, b.Component)
	setLabel(s.Labels, labelSeverity, b.Severity)
	if len(b.Evidence) > 0 && !bytes.Equal(b.Evidence, []byte("null")) {
		setLabel(s.Labels, labelEvidence, string(b.Evidence))
	}
	s.ObservedAt = stamp(b.ObservedAt)
	s.ValidUntil = stamp(b.ValidUntil)
	return s, nil
}

func setLabel(labels map[string]string, name, value string) {
	if value != "" {
		labels[name] = value
	}
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}
