package runbooks

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/runbooks/calendar"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ValidateMaintenance finds what is wrong with a maintenance window. The catalog may be nil, see Catalog.
func ValidateMaintenance(m *jv1.Maintenance, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	r := newReport("maintenance", m.GetName(), catalog)
	validateMaintenance(r, m)
	return r.problems, r.warnings
}

func validateMaintenance(r *report, m *jv1.Maintenance) {
	if m == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(m)
	checkCovered(r, m)
	if checkBounds(r, m); m.GetCron() == "" {
		checkOnce(r, m)
		return
	}
	checkTimes(r, m.GetCron(), m.GetTimeZone())
	if m.GetDuration() == nil {
		r.problem("duration", "must be given: how long a window that comes again lasts")
		return
	}
	warnOfOverlap(r, m)
}

// checkCovered looks at what a window is for.
func checkCovered(r *report, m *jv1.Maintenance) {
	for i, name := range m.GetServices() {
		if _, ok := r.catalog.Services[name]; !ok {
			r.missing(at("services", i), "service", name, names(r.catalog.Services))
		}
	}
	for i, name := range m.GetProviders() {
		field := at("providers", i)
		if _, ok := r.catalog.Providers[name]; !ok {
			r.missing(field, "provider", name, names(r.catalog.Providers))
			continue
		}
		serves := func(service string) bool { return r.catalog.serves(service, name) }
		if len(m.GetServices()) > 0 && !slices.ContainsFunc(m.GetServices(), serves) && !r.catalog.partial {
			r.warn("%s: %s is a provider of none of %s", field, name, strings.Join(m.GetServices(), ", "))
		}
	}
}

// checkBounds looks at start and end.
func checkBounds(r *report, m *jv1.Maintenance) {
	start, end := m.GetStart(), m.GetEnd()
	sound := func(field string, t *timestamppb.Timestamp) bool {
		if t != nil && !t.IsValid() {
			r.problem(field, "is not a time between the years 1 and 9999")
			return false
		}
		return t != nil
	}
	if sound("start", start) && sound("end", end) && !start.AsTime().Before(end.AsTime()) {
		r.problem("end", "the window ends before it begins")
	}
}

// checkOnce looks at a window that comes once.
func checkOnce(r *report, m *jv1.Maintenance) {
	if m.GetStart() == nil {
		r.problem("start", "must be given, with end; or cron and duration for windows that come again")
	} else if m.GetEnd() == nil {
		r.problem("end", "must be given: when the window ends")
	}
	if m.GetTimeZone() != "" {
		r.problem("time_zone", "is that of cron, and there is none: start and end say theirs, as in 2026-03-01T22:00:00+01:00")
	}
	if m.GetDuration() != nil {
		r.problem("duration", "is that of windows that come again: give cron, or end alone")
	}
}

// tries is how many windows are looked at for one that begins before the last is over.
const tries = 60

// warnOfOverlap finds windows that run into each other, and so perhaps never end.
func warnOfOverlap(r *report, m *jv1.Maintenance) {
	begin := time.Date(reckonFrom, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range tries {
		next, err := calendar.Next(m.GetCron(), m.GetTimeZone(), begin)
		if err != nil {
			return // it has been told
		}
		if i > 0 && next.Sub(begin) <= m.GetDuration().AsDuration() {
			r.warn("a window of %s begins again %s after the last: they run into each other, and the machines hold still meanwhile",
				words(m.GetDuration().AsDuration()), words(next.Sub(begin)))
			return
		}
		begin = next
	}
}
