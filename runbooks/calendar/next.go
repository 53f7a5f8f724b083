package calendar

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// ErrNever says that the fields name no day that exists, such as 30 February.
var ErrNever = errors.New("names no day that exists")

// maxYears is how far ahead a time is looked for. The longest that any fields need is 40 years: 29 February on one
// weekday, across a year such as 2100 that is no leap year.
const maxYears = 50

// lastYear is the last one that the API can tell.
const lastYear = 9999

// Next returns the first time after `after` that five cron fields name in a time zone (empty: UTC), in UTC. A text that
// is wrong is an *Error; ErrNever means that no such time exists.
func Next(cron, zone string, after time.Time) (time.Time, error) {
	t, err := newTimes(cron, zone)
	if err != nil {
		return time.Time{}, err
	}
	return t.next(after)
}

// times are the times that cron fields name in a zone.
type times struct {
	fields
	zone *time.Location
}

func newTimes(cron, zone string) (times, error) {
	f, err := parse(cron)
	if err != nil {
		return times{}, err
	}
	z, err := LoadZone(zone)
	if err != nil {
		return times{}, err
	}
	return times{f, z}, nil
}

// next looks at each day that the fields name, from one that surely ended before. The clock's times of a day in their
// order are instants in that order, so that the first that lies ahead is the earliest.
func (t times) next(after time.Time) (time.Time, error) {
	local := after.In(t.zone)
	// The clocks of Apia left out a whole day: a time of it comes at the beginning of the day after.
	day := time.Date(local.Year(), local.Month(), local.Day()-2, 0, 0, 0, 0, time.UTC)
	for last := min(day.Year()+maxYears, lastYear); day.Year() <= last; {
		switch {
		case t.month>>day.Month()&1 == 0:
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case t.names(day):
			if at, ok := t.within(day, after); ok {
				return at, nil
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}, fmt.Errorf("the fields: %w", ErrNever)
}

// names tells whether the day fields name a day, whose month they do.
func (t times) names(day time.Time) bool {
	inMonth, inWeek := t.day>>day.Day()&1 == 1, t.weekday>>day.Weekday()&1 == 1
	if t.either {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// within returns the first time of a day that lies ahead.
func (t times) within(day, after time.Time) (time.Time, bool) {
	at := func(hour, minute int) time.Time {
		return instant(day.Add(time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute), t.zone)
	}
	latest := bits.Len64(t.minute) - 1
	if !at(bits.Len64(t.hour)-1, latest).After(after) {
		return time.Time{}, false
	}
	for hour := range 24 {
		if t.hour>>hour&1 == 0 || !at(hour, latest).After(after) {
			continue
		}
		for minute := range 60 {
			if t.minute>>minute&1 == 0 {
				continue
			}
			if when := at(hour, minute); when.After(after) {
				return when, true
			}
		}
	}
	return time.Time{}, false
}
