package runs

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// defaultEscalation is how long nobody may answer when a runbook with an escalation doesn't say.
const defaultEscalation = 15 * time.Minute

// EscalationAfter is how long a run of the plan waits for a human before the channels of its escalation are told, and
// again each time.
func EscalationAfter(plan *jv1.Runbook) time.Duration {
	if d := plan.GetEscalation().GetAfter(); d != nil {
		return d.AsDuration()
	}
	return defaultEscalation
}
