package runbooks

import (
	"slices"

	"github.com/jurymast/jurymast/runbooks/expr"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// kind is what is known of one kind of step. The table is the only place that lists them.
type kind struct {
	// check finds what is wrong with a step of this kind. Nil: this version can't execute it.
	check func(*stepCheck)
	// summary says in words what a step does.
	summary func(*jv1.Step) string
	// compensation says how a step is undone. Empty: it is not.
	compensation string
	// outputs lists what a step gives when it succeeds, see [Outputs]. Nil: nothing.
	outputs func(*jv1.Step) map[string]expr.Type
	// inStore says that the whole effect is a write to our own store: it can be part of the transaction that creates
	// the run.
	inStore bool
}

// kinds are the kinds of steps. They are set up by a function, as checks of steps look at the table again.
func kinds() map[string]kind {
	return map[string]kind{
		"switch_provider": {
			check: checkSwitch, summary: switchSummary, outputs: switchOutputs, inStore: true,
			compensation: "switch back to the provider that was active before, if it passes the guards",
		},
		"enable_queueing": {
			check: checkNothing, summary: func(*jv1.Step) string { return "switch queueing on" }, inStore: true,
			compensation: "switch queueing off again",
		},
		"disable_queueing": {
			check: checkNothing, summary: func(*jv1.Step) string { return "switch queueing off" }, inStore: true,
			compensation: "switch queueing on again",
		},
		"notify":       {check: checkNotify, summary: notifySummary, inStore: true},
		"approval":     {check: checkApproval, summary: approvalSummary},
		"wait":         {check: checkWait, summary: waitSummary},
		"verify":       {check: checkVerify, summary: verifySummary},
		"http_request": {check: checkRequest, summary: requestSummary, outputs: requestOutputs},

		"update_incident": {check: checkIncident, summary: incidentSummary, outputs: incidentOutputs, inStore: true},
		"set_weight": {
			check: checkWeight, summary: weightSummary, inStore: true,
			compensation: "restore the weights that were before",
		},
		"drain_queue": {check: checkDrain, summary: drainSummary, outputs: drainOutputs, inStore: true},
		"automation_off": {
			check: checkNothing, summary: automationOffSummary, inStore: true,
			compensation: "switch automation on again, unless somebody set it since",
		},

		// What they do is what the steps inside of them do.
		"run_runbook": {check: checkRunRunbook, summary: runSummary, inStore: true},
		"parallel":    {check: checkParallel, summary: parallelSummary, inStore: true},
	}
}

// StepKind returns the kind of a step as files write it, e.g. `switch_provider`. Empty: it has none.
func StepKind(step *jv1.Step) string {
	m := step.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("action"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// StepKinds lists the kinds of steps that this version executes, sorted.
func StepKinds() []string {
	var list []string
	for name, k := range kinds() {
		if k.check != nil {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// IsStateStep tells whether a step of the kind changes what is true for a service, exactly once and undone by its
// inverse.
func IsStateStep(stepKind string) bool { return kinds()[stepKind].compensation != "" }
