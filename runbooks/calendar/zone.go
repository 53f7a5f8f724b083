package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // images without a system have no zone data, and what a schedule means must not hang on it
)

// LoadZone returns the time zone of a name of the IANA database. Empty: UTC.
func LoadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	// Local would be another zone on each replica.
	if strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("%q is not a time zone of the IANA database, such as Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone of the IANA database, such as Europe/Berlin", name)
	}
	return zone, nil
}

// widest is more than any zone is away from UTC.
const widest = 26 * time.Hour

// instant is when the clocks of a zone show a time, which is given as if it were UTC: the first time when they do so
// twice, the end of the gap when they don't.
func instant(wall time.Time, zone *time.Location) time.Time {
	at := wall.Add(-widest)
	for {
		local := at.In(zone)
		start, end := local.ZoneBounds()
		_, offset := local.Zone()
		shown := wall.Add(-time.Duration(offset) * time.Second)
		switch {
		case !start.IsZero() && shown.Before(start):
			return start.UTC() // the clocks went past it there
		case end.IsZero() || shown.Before(end):
			return shown
		}
		at = end
	}
}
