package engine

import "github.com/jurymast/jurymast/server/continuity"

// explained is a guard's detail with what would lift it.
func explained(g continuity.Guard, detail, service string) string {
	return detail + ". " + mend(g, service)
}

// mend says what would lift a guard that holds a start back.
func mend(g continuity.Guard, service string) string {
	switch g {
	case continuity.AutomationOff:
		return "`jurymast automation on` lets machines act again, `jurymast automation on " + service + "` where it is off for " + service + " alone"
	case continuity.BreakGlass:
		return "`jurymast ack " + service + "` lets machines switch it again; so does `jurymast undo`, or a switch without --break-glass"
	case continuity.Maintenance:
		return "It is looked at again when the window closes; a human's start or switch isn't held back"
	case continuity.Cooldown:
		return "`jurymast ack " + service + "` clears it"
	case continuity.SwitchLimit:
		return "It is looked at again when the first of them is past the window; a human's start or switch isn't held back, " +
			"and `switch_limit` in the settings says how many there may be"
	case continuity.RunbookBroken:
		return "Apply what fits together; it is looked at again then"
	case continuity.LiveRun:
		return "It is looked at again when that run ends or waits for a human; `jurymast run cancel` ends it"
	case levelGuard:
		return "`jurymast run start` starts it now; `automation: act` in the runbook lets machines"
	default:
		return "It is looked at again when the facts change"
	}
}

// levelGuard is why a plan would not act by itself: its automation level.
const levelGuard continuity.Guard = "automation_level"
