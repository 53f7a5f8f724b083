package calendar

import (
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// maxLinks bounds how many windows that run into each other are followed to find the end of the last.
const maxLinks = 400

// Open tells whether a maintenance window is open, and when that changes next; zero: never again. Of windows that run
// into each other without an end the change is one up to which it is surely open. What can't be read is not open: a
// record that nobody understands must not keep the machines from acting for ever.
func Open(m *jv1.Maintenance, now time.Time) (open bool, change time.Time) {
	start, end := bound(m)
	if m.GetCron() == "" {
		return within(start, end, now)
	}
	t, err := newTimes(m.GetCron(), m.GetTimeZone())
	length := m.GetDuration().AsDuration()
	if err != nil || length <= 0 || !end.IsZero() && !now.Before(end) {
		return false, time.Time{}
	}
	from := now
	if from.Before(start) {
		from = start // what began before and is not over begins there
	}
	begin, err := t.next(from.Add(-length))
	switch {
	case err != nil:
		return false, time.Time{}
	case begin.Before(start):
		begin = start
	}
	if begin.After(now) {
		if !end.IsZero() && !begin.Before(end) {
			return false, time.Time{}
		}
		return false, begin
	}
	change = t.closing(from, length)
	if !end.IsZero() && end.Before(change) {
		change = end
	}
	return true, change
}

// closing is when the windows that are open at a time, one beginning before the last is over, have ended.
func (t times) closing(now time.Time, length time.Duration) time.Time {
	begin, closed := now.Add(-length), now
	for range maxLinks {
		next, err := t.next(begin)
		if err != nil || next.After(closed) {
			break
		}
		begin, closed = next, next.Add(length)
	}
	return closed
}

// bound returns start and end of a window; zero: it has none.
func bound(m *jv1.Maintenance) (start, end time.Time) {
	if m.GetStart() != nil {
		start = m.GetStart().AsTime()
	}
	if m.GetEnd() != nil {
		end = m.GetEnd().AsTime()
	}
	return start, end
}

func within(start, end, now time.Time) (bool, time.Time) {
	switch {
	case !start.Before(end) || !now.Before(end):
		return false, time.Time{}
	case now.Before(start):
		return false, start
	}
	return true, end
}

// Covers tells whether a window is for a provider of a service, open or not. The empty provider asks for the service
// itself, which a window for some providers alone does not cover.
func Covers(m *jv1.Maintenance, service, provider string) bool {
	names := func(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }
	return names(m.GetServices(), service) && names(m.GetProviders(), provider)
}
