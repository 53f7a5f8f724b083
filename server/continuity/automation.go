package continuity

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// CheckAutomation refuses when somebody stopped the machines. A missing switch was never touched and is on.
func (w *Workspace) CheckAutomation() *Refusal { return w.CheckAutomationOf("") }

// CheckAutomationOf is [Workspace.CheckAutomation] for a run, which goes on when it stopped the machines itself.
func (w *Workspace) CheckAutomationOf(run string) *Refusal {
	for _, scope := range []string{"", w.name} {
		a := Latest[*jv1.Automation](w, store.AutomationKey(scope))
		if a == nil || a.GetOn() || (run != "" && a.GetRun() == run) {
			continue
		}
		where := "everywhere"
		if scope != "" {
			where = "for " + scope
		}
		return refuse(AutomationOff, "%s switched automation off %s at %s: %s", a.GetActor(), where,
			a.GetTime().AsTime().UTC().Format(time.RFC3339), a.GetReason())
	}
	return nil
}

// SetAutomation stops or restarts the machines for the service on behalf of a run, and records it in the audit as a
// human's command is. It is not a change when the switch is so already.
func (w *Workspace) SetAutomation(on bool, a Author) bool {
	key := store.AutomationKey(w.name)
	before := Latest[*jv1.Automation](w, key)
	if on == (before == nil || before.GetOn()) {
		return false
	}
	actor := "run " + a.Run
	w.Write(key, &jv1.Automation{Service: w.name, On: on, Reason: a.Reason, Actor: actor, Run: a.Run, Time: stamp(w.Now)})
	w.Add(audit.OpOf(audit.Caller{Principal: actor, Action: "step automation_off"}, w.Now, audit.Change{
		Target: "automation/" + w.name, Reason: a.Reason, Details: automationDetails(on),
	}))
	return true
}

// OwnsAutomation tells whether the service's switch is as the run set it.
func (w *Workspace) OwnsAutomation(run string) bool {
	return Latest[*jv1.Automation](w, store.AutomationKey(w.name)).GetRun() == run
}

func automationDetails(on bool) map[string]string {
	if on {
		return map[string]string{"on": "true"}
	}
	return map[string]string{"on": "false"}
}
