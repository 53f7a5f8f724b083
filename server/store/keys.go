package store

import (
	"strconv"
	"strings"
)

// The keyspace. Every key begins with [Root]; the families are listed here and nowhere else. Names are DNS labels or
// ids without slashes, so that a prefix never matches a neighbour.
const (
	// Root is the beginning of all keys; an external cluster may be shared with other users.
	Root = "/jurymast/v1/"

	Sessions         = Root + "sessions/"          // <replica>/<random>: record.Session, leased
	Providers        = Root + "providers/"         // <name>: Provider
	Services         = Root + "services/"          // <name>: Service
	Detectors        = Root + "detectors/"         // <name>: Detector
	Channels         = Root + "channels/"          // <name>: Channel
	Runbooks         = Root + "runbooks/"          // <name>: Runbook
	RunbookRevisions = Root + "runbook_revisions/" // <name>/<version>: Runbook
	Continuity       = Root + "continuity/"        // <service>: ContinuityState
	InForce          = Root + "in_force/"          // <subscriber>: record.InForceReport
	VotesPrefix      = Root + "votes/"             // <service>/<replica>: record.Votes, leased
	Reports          = Root + "reports/"           // <service>/<provider>/<detector>/<subject hash>: record.Report
	HealthPrefix     = Root + "health/"            // <service>/<provider>: Health
	Triggers         = Root + "triggers/"          // <id>: Trigger
	ArchivedTriggers = Root + "archived_triggers/" // <id>: Trigger that has ended; not mirrored
	Runs             = Root + "runs/"              // <id>: Run
	ArchivedRuns     = Root + "archived_runs/"     // <id>: record.ArchivedRun; not mirrored
	RunEventsPrefix  = Root + "run_events/"        // <run>/<first sequence>: record.RunEvents; not mirrored
	LiveRuns         = Root + "live_runs/"         // <service>: record.LiveRun
	Episodes         = Root + "episodes/"          // <service>/<provider>/<generation>/<runbook>: record.Episode
	Cooldowns        = Root + "cooldowns/"         // <service>/<provider>/<runbook>: record.Cooldown
	AutomationPrefix = Root + "automation/"        // global, or services/<service>: Automation
	Outbox           = Root + "outbox/"            // <id>: Notification
	Deliveries       = Root + "deliveries/"        // <notification>: record.Delivery
	Requests         = Root + "requests/"          // <principal hash>/<request id hash>: record.Request; not mirrored
	Audit            = Root + "audit/"             // <id>: AuditEvent; not mirrored
	Retired          = Root + "retired/"           // <service>: ContinuityState, the last one of a removed service
	Schedules        = Root + "schedules/"         // <name>: Schedule
	ScheduleStates   = Root + "schedule_states/"   // <name>: record.ScheduleState
	Maintenances     = Root + "maintenances/"      // <name>: Maintenance
	SettingsPrefix   = Root + "settings/"          // default: Settings
	SwitchSlots      = Root + "switch_slots/"      // <number>: record.SwitchSlot
	Incidents        = Root + "incidents/"         // <id>: Incident
	OpenIncidents    = Root + "open_incidents/"    // <service>: record.OpenIncident
	Meta             = Root + "meta/"              // restore_epoch: record.RestoreEpoch, observe_only: record.ObserveOnly, backup: record.Backup
)

// Key builders of the families. The arguments must be free of slashes.
func key(family string, parts ...string) string { return family + strings.Join(parts, "/") }

// ProviderKey is the key of a provider.
func ProviderKey(name string) string { return key(Providers, name) }

// ServiceKey is the key of a service.
func ServiceKey(name string) string { return key(Services, name) }

// DetectorKey is the key of a detector.
func DetectorKey(name string) string { return key(Detectors, name) }

// ChannelKey is the key of a channel.
func ChannelKey(name string) string { return key(Channels, name) }

// RunbookKey is the key of the newest revision of a runbook.
func RunbookKey(name string) string { return key(Runbooks, name) }

// RunbookRevisionKey is the key of one revision of a runbook; versions sort by number.
func RunbookRevisionKey(name string, version int64) string {
	return key(RunbookRevisions, name, padded(version))
}

// ContinuityKey is the key of a service's continuity state.
func ContinuityKey(service string) string { return key(Continuity, service) }

// RetiredKey is the key of the last state of a removed service, from which one of the same name goes on.
func RetiredKey(service string) string { return key(Retired, service) }

// InForceKey is the key of a subscriber's report.
func InForceKey(subscriber string) string { return key(InForce, hashed(subscriber)) }

// VotesKey is the key of what a replica's probes say of a service.
func VotesKey(service, replica string) string { return key(VotesPrefix, service, replica) }

// ReportKey is the key of the last signal a detector's sender gave about a subject.
func ReportKey(service, provider, detector, subject string) string {
	return key(Reports, service, provider, detector, hashed(subject))
}

// HealthKey is the key of a provider's health for a service.
func HealthKey(service, provider string) string { return key(HealthPrefix, service, provider) }

// TriggerKey is the key of a trigger.
func TriggerKey(id string) string { return key(Triggers, id) }

// ScheduleKey is the key of a schedule.
func ScheduleKey(name string) string { return key(Schedules, name) }

// ScheduleStateKey is the key of where a schedule stands.
func ScheduleStateKey(name string) string { return key(ScheduleStates, name) }

// MaintenanceKey is the key of a maintenance window.
func MaintenanceKey(name string) string { return key(Maintenances, name) }

// SettingsKey is the key of settings; there are only those of the name `default`.
func SettingsKey(name string) string { return key(SettingsPrefix, name) }

// SwitchSlotKey is the key of one slot of the fleet-wide switch limit, counted from 0.
func SwitchSlotKey(slot int) string { return key(SwitchSlots, padded(int64(slot))) }

// IncidentKey is the key of an incident.
func IncidentKey(id string) string { return key(Incidents, id) }

// OpenIncidentKey is the key that ties a service to its open incident.
func OpenIncidentKey(service string) string { return key(OpenIncidents, service) }

// RunKey is the key of a run.
func RunKey(id string) string { return key(Runs, id) }

// ArchivedRunKey is the key of an ended run that was moved out of the mirror.
func ArchivedRunKey(id string) string { return key(ArchivedRuns, id) }

// ArchivedTriggerKey is the key of an ended trigger that was moved out of the mirror.
func ArchivedTriggerKey(id string) string { return key(ArchivedTriggers, id) }

// RunEventsKey is the key of the events one transaction added; they sort by sequence number.
func RunEventsKey(run string, first int64) string { return key(RunEventsPrefix, run, padded(first)) }

// LiveRunKey is the key of the lock of a service.
func LiveRunKey(service string) string { return key(LiveRuns, service) }

// EpisodeKey is the key that keeps a runbook to one run for each episode of a provider of a service.
func EpisodeKey(service, provider string, generation int64, runbook string) string {
	return key(Episodes, service, provider, padded(generation), runbook)
}

// CooldownKey is the key of a runbook's cooldown for a provider of a service. The provider is part of it because a
// second provider that fails is another disaster, not a relapse.
func CooldownKey(service, provider, runbook string) string {
	return key(Cooldowns, service, provider, runbook)
}

// AutomationKey is the key of an automation switch; the empty service is the global one.
func AutomationKey(service string) string {
	if service == "" {
		return AutomationPrefix + "global"
	}
	return key(AutomationPrefix, "services", service)
}

// OutboxKey is the key of a notification.
func OutboxKey(id string) string { return key(Outbox, id) }

// DeliveryKey is the key of the claim on a notification.
func DeliveryKey(notification string) string { return key(Deliveries, notification) }

// RequestKey is the key of an answered request.
func RequestKey(principal, requestID string) string {
	return key(Requests, hashed(principal), hashed(requestID))
}

// AuditKey is the key of an audit event.
func AuditKey(id string) string { return key(Audit, id) }

// RestoreEpochKey is the key of the restore epoch.
func RestoreEpochKey() string { return Meta + "restore_epoch" }

// ObserveOnlyKey is the key of the fact that replicas only observe.
func ObserveOnlyKey() string { return Meta + "observe_only" }

// BackupKey is the key of the record of the last backup.
func BackupKey() string { return Meta + "backup" }

// padded writes a number so that the order of keys is the order of numbers.
func padded(n int64) string {
	s := strconv.FormatInt(n, 10)
	return strings.Repeat("0", max(0, 12-len(s))) + s
}
