package detect

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// storable checks that a signal can be stored and stays within its bounds.
func storable(t *testing.T, s *jv1.Signal) {
	t.Helper()
	b, err := proto.Marshal(s)
	if err != nil {
		t.Fatalf("can't be stored: %v", err)
	}
	if most := maxSummary + maxSignalID + maxLabels*(maxLabelName+maxLabelValue+100) + 1000; len(b) > most {
		t.Fatalf("%d bytes, at most %d", len(b), most)
	}
	if len(s.GetLabels()) > maxLabels || !utf8.ValidString(s.GetSummary()) {
		t.Fatalf("labels %v, summary %q", s.GetLabels(), s.GetSummary())
	}
}

func FuzzAlertmanager(f *testing.F) {
	f.Add([]byte(firing(t0, "a", "b")))
	f.Add([]byte(resolved(t0, t0.Add(time.Minute), "a")))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"firing","startsAt":"2026-09-29T17:50:15Z","labels":{"a":"\ud800"}}]}`))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"resolved","startsAt":"9999-12-31T23:59:59Z","endsAt":"0001-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":"4","truncatedAlerts":-1,"alerts":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := parseAlertmanager(body)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("the error is of no kind: %v", err)
			}
			return
		}
		for _, a := range g.Alerts {
			a.wanted(&jv1.WebhookDetector{Alertname: "a", Labels: map[string]string{"a": "b"}})
			s, err := a.signal(g.GroupKey, time.Hour, t0)
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("the error is of no kind: %v", err)
				}
				continue
			}
			storable(t, s)
			if a.Fingerprint == "" || s.GetObservedAt().AsTime().After(t0) || !s.GetValidUntil().AsTime().After(t0) ||
				s.GetState() != stateOK && s.GetState() != stateFailing {
				t.Fatalf("signal %v of fingerprint %q", s, a.Fingerprint)
			}
			e := entry{pair: pair{"chat", "openai"}, source: "am", subject: a.Fingerprint, signal: s, begins: a.StartsAt}
			r := report(nil, e, t0)
			if what := weigh(r, e, t0); what != absorbed {
				t.Fatalf("the same alert again is %v", what)
			}
			store.Put(e.key(), r)
		}
	})
}

func FuzzSignal(f *testing.F) {
	f.Add([]byte(`{"signal_id":"1","state":"failing","provider":"openai","component":"chat","severity":"critical","summary":"x","observed_at":"2026-09-29T17:50:00Z","labels":{"a":"b"},"evidence":{"x":[1]}}`))
	f.Add([]byte(`{"state":"ok","valid_until":"2026-09-29T18:50:00Z"}`))
	f.Add([]byte(`{"state":"unknown","observed_at":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"state":"ok","labels":{"\ud800":"\udfff"},"evidence":"` + "\xff" + `"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseSignal(body)
		if err == nil {
			err = tidy(s, time.Hour, t0)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("the error is of no kind: %v", err)
			}
			return
		}
		storable(t, s)
		if !s.GetObservedAt().IsValid() || s.GetObservedAt().AsTime().After(t0) || !s.GetValidUntil().IsValid() {
			t.Fatalf("signal %v", s)
		}
		e := entry{pair: pair{"chat", "openai"}, source: "alerts", subject: s.GetLabels()[labelComponent], signal: s}
		store.Put(e.key(), report(nil, e, t0))
	})
}
