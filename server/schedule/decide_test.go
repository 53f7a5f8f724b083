package schedule

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// TestDecide goes through the moments at which a schedule can be looked at. The schedule fires every hour; its next time
// is noon.
func TestDecide(t *testing.T) {
	skip := &jv1.Schedule{Name: "x", Cron: "@hourly"}
	once := &jv1.Schedule{Name: "x", Cron: "@hourly", OnMissed: jv1.OnMissed_ON_MISSED_FIRE_ONCE}
	soon := &jv1.Schedule{
		Name: "x", Cron: "@hourly", OnMissed: jv1.OnMissed_ON_MISSED_FIRE_ONCE, MissedWithin: durationpb.New(10 * time.Minute),
	}
	brief := &jv1.Schedule{
		Name: "x", Cron: "@hourly", OnMissed: jv1.OnMissed_ON_MISSED_FIRE_ONCE, MissedWithin: durationpb.New(time.Second),
	}
	for name, c := range map[string]struct {
		schedule *jv1.Schedule
		now      string
		reason   reason
		due      string
		missed   int64
		next     string
	}{
		"before":                    {skip, "2026-03-01T11:59:59Z", rests, "", 0, "2026-03-01T12:00:00Z"},
		"the clock is far behind":   {skip, "2026-02-01T00:00:00Z", rests, "", 0, "2026-03-01T12:00:00Z"},
		"on time":                   {skip, "2026-03-01T12:00:00Z", fires, "2026-03-01T12:00:00Z", 0, "2026-03-01T13:00:00Z"},
		"a moment late":             {skip, "2026-03-01T12:01:00Z", fires, "2026-03-01T12:00:00Z", 0, "2026-03-01T13:00:00Z"},
		"skip":                      {skip, "2026-03-01T12:01:01Z", misses, "", 1, "2026-03-01T13:00:00Z"},
		"skip several":              {skip, "2026-03-01T15:30:00Z", misses, "", 4, "2026-03-01T16:00:00Z"},
		"skip, but the last":        {skip, "2026-03-01T15:00:30Z", fires, "2026-03-01T15:00:00Z", 3, "2026-03-01T16:00:00Z"},
		"fire once":                 {once, "2026-03-01T12:59:00Z", firesLate, "2026-03-01T12:00:00Z", 0, "2026-03-01T13:00:00Z"},
		"fire once of several":      {once, "2026-03-01T15:30:00Z", firesLate, "2026-03-01T15:00:00Z", 3, "2026-03-01T16:00:00Z"},
		"fire once, but too late":   {soon, "2026-03-01T15:30:00Z", misses, "", 4, "2026-03-01T16:00:00Z"},
		"fire once, just in time":   {soon, "2026-03-01T15:10:00Z", firesLate, "2026-03-01T15:00:00Z", 3, "2026-03-01T16:00:00Z"},
		"within less than punctual": {brief, "2026-03-01T12:00:50Z", fires, "2026-03-01T12:00:00Z", 0, "2026-03-01T13:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			state := &recordv1.ScheduleState{
				ScheduleRevision: 7, NextTime: timestamppb.New(at(t, "2026-03-01T12:00:00Z")), LastTrigger: "before", Missed: 2,
			}
			before := proto.CloneOf(state)
			d, err := decide(store.Record[*jv1.Schedule]{Msg: c.schedule, Mod: 7}, state, "", at(t, c.now))
			if err != nil {
				t.Fatal(err)
			}
			if d.reason != c.reason || d.missed != c.missed || !d.next.Equal(at(t, c.next)) {
				t.Errorf("%s, %d missed, next %v", d.reason, d.missed, d.next)
			}
			if (c.due == "") != d.due.IsZero() || c.due != "" && !d.due.Equal(at(t, c.due)) {
				t.Errorf("%v is due, want %q", d.due, c.due)
			}
			if !proto.Equal(state, before) {
				t.Error("the stored state was changed")
			}
			if d.state == nil {
				return
			}
			wantLast := "before"
			if c.due != "" {
				wantLast = TriggerName("x", d.due)
			}
			if d.state.GetMissed() != 2+c.missed || d.state.GetLastTrigger() != wantLast || !d.state.GetNextTime().AsTime().Equal(d.next) {
				t.Errorf("state %v", d.state)
			}
		})
	}
}

// TestDecideAnew looks at schedules that have no state, or one of another revision.
func TestDecideAnew(t *testing.T) {
	last := timestamppb.New(at(t, "2026-03-01T09:00:00Z"))
	old := &recordv1.ScheduleState{RestoreEpoch: "e2", ScheduleRevision: 3, NextTime: timestamppb.New(at(t, "2026-03-01T10:00:00Z")), LastTime: last, LastTrigger: "l", Missed: 5}
	backup := proto.CloneOf(old)
	backup.ScheduleRevision, backup.RestoreEpoch = 7, "e1"
	for name, c := range map[string]struct {
		stored, now string
		state       *recordv1.ScheduleState
		paused      bool
		cron        string
		next        string
	}{
		"new":                        {"2026-03-01T11:30:00Z", "2026-03-01T11:30:01Z", nil, false, "@hourly", "2026-03-01T12:00:00Z"},
		"new, seen late":             {"2026-03-01T11:59:59Z", "2026-03-01T12:00:20Z", nil, false, "@hourly", "2026-03-01T12:00:00Z"},
		"stored by a clock ahead":    {"2026-04-01T00:00:00Z", "2026-03-01T11:30:00Z", nil, false, "@hourly", "2026-03-01T12:00:00Z"},
		"changed":                    {"2026-03-01T11:30:00Z", "2026-03-01T11:30:00Z", old, false, "*/15 * * * *", "2026-03-01T11:45:00Z"},
		"of a backup":                {"2026-01-01T00:00:00Z", "2026-03-01T13:30:00Z", backup, false, "@hourly", "2026-03-01T14:00:00Z"},
		"the last was ahead of time": {"2026-03-01T05:30:00Z", "2026-03-01T05:30:01Z", old, false, "@hourly", "2026-03-01T06:00:00Z"},
		"paused":                     {"2026-03-01T11:30:00Z", "2026-03-01T11:30:00Z", old, true, "@hourly", ""},
		"never again":                {"2026-03-01T11:30:00Z", "2026-03-01T11:30:00Z", nil, false, "0 0 30 2 *", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := store.Record[*jv1.Schedule]{Mod: 7, Msg: &jv1.Schedule{
				Name: "x", Cron: c.cron, Paused: c.paused, UpdateTime: timestamppb.New(at(t, c.stored)),
			}}
			d, err := decide(s, c.state, "e2", at(t, c.now))
			if err != nil {
				t.Fatal(err)
			}
			if !d.due.IsZero() || d.missed != 0 || d.state.GetMissed() != 0 || d.state.GetScheduleRevision() != 7 ||
				d.state.GetLastTrigger() != c.state.GetLastTrigger() {
				t.Errorf("%+v", d)
			}
			if (c.next == "") != d.next.IsZero() || c.next != "" && !d.next.Equal(at(t, c.next)) {
				t.Errorf("next is %v, want %s", d.next, c.next)
			}
			// What was decided rests.
			again, err := decide(s, d.state, "e2", at(t, "2026-03-01T00:00:00Z"))
			if err != nil || again.reason != rests || again.state != nil {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestManyMissed counts what a schedule of every minute misses in a year in bounded time, and still finds the newest.
func TestManyMissed(t *testing.T) {
	now := at(t, "2027-03-01T12:00:30Z")
	state := &recordv1.ScheduleState{ScheduleRevision: 7, NextTime: timestamppb.New(at(t, "2026-03-01T12:00:00Z"))}
	began := time.Now()
	d, err := decide(store.Record[*jv1.Schedule]{Mod: 7, Msg: &jv1.Schedule{Name: "x", Cron: "* * * * *"}}, state, "", now)
	if err != nil || d.reason != fires || !d.due.Equal(now.Truncate(time.Minute)) || d.missed < maxCounted {
		t.Errorf("%+v, %v", d, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
