package calendar

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// TestNext gives the times that follow each other from a moment on. Times of the clock are of the zone.
func TestNext(t *testing.T) {
	for name, c := range map[string]struct {
		cron, zone, after string
		want              []string
	}{
		"utc":          {"30 9 * * *", "", "2026-03-01T09:29:59Z", []string{"2026-03-01T09:30:00Z", "2026-03-02T09:30:00Z"}},
		"strictly":     {"30 9 * * *", "", "2026-03-01T09:30:00Z", []string{"2026-03-02T09:30:00Z"}},
		"steps":        {"5-35/15 22,23 * * *", "", "2026-03-01T22:10:00Z", []string{"2026-03-01T22:20:00Z", "2026-03-01T22:35:00Z", "2026-03-01T23:05:00Z"}},
		"words":        {"0 0 * Mar Mon-Tue", "", "2026-03-01T00:00:00Z", []string{"2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-09T00:00:00Z"}},
		"sunday":       {"0 0 * * 7", "", "2026-03-02T00:00:00Z", []string{"2026-03-08T00:00:00Z"}},
		"to sunday":    {"0 0 * * fri-sun", "", "2026-03-05T00:00:00Z", []string{"2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z", "2026-03-13T00:00:00Z"}},
		"either day":   {"0 0 13 * fri", "", "2026-03-01T00:00:00Z", []string{"2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z"}},
		"both days":    {"0 0 */2 * fri", "", "2026-03-06T00:00:00Z", []string{"2026-03-13T00:00:00Z", "2026-03-27T00:00:00Z"}},
		"@daily":       {"@daily", "Europe/Berlin", "2026-07-01T00:00:00Z", []string{"2026-07-01T22:00:00Z"}},
		"@hourly":      {"@hourly", "", "2026-07-01T00:00:01Z", []string{"2026-07-01T01:00:00Z"}},
		"@Weekly":      {"@Weekly", "", "2026-03-02T00:00:00Z", []string{"2026-03-08T00:00:00Z"}},
		"@monthly":     {"@monthly", "", "2026-03-02T00:00:00Z", []string{"2026-04-01T00:00:00Z"}},
		"@yearly":      {"@yearly", "", "2026-03-02T00:00:00Z", []string{"2027-01-01T00:00:00Z"}},
		"leap day":     {"0 12 29 2 *", "", "2024-02-29T12:00:00Z", []string{"2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"}},
		"no leap year": {"0 12 29 2 *", "", "2096-02-29T12:00:00Z", []string{"2104-02-29T12:00:00Z"}},

		// The clocks go from 2:00 to 3:00 on 29 March 2026, and from 3:00 back to 2:00 on 25 October.
		"berlin gap":   {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"berlin gap *": {"*/30 2-3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"}},
		"berlin twice": {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"between both": {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", []string{"2026-10-26T01:30:00Z"}},
		"hourly twice": {"0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", []string{"2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"}},

		// 8 March and 1 November 2026.
		"new york gap":   {"15 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"}},
		"new york twice": {"15 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", []string{"2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z"}},

		// The clocks of Lord Howe change by half an hour: 2:00 to 2:30 on 4 October 2026, 2:00 back to 1:30 on 5 April.
		"lord howe gap":   {"15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z", "2026-10-04T15:15:00Z"}},
		"lord howe twice": {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},

		// Apia had no 30 December 2011.
		"apia day":    {"0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"}},
		"apia friday": {"59 23 * * fri", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-30T10:00:00Z", "2012-01-06T09:59:00Z"}},
		"apia date":   {"0 0 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", []string{"2011-12-30T10:00:00Z", "2012-12-29T10:00:00Z"}},

		// The clocks of Sao Paulo went from 0:00 to 1:00.
		"no midnight": {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			now := at(t, c.after)
			for _, want := range c.want {
				next, err := Next(c.cron, c.zone, now)
				if err != nil {
					t.Fatal(err)
				}
				if !next.Equal(at(t, want)) {
					t.Fatalf("after %s comes %s, want %s", now.Format(time.RFC3339), next.Format(time.RFC3339), want)
				}
				now = next
			}
		})
	}
}

// TestLongestGap finds the times that need to be looked for longest.
func TestLongestGap(t *testing.T) {
	for _, cron := range []string{"0 0 29 2 */6", "0 0 */30 2 mon", "0 0 29 2 *", "0 0 31 12 *"} {
		for year := 2020; year < 2120; year += 7 {
			if _, err := Next(cron, "", time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)); err != nil {
				t.Errorf("%s from %d: %v", cron, year, err)
			}
		}
	}
}

// TestNever holds what names no day to an error that says so.
func TestNever(t *testing.T) {
	for _, cron := range []string{"0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 30-31 feb *"} {
		if _, err := Next(cron, "", at(t, "2026-01-01T00:00:00Z")); !errors.Is(err, ErrNever) {
			t.Errorf("%s: %v", cron, err)
		}
	}
	if _, err := Next("* * * * *", "", time.Date(9999, 12, 31, 23, 59, 0, 0, time.UTC)); !errors.Is(err, ErrNever) {
		t.Errorf("after the last year: %v", err)
	}
}

// TestRefused holds texts that other crons take, each in its own way, to errors with their place.
func TestRefused(t *testing.T) {
	for cron, want := range map[string]string{
		"":                             "1:1: must be five fields",
		"   ":                          "1:1: must be five fields",
		"* * * *":                      "1:7: has 4 fields",
		"0 * * * * *":                  "1:11: has 6 fields, want five: minute, hour, day of month, month, day of week; there are no seconds",
		"TZ=UTC 0 3 * * *":             "1:1: the zone is not part of the times: give time_zone",
		"CRON_TZ=Europe/Rome @daily":   "1:1: the zone is not part of the times: give time_zone",
		"TZ=":                          "1:1: the zone is not part of the times: give time_zone",
		"@every 5m":                    "1:1: must be one of @hourly",
		"@reboot":                      "1:1: must be one of @hourly",
		"@daily 3":                     "1:1: must be one of @hourly",
		"60 * * * *":                   "1:1: minute: 60 is not within 0-59",
		"0 24 * * *":                   "1:3: hour: 24 is not within 0-23",
		"0 3 0 * *":                    "1:5: day of month: 0 is not within 1-31",
		"0 3 * 13 *":                   "1:7: month: 13 is not within 1-12",
		"0 3 * * 8":                    "1:9: day of week: 8 is not within 0-7",
		"0 3 * * monday":               `1:9: day of week: "monday" is not a number or a word such as sun`,
		"0 3 L * *":                    `1:5: day of month: "L" is not a number`,
		"0 3 15W * *":                  `1:5: day of month: "15W" is not a number`,
		"0 3 ? * *":                    `1:5: day of month: "?" is not a number`,
		"0 3 * * fri#2":                `1:9: day of week: "fri#2" is not a number or a word`,
		"0 22-2 * * *":                 `1:3: hour: "22-2" runs backwards`,
		"0 1,22-2 * * *":               `1:5: hour: "22-2" runs backwards`,
		"*/90 * * * *":                 `1:1: minute: "*/90": the step is as long as the range`,
		"5/15 * * * *":                 `1:1: minute: "5/15": a step needs * or a range before it`,
		"*/0 * * * *":                  `1:1: minute: "*/0": the step must be a number from 1`,
		"*/ * * * *":                   `1:1: minute: "*/": the step must be a number from 1`,
		"1,, * * * *":                  `1:3: minute: "" is not a number`,
		"-1 * * * *":                   `1:1: minute: "" is not a number`,
		"+1 * * * *":                   `1:1: minute: "+1" is not a number`,
		"1-2-3 * * * *":                `1:1: minute: "2-3" is not a number`,
		"99999999999999999999 * * * *": `1:1: minute: "99999999999999999999" is not a number`,
		strings.Repeat("1,", 101):      "1:1: has 202 bytes",
	} {
		_, err := Next(cron, "", time.Unix(0, 0))
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", cron, err, want)
		}
	}
	for _, zone := range []string{"Europe/Atlantis", "Local", "local", "../etc/passwd", "/etc/localtime", "CET-1CEST"} {
		if _, err := Next("@daily", zone, time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "is not a time zone") {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}
