package notify

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestAlarmObserves(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	p := patience{down: time.Minute, back: 10 * time.Second}
	told := map[string]time.Time{"team": ago(time.Hour)}
	downAlarm := alarm{Phase: phaseDown, Since: ago(time.Hour), At: ago(59 * time.Minute), Told: told}
	backAlarm := alarm{Phase: phaseBack, Since: ago(time.Hour), At: ago(time.Minute), Told: told}
	for _, test := range []struct {
		name        string
		before      alarm
		heard, live time.Time
		want        alarm
	}{
		{"all is well", alarm{}, now, ago(time.Hour), alarm{}},
		{"silent for a moment", alarm{}, ago(59 * time.Second), time.Time{}, alarm{}},
		{"silent for too long", alarm{}, ago(time.Minute), time.Time{}, alarm{Phase: phaseDown, Since: ago(time.Minute), At: now}},
		{"still silent", downAlarm, ago(time.Hour), time.Time{}, downAlarm},
		{"answers for a moment", downAlarm, now, ago(9 * time.Second), downAlarm},
		{"answers again", downAlarm, now, ago(10 * time.Second), alarm{Phase: phaseBack, Since: ago(time.Hour), At: ago(10 * time.Second), Told: told}},
		{"answers again, and nobody knew", alarm{Phase: phaseDown, Since: ago(time.Hour)}, now, ago(time.Minute), alarm{}},
		{"somebody is still to hear that it is back", backAlarm, now, ago(time.Minute), backAlarm},
		{"everybody has heard", alarm{Phase: phaseBack, Since: ago(time.Hour), Told: map[string]time.Time{}}, now, ago(time.Minute), alarm{}},
		{"silent again before all have heard", backAlarm, ago(2 * time.Minute), time.Time{}, alarm{Phase: phaseDown, Since: ago(2 * time.Minute), At: now, Told: told}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.before.observe(test.heard, test.live, now, p); !sameAlarm(got, test.want) {
				t.Errorf("alarm %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAlarmOwesEachChannelItsMessage(t *testing.T) {
	a := alarm{Phase: phaseDown}
	if !a.owes("team") {
		t.Error("nobody is told that it is down")
	}
	before := a
	a = a.told("team", time.Unix(1, 0))
	if a.owes("team") || !a.owes("oncall") || !before.owes("team") {
		t.Error("told once, or the alarm before was changed")
	}
	a.Phase = phaseBack
	if !a.owes("team") || a.owes("oncall") {
		t.Error("only who knows that it was down is to hear that it is back")
	}
	if a = a.told("team", time.Unix(2, 0)); a.owes("team") || len(a.Told) != 0 {
		t.Error("told twice that it is back")
	}
	if (alarm{}).owes("team") {
		t.Error("there is nothing to tell")
	}
}

func TestAlarmMessagesAreStable(t *testing.T) {
	a := alarm{Phase: phaseDown, Since: time.Unix(1000, 0), At: time.Unix(1060, 0)}
	down := a.message("r1", "team")
	if !proto.Equal(down, a.message("r1", "team")) {
		t.Error("a repetition differs")
	}
	if down.GetKind() != jv1.NotificationKind_NOTIFICATION_KIND_OPEN || down.GetSeverity() != jv1.Severity_SEVERITY_CRITICAL {
		t.Errorf("%v", down)
	}
	b := a
	b.Phase, b.At = phaseBack, time.Unix(1360, 0)
	back := b.message("r1", "team")
	if back.GetKind() != jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE || back.GetThread() != down.GetThread() || back.GetName() == down.GetName() {
		t.Errorf("%v", back)
	}
	const want = "The replica r1 hears its store again since 1970-01-01 00:22:40 UTC, after 6m0s. " +
		"Runs go on where they stood; messages that were held back follow now."
	if back.GetText() != want {
		t.Errorf("text %q, want %q", back.GetText(), want)
	}
	again := a
	again.Since = time.Unix(2000, 0)
	ids := map[string]bool{}
	for _, n := range []*jv1.Notification{down, back, again.message("r1", "team"), a.message("r2", "team"), a.message("r1", "oncall")} {
		ids[n.GetName()] = true
		if len(n.GetTitle()) > 200 || len(n.GetText()) > 4000 {
			t.Errorf("too long: %v", n)
		}
	}
	if len(ids) != 5 {
		t.Errorf("ids are shared: %v", ids)
	}
}

func TestListener(t *testing.T) {
	began := time.Unix(1000, 0)
	l := listener{heard: began}
	at := func(s int64) time.Time { return began.Add(time.Duration(s) * time.Second) }
	l.hear(store.Freshness{}, at(1))
	if !l.heard.Equal(began) || !l.live.IsZero() {
		t.Errorf("never heard: %+v", l)
	}
	l.hear(store.Freshness{Live: true, AsOf: at(2)}, at(2))
	l.hear(store.Freshness{Live: true, AsOf: at(5)}, at(5))
	if !l.heard.Equal(at(5)) || !l.live.Equal(at(2)) {
		t.Errorf("heard: %+v", l)
	}
	l.hear(store.Freshness{AsOf: at(5)}, at(11))
	if !l.heard.Equal(at(5)) || !l.live.IsZero() {
		t.Errorf("lost: %+v", l)
	}
}
