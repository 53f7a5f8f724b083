package auth

import "strings"

// Rule is what a method needs.
type Rule struct {
	// Role is the least role; None: anybody may call it.
	Role Role
	// Read says that the method changes nothing, so that its answer may come from the last known state.
	Read bool
}

// service is the rules of one service by method.
type service map[string]Rule

var (
	anybody  = Rule{Role: None, Read: true}
	reads    = Rule{Role: Viewer, Read: true}
	reports  = Rule{Role: Viewer}
	steers   = Rule{Role: Operator}
	declares = Rule{Role: Admin}
)

// rules is the table of all methods. It is read only.
//
// Apply and Delete need admin because a provider's address together with a credential reference decides where a secret
// is sent. The audit is for operators: it holds people's reasons. Health checks are for everybody, so that a load
// balancer needs no secret; they say nothing but SERVING or not.
var rules = map[string]service{
	"jurymast.v1.CatalogService": {
		"Apply": declares, "Delete": declares,
		"GetProvider": reads, "ListProviders": reads, "GetService": reads, "ListServices": reads,
		"GetDetector": reads, "ListDetectors": reads, "GetChannel": reads, "ListChannels": reads,
		"GetSchedule": reads, "ListSchedules": reads, "GetMaintenance": reads, "ListMaintenances": reads, "GetSettings": reads,
	},
	"jurymast.v1.RunbookService": {
		"ApplyRunbook": declares, "DeleteRunbook": declares,
		"GetRunbook": reads, "ListRunbooks": reads, "ListRunbookRevisions": reads,
		"ValidateRunbook": reads, "PlanRunbook": reads,
	},
	"jurymast.v1.RunService": {
		"StartRun": steers, "CancelRun": steers, "PauseRun": steers, "ResumeRun": steers, "DecideRun": steers,
		"SkipStep": steers, "RetryStep": steers,
		"GetRun": reads, "ListRuns": reads, "WatchRuns": reads, "ListRunEvents": reads,
	},
	"jurymast.v1.ContinuityService": {
		"SwitchProvider": steers, "SetQueueing": steers, "Acknowledge": steers, "Undo": steers,
		"ReportInForce": reports,
		"GetContinuity": reads, "ListContinuity": reads, "WatchContinuity": reads,
	},
	"jurymast.v1.DetectorService": {
		"ReportSignals": steers, "SetOperatorSignal": steers, "FireTrigger": steers,
		"ListTriggers": reads, "ListHealth": reads, "WatchHealth": reads, "WhyNot": reads,
	},
	"jurymast.v1.IncidentService": {"GetIncident": reads, "ListIncidents": reads},
	"jurymast.v1.AdminService": {
		"SetAutomation": steers,
		"GetInfo":       reads, "GetAutomation": reads, "ListNotifications": reads,
		"ListAuditEvents": {Role: Operator, Read: true},
		"Backup":          {Role: Admin, Read: true}, // it holds everything
		"ConfirmRestore":  declares,
	},
	"grpc.health.v1.Health": {
		"Check": anybody, "List": anybody, "Watch": anybody,
	},
	"grpc.reflection.v1.ServerReflection":      {"ServerReflectionInfo": reads},
	"grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": reads},
}

// RuleOf returns the rule of a method by its full name, e.g. `/jurymast.v1.RunService/GetRun`. ok is false for a method
// that is not in the table; it must be refused.
func RuleOf(fullMethod string) (rule Rule, ok bool) {
	name, method, found := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !found {
		return Rule{}, false
	}
	rule, ok = rules[name][method]
	return rule, ok
}

// Action returns the short name of a method as it stands in the audit, e.g. `RunService.GetRun`.
func Action(fullMethod string) string {
	name, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return name[strings.LastIndexByte(name, '.')+1:] + "." + method
}
