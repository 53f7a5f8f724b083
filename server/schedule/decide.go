package schedule

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/calendar"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// punctual is how late a time may be fired and still not count as missed: longer than replicas need to see that a
	// session is gone, and shorter than two times can follow each other.
	punctual = time.Minute
	// maxCounted bounds how many missed times are counted at once; beyond it the count is too low.
	maxCounted = 10_000
	// longest is the longest that a missed time may be fired late.
	longest = 7 * 24 * time.Hour
)

// reason names a decision.
type reason string

const (
	// rests: the schedule is paused, or its next time has not come.
	rests reason = "rests"
	// begins: it was stored anew, and its times are reckoned from then on.
	begins reason = "begins"
	// fires: a time has come.
	fires reason = "fires"
	// firesLate: times were missed, and the newest of them is fired nevertheless.
	firesLate reason = "fires_late"
	// misses: times were missed and are not fired.
	misses reason = "misses"
	// firedBefore: the time has its trigger already.
	firedBefore reason = "fired_before"
	// ends: no further time exists that the API can tell.
	ends reason = "ends"
)

// decision is what is done about a schedule at a moment.
type decision struct {
	reason reason
	// state is stored; nil: nothing is.
	state *recordv1.ScheduleState
	// due is the time that is fired; zero: none is.
	due time.Time
	// missed is how many times are counted as missed by this decision.
	missed int64
	// next is when to look again; zero: when the schedule changes.
	next time.Time
}

// decide says what is to be done about a schedule as it is stored, in the state in which it stands; nil: in none. The
// restore epoch is that of the store.
func decide(s store.Record[*jv1.Schedule], state *recordv1.ScheduleState, epoch string, now time.Time) (decision, error) {
	if state == nil || state.GetScheduleRevision() != s.Mod || state.GetRestoreEpoch() != epoch {
		return begin(s, state, epoch, now)
	}
	if s.Msg.GetPaused() || state.GetNextTime() == nil {
		return decision{reason: rests}, nil
	}
	first := state.GetNextTime().AsTime()
	if now.Before(first) {
		return decision{reason: rests, next: first}, nil
	}
	newest, passed, err := passedTimes(s.Msg, first, now)
	if err != nil {
		return decision{}, err
	}
	d := decision{reason: misses, missed: passed, state: proto.CloneOf(state)}
	if late := now.Sub(newest); late <= allowance(s.Msg) {
		if d.reason = fires; late > punctual {
			d.reason = firesLate
		}
		d.due, d.missed = newest, passed-1
		d.state.LastTime, d.state.LastTrigger = timestamppb.New(newest), TriggerName(s.Msg.GetName(), newest)
	}
	d.state.Missed += d.missed
	err = d.reckon(s.Msg, newest)
	return d, err
}

// begin reckons a schedule that was stored anew. Its times count from when it was stored, also when it is looked at only
// later, but not from a moment that our clock has not reached. In a store that was restored they count from now on: what
// fired since the backup is not known.
func begin(s store.Record[*jv1.Schedule], before *recordv1.ScheduleState, epoch string, now time.Time) (decision, error) {
	d := decision{reason: begins, state: &recordv1.ScheduleState{
		ScheduleRevision: s.Mod, RestoreEpoch: epoch, LastTime: before.GetLastTime(), LastTrigger: before.GetLastTrigger(),
	}}
	from := now
	restored := before != nil && before.GetRestoreEpoch() != epoch
	if stored := s.Msg.GetUpdateTime(); !restored && stored.IsValid() && stored.AsTime().Before(now) {
		from = stored.AsTime()
	}
	if s.Msg.GetPaused() {
		return d, nil
	}
	err := d.reckon(s.Msg, from)
	return d, err
}

// miss turns a time that was to be fired into a missed one.
func (d *decision) miss(before *recordv1.ScheduleState) {
	d.reason, d.due = misses, time.Time{}
	d.missed++
	d.state.Missed++
	d.state.LastTime, d.state.LastTrigger = before.GetLastTime(), before.GetLastTrigger()
}

// reckon sets the next time: the first after a moment.
func (d *decision) reckon(s *jv1.Schedule, after time.Time) error {
	next, err := calendar.Next(s.GetCron(), s.GetTimeZone(), after)
	switch {
	case errors.Is(err, calendar.ErrNever):
		d.state.NextTime, d.next = nil, time.Time{}
		if d.reason == begins {
			d.reason = ends
		}
		return nil
	case err != nil:
		return fmt.Errorf("reckon the next time of schedule %s: %w", s.GetName(), err)
	}
	d.state.NextTime, d.next = timestamppb.New(next), next
	return nil
}

// allowance is how late a time may be fired.
func allowance(s *jv1.Schedule) time.Duration {
	if s.GetOnMissed() != jv1.OnMissed_ON_MISSED_FIRE_ONCE {
		return punctual
	}
	if s.GetMissedWithin() == nil {
		return runbooks.DefaultMissedWithin
	}
	return max(punctual, min(s.GetMissedWithin().AsDuration(), longest))
}

// passedTimes returns the newest of the times from first on that have come, and how many they are. When they are very
// many the count is too low; the newest is right all the same where it could still be fired.
func passedTimes(s *jv1.Schedule, first, now time.Time) (newest time.Time, count int64, err error) {
	newest, count = first, 1
	for {
		next, err := calendar.Next(s.GetCron(), s.GetTimeZone(), newest)
		switch {
		case errors.Is(err, calendar.ErrNever):
			return newest, count, nil
		case err != nil:
			return newest, count, fmt.Errorf("count the times of schedule %s: %w", s.GetName(), err)
		case next.After(now):
			return newest, count, nil
		}
		newest, count = next, count+1
		if recent := now.Add(-longest - time.Minute); count == maxCounted && newest.Before(recent) {
			newest = recent // no time, but before all that matter
		}
	}
}

// TriggerName is the name of the trigger that a schedule fires for a time. A schedule fires it once because the name is
// taken then.
func TriggerName(schedule string, due time.Time) string {
	return "s-" + schedule + "-" + due.UTC().Format("20060102t150405z")
}
