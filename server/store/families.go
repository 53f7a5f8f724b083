package store

import (
	"strings"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// family says what is stored under a prefix.
type family struct {
	// message makes an empty message of the family's type.
	message func() proto.Message
	// mirrored families are kept decoded in memory; the others grow without bounds or are read rarely.
	mirrored bool
}

// families maps the prefix of each family to what it holds. A key of another family is one of a newer version.
var families = map[string]family{
	Sessions:         {func() proto.Message { return new(recordv1.Session) }, true},
	Providers:        {func() proto.Message { return new(jurymastv1.Provider) }, true},
	Services:         {func() proto.Message { return new(jurymastv1.Service) }, true},
	Detectors:        {func() proto.Message { return new(jurymastv1.Detector) }, true},
	Channels:         {func() proto.Message { return new(jurymastv1.Channel) }, true},
	Runbooks:         {func() proto.Message { return new(jurymastv1.Runbook) }, true},
	RunbookRevisions: {func() proto.Message { return new(jurymastv1.Runbook) }, true},
	Continuity:       {func() proto.Message { return new(jurymastv1.ContinuityState) }, true},
	InForce:          {func() proto.Message { return new(recordv1.InForceReport) }, true},
	VotesPrefix:      {func() proto.Message { return new(recordv1.Votes) }, true},
	Reports:          {func() proto.Message { return new(recordv1.Report) }, true},
	HealthPrefix:     {func() proto.Message { return new(jurymastv1.Health) }, true},
	Triggers:         {func() proto.Message { return new(jurymastv1.Trigger) }, true},
	Runs:             {func() proto.Message { return new(jurymastv1.Run) }, true},
	ArchivedRuns:     {func() proto.Message { return new(recordv1.ArchivedRun) }, false},
	ArchivedTriggers: {func() proto.Message { return new(jurymastv1.Trigger) }, false},
	RunEventsPrefix:  {func() proto.Message { return new(recordv1.RunEvents) }, false},
	LiveRuns:         {func() proto.Message { return new(recordv1.LiveRun) }, true},
	Episodes:         {func() proto.Message { return new(recordv1.Episode) }, true},
	Cooldowns:        {func() proto.Message { return new(recordv1.Cooldown) }, true},
	AutomationPrefix: {func() proto.Message { return new(jurymastv1.Automation) }, true},
	Outbox:           {func() proto.Message { return new(jurymastv1.Notification) }, true},
	Deliveries:       {func() proto.Message { return new(recordv1.Delivery) }, true},
	Requests:         {func() proto.Message { return new(recordv1.Request) }, false},
	Audit:            {func() proto.Message { return new(jurymastv1.AuditEvent) }, false},
	Retired:          {func() proto.Message { return new(jurymastv1.ContinuityState) }, true},
	Schedules:        {func() proto.Message { return new(jurymastv1.Schedule) }, true},
	ScheduleStates:   {func() proto.Message { return new(recordv1.ScheduleState) }, true},
	Maintenances:     {func() proto.Message { return new(jurymastv1.Maintenance) }, true},
	SettingsPrefix:   {func() proto.Message { return new(jurymastv1.Settings) }, true},
	SwitchSlots:      {func() proto.Message { return new(recordv1.SwitchSlot) }, true},
	Incidents:        {func() proto.Message { return new(jurymastv1.Incident) }, true},
	OpenIncidents:    {func() proto.Message { return new(recordv1.OpenIncident) }, true},
	Meta:             {nil, true}, // see metas
}

// metas are the records of the family Meta by key: each has a type of its own.
var metas = map[string]func() proto.Message{
	RestoreEpochKey(): func() proto.Message { return new(recordv1.RestoreEpoch) },
	ObserveOnlyKey():  func() proto.Message { return new(recordv1.ObserveOnly) },
	BackupKey():       func() proto.Message { return new(recordv1.Backup) },
}

// messageOf returns an empty message of the type that is stored at a key; ok is false for a key that this version doesn't
// know.
func messageOf(key string) (m proto.Message, ok bool) {
	f, ok := familyOf(key)
	if !ok {
		return nil, false
	}
	if strings.HasPrefix(key, Meta) {
		if f.message, ok = metas[key]; !ok {
			return nil, false
		}
	}
	return f.message(), true
}

// familyOf returns the family of a key; ok is false for one that this version doesn't know.
func familyOf(key string) (f family, ok bool) {
	name, _, ok := strings.Cut(strings.TrimPrefix(key, Root), "/")
	if !ok {
		return family{}, false
	}
	f, ok = families[Root+name+"/"]
	return f, ok
}

// segment is a part of the keyspace, from one key to before another.
type segment struct{ from, before string }

// mirroredSegments are the parts of the keyspace without the families that are not mirrored, in order. Families that
// this version doesn't know are in them, so that they are noticed.
func mirroredSegments() []segment {
	// In the order of their keys.
	skipped := []string{ArchivedRuns, ArchivedTriggers, Audit, Requests, RunEventsPrefix}
	var segments []segment
	from := Root
	for _, prefix := range skipped {
		segments = append(segments, segment{from, prefix})
		from = afterPrefix(prefix)
	}
	return append(segments, segment{from, afterPrefix(Root)})
}
