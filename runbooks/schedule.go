package runbooks

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jurymast/jurymast/runbooks/calendar"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// DefaultMissedWithin is how late a missed time may be fired when a schedule doesn't say.
const DefaultMissedWithin = time.Hour

// ValidateSchedule finds what is wrong with a schedule. The catalog may be nil, see Catalog.
func ValidateSchedule(s *jv1.Schedule, catalog *Catalog) (problems []*jv1.Problem, warnings []string) {
	r := newReport("schedule", s.GetName(), catalog)
	validateSchedule(r, s)
	return r.problems, r.warnings
}

func validateSchedule(r *report, s *jv1.Schedule) {
	if s == nil {
		r.problem("", "must be given")
		return
	}
	r.rules(s)
	checkTimes(r, s.GetCron(), s.GetTimeZone())
	if s.GetMode() == jv1.RunMode_RUN_MODE_DRILL {
		r.problem("mode", "drills are not available in this version: give dry_run, or live")
	}
	if s.GetMissedWithin() != nil && s.GetOnMissed() != jv1.OnMissed_ON_MISSED_FIRE_ONCE {
		r.warn("missed_within has no effect: missed times are skipped, unless on_missed is fire_once")
	}
	rb, ok := r.catalog.Runbooks[s.GetRunbook()]
	if !ok {
		r.missing("runbook", "runbook", s.GetRunbook(), names(r.catalog.Runbooks))
		return
	}
	checkScheduled(r, s, Normalize(rb))
}

// checkTimes looks at cron fields and their zone.
func checkTimes(r *report, cron, zone string) {
	if _, err := calendar.LoadZone(zone); err != nil {
		r.problem("time_zone", "%v", err)
		return
	}
	_, err := calendar.Next(cron, zone, time.Date(reckonFrom, 1, 1, 0, 0, 0, 0, time.UTC))
	switch place, ok := errors.AsType[*calendar.Error](err); {
	case errors.Is(err, calendar.ErrNever):
		r.problem("cron", "%s never comes: no month that it names has such a day", cron)
	case ok:
		r.problem("cron", "%v", place)
	case err != nil:
		r.problem("cron", "%v", err)
	}
}

// reckonFrom is the year from which times are tried: any does, and the same one gives the same answer each time.
const reckonFrom = 2024

// checkScheduled looks at what a schedule says of its runbook, which is normalised.
func checkScheduled(r *report, s *jv1.Schedule, rb *jv1.Runbook) {
	switch list := rb.GetServices(); {
	case s.GetService() == "" && len(list) > 1:
		r.problem("service", "must be given: the runbook %s is for several services%s", rb.GetName(), alternatives("", list))
	case s.GetService() != "" && !slices.Contains(list, s.GetService()):
		r.problem("service", "the runbook %s is not for %s%s", rb.GetName(), s.GetService(), alternatives(s.GetService(), list))
	}
	var service *jv1.Service
	if name, err := ScheduledService(s, rb); err == nil {
		service = r.catalog.Services[name]
	}
	for _, p := range CheckParameters(rb, service, s.GetParameters()) {
		field := quoted("parameters", p.Name)
		if p.Reason == ParameterMissing {
			field = "parameters"
		}
		r.problem(field, "%s", p.Message)
	}
	warnOfLevel(r, s, rb)
}

// warnOfLevel says what becomes of a time when the runbook may not act by itself.
func warnOfLevel(r *report, s *jv1.Schedule, rb *jv1.Runbook) {
	if s.GetMode() == jv1.RunMode_RUN_MODE_DRY_RUN {
		return // changes nothing, so nobody needs to agree
	}
	switch rb.GetAutomation().GetDefault() {
	case jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE:
		r.warn("the automation of runbook %s is propose: each time a human is asked before it begins", rb.GetName())
	case jv1.AutomationLevel_AUTOMATION_LEVEL_OBSERVE:
		r.warn("the automation of runbook %s is observe: each time is noted, and nothing is started", rb.GetName())
	}
}

// ScheduledService is the service that a schedule's runs are for: the one it names, or the only one of its runbook. It
// fails when the runbook is not for it, or for several and none is named.
func ScheduledService(s *jv1.Schedule, rb *jv1.Runbook) (string, error) {
	switch list := rb.GetServices(); {
	case s.GetService() == "" && len(list) == 1:
		return list[0], nil
	case slices.Contains(list, s.GetService()):
		return s.GetService(), nil
	}
	return "", fmt.Errorf("schedule %s: the runbook %s is for %v, not for %q", s.GetName(), rb.GetName(), rb.GetServices(), s.GetService())
}
