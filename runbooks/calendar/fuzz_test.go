package calendar

import (
	"errors"
	"testing"
	"time"
)

// FuzzNext holds Next to its promises: no panic, errors with a place, times that lie ahead and follow each other, and an
// end in time. Each time is one that the clock shows and the fields name, unless it is the end of a gap.
func FuzzNext(f *testing.F) {
	for _, cron := range []string{"* * * * *", "*/5 1-3 29 2 mon", "@daily", "TZ=x 1 1 1 1 1", "0 0 30 2 *", "30 2 * * sun-tue"} {
		for _, zone := range []string{"", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "nowhere"} {
			f.Add(cron, zone, int64(1_325_000_000))
		}
	}
	f.Fuzz(func(t *testing.T, cron, zone string, unix int64) {
		after := time.Unix(unix%maxUnix, 0)
		began := time.Now()
		next, err := Next(cron, zone, after)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if err != nil {
			var wrong *Error
			if errors.As(err, &wrong) && (wrong.Column < 1 || wrong.Message == "") {
				t.Errorf("an error without a place: %+v", wrong)
			}
			return
		}
		if !next.After(after) {
			t.Fatalf("%v is not after %v", next, after)
		}
		if again, err := Next(cron, zone, next.Add(-time.Second)); err != nil || !again.Equal(next) {
			t.Fatalf("from a second before comes %v, %v, not %v", again, err, next)
		}
		named(t, cron, zone, next)
	})
}

// maxUnix is a moment of the year 9000.
const maxUnix = 221_845_219_200

func named(t *testing.T, cron, zone string, next time.Time) {
	t.Helper()
	times, err := newTimes(cron, zone)
	if err != nil {
		t.Fatal(err)
	}
	local := next.In(times.zone)
	start, _ := local.ZoneBounds()
	day := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	shown := times.minute>>local.Minute()&1 == 1 && times.hour>>local.Hour()&1 == 1 && times.month>>local.Month()&1 == 1 && times.names(day)
	if !shown && !start.Equal(next) {
		t.Fatalf("the fields %q don't name %v", cron, local)
	}
}
