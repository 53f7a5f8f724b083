package continuity

import (
	"fmt"
	"time"
)

// Guard names why something is refused or held back. The values are stored, shown and counted: they don't change.
type Guard string

// The guards.
const (
	// UnknownService: no service of that name is stored.
	UnknownService Guard = "unknown_service"
	// UnknownProvider: the service has no provider of that name.
	UnknownProvider Guard = "unknown_provider"
	// AutomationOff: a human stopped the machines, globally or for the service.
	AutomationOff Guard = "automation_off"
	// BreakGlass: a human overruled the guards, and that stands.
	BreakGlass Guard = "break_glass"
	// TargetUnhealthy: the target is not judged HEALTHY.
	TargetUnhealthy Guard = "target_unhealthy"
	// TargetUnproven: no unexpired evidence says that the target serves.
	TargetUnproven Guard = "target_unproven"
	// TargetIncapable: the target lacks a capability the service needs.
	TargetIncapable Guard = "target_incapable"
	// TargetActive: the provider is the active one already.
	TargetActive Guard = "target_active"
	// WeightTooLarge: the shares of traffic leave nothing to the active provider.
	WeightTooLarge Guard = "weight_too_large"
	// TargetTooSmall: the target's known limits are lower than what the service takes.
	TargetTooSmall Guard = "target_too_small"
	// TargetOtherModels: the target has other models, where only the very same ones will do.
	TargetOtherModels Guard = "target_other_models"
	// LastHealthy: the active provider is healthy and the target is not.
	LastHealthy Guard = "last_healthy_provider"
	// Cooldown: the same runbook ended for the same provider a short time ago.
	Cooldown Guard = "cooldown"
	// Maintenance: a maintenance window is open for what would be acted on.
	Maintenance Guard = "maintenance"
	// SwitchLimit: machines have switched as often as they may lately, all services together.
	SwitchLimit Guard = "switch_limit"
	// LiveRun: another run acts on the service.
	LiveRun Guard = "live_run"
	// NoRunbook: no runbook starts on it.
	NoRunbook Guard = "no_runbook"
	// RunbookBroken: a runbook that the runbook runs was removed, or no longer fits.
	RunbookBroken Guard = "runbook_broken"
	// NotActive: the runbook starts for the active provider and this one is not.
	NotActive Guard = "provider_not_active"
	// Parameters: what the trigger gives is not what the runbook's parameters must be.
	Parameters Guard = "parameters"
	// CauseGone: what asked for the run is over.
	CauseGone Guard = "cause_gone"
	// Overtaken: somebody else changed the state since.
	Overtaken Guard = "overtaken"
	// NothingToUndo: the last change was not a switch that could be taken back.
	NothingToUndo Guard = "nothing_to_undo"
	// Stale: the picture of the store is not fresh; switches fail closed.
	Stale Guard = "store_stale"
	// Contended: the facts kept changing while it was decided.
	Contended Guard = "contended"
)

// Refusal says which guard refused, and why in words. It is an error so that it can travel, and carries enough to be
// shown as it is.
type Refusal struct {
	Guard  Guard
	Detail string
	// Again is when time alone lifts the guard; zero: it doesn't, or nobody knows when.
	Again time.Time
}

// Error returns guard and detail.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Guard, r.Detail) }

func refuse(g Guard, format string, args ...any) *Refusal {
	return &Refusal{Guard: g, Detail: fmt.Sprintf(format, args...)}
}

// Refuse makes a refusal.
func Refuse(g Guard, format string, args ...any) *Refusal { return refuse(g, format, args...) }
