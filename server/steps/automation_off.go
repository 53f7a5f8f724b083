package steps

import (
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// automationOff stops the machines for the run's service. The run itself goes on.
type automationOff struct{}

func (automationOff) Advance(in *Input) Move {
	w := in.Desk
	if in.DryRun() {
		return in.done("would switch automation off for %s", w.Name())
	}
	a := in.Author()
	if reason := in.Step.GetAutomationOff().GetReason(); reason != "" {
		a.Reason = reason
	}
	if !w.SetAutomation(false, a) {
		return in.done("automation was off for %s already", w.Name())
	}
	m := in.done("automation is off for %s", w.Name())
	m.Event.Undo = &jv1.Undo{
		Provider: w.Active(), Queueing: w.State().GetQueueing(), Epoch: w.State().GetEpoch(), Automation: true,
	}
	return m
}

func (automationOff) Undo(in *Input) string {
	w := in.Desk
	if !w.OwnsAutomation(in.Run.GetName()) {
		return "left as it is: automation was set by somebody else since"
	}
	a := in.Author()
	a.Reason = "undone by " + a.Reason
	if !w.SetAutomation(true, a) {
		return "automation was on already"
	}
	return "automation is on again"
}
