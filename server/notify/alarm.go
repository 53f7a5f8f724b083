package notify

import (
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Phases of an alarm.
const (
	phaseQuiet = ""     // nobody has to be told anything
	phaseDown  = "down" // everybody is to know that the control plane is down
	phaseBack  = "back" // those who know are to hear that it is back
)

// alarm is what people are to know and who knows it; it is kept in the journal.
type alarm struct {
	Phase string `json:"phase,omitempty"`
	// Since is when the store was heard last before the alarm.
	Since time.Time `json:"since,omitzero"`
	// At is when the phase began.
	At time.Time `json:"at,omitzero"`
	// Told are the channels that were told of the alarm and not yet of its end, and when.
	Told map[string]time.Time `json:"told,omitempty"`
	// Detail says what happened, where that is not always the same.
	Detail string `json:"detail,omitempty"`
}

// patience is how long a change must last before people are told.
type patience struct{ down, back time.Duration }

// observe returns the alarm as it is after a look at the store. heard is when the store was heard last, or when we
// began to listen; live is since when it is heard without a break, the zero time when it is not.
func (a alarm) observe(heard, live, now time.Time, p patience) alarm {
	switch {
	case live.IsZero() && a.Phase != phaseDown && now.Sub(heard) >= p.down:
		a.Phase, a.Since, a.At = phaseDown, heard, now
	case !live.IsZero() && a.Phase == phaseDown && now.Sub(live) >= p.back:
		a.Phase, a.At = phaseBack, live
	}
	if a.Phase == phaseBack && len(a.Told) == 0 {
		return alarm{}
	}
	return a
}

// told returns the alarm after a channel was told what it is to know.
func (a alarm) told(channel string, now time.Time) alarm {
	known := maps.Clone(a.Told)
	if a.Phase == phaseDown {
		if known == nil {
			known = map[string]time.Time{}
		}
		known[channel] = now
	} else {
		delete(known, channel)
	}
	a.Told = known
	return a
}

// owes tells whether a channel is to be told something.
func (a alarm) owes(channel string) bool {
	_, knows := a.Told[channel]
	return a.Phase == phaseDown && !knows || a.Phase == phaseBack && knows
}

// message is what a channel is told. It is the same at every attempt, after a restart as well.
func (a alarm) message(replica, channel string) *jv1.Notification {
	n := &jv1.Notification{
		Name:    fmt.Sprintf("emergency-%s-%d-%s-%s", replica, a.Since.UnixMilli(), a.Phase, channel),
		Channel: channel,
		Thread:  "control-plane/" + replica,
		Details: map[string]string{"replica": replica, "since": clock(a.Since)},
		// The phase's begin and not the attempt's time: an event's time says when it happened.
		CreateTime: timestamppb.New(a.At),
	}
	if a.Phase == phaseDown {
		n.Kind, n.Severity = jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_CRITICAL
		n.Title = fmt.Sprintf("Jurymast control plane down: %s can't reach its store", replica)
		n.Text = fmt.Sprintf("The replica %s has not heard from its store since %s. It starts no runbooks and switches no providers until "+
			"the store is back; gateways and clients stay on the last route they saw. Messages of runbooks may be late. "+
			"Next message: when the store is back.", replica, clock(a.Since))
		return n
	}
	n.Kind, n.Severity = jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE, jv1.Severity_SEVERITY_INFO
	n.Title = fmt.Sprintf("Jurymast control plane back: %s reaches its store", replica)
	n.Text = fmt.Sprintf("The replica %s hears its store again since %s, after %s. Runs go on where they stood; messages that were held "+
		"back follow now.", replica, clock(a.At), a.At.Sub(a.Since).Round(time.Second))
	return n
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// listener turns looks at the store's freshness into the times an alarm is judged by.
type listener struct {
	heard time.Time // when the store was heard last, or when we began to listen
	live  time.Time // since when it is heard without a break; zero when it is not
}

func (l *listener) hear(f store.Freshness, now time.Time) {
	if f.AsOf.After(l.heard) {
		l.heard = f.AsOf
	}
	switch {
	case !f.Live:
		l.live = time.Time{}
	case l.live.IsZero():
		l.live = now
	}
}
