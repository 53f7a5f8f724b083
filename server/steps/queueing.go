package steps

import (
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// queueing switches queueing on or off for the run's service.
type queueing struct{ on bool }

func (k queueing) word() string {
	if k.on {
		return "on"
	}
	return "off"
}

func (k queueing) Advance(in *Input) Move {
	if r := in.checkAutomation(); r != nil {
		return in.fail("%v", r)
	}
	w := in.Desk
	if w.State() == nil {
		return in.fail("there is no service %s", w.Name())
	}
	if in.DryRun() {
		return in.done("would switch queueing %s", k.word())
	}
	before := w.State().GetQueueing()
	if !w.SetQueueing(k.on, in.Author()) {
		return in.done("queueing was %s already", k.word())
	}
	m := in.done("queueing is %s", k.word())
	m.Event.Undo = &jv1.Undo{Provider: w.Active(), Queueing: before, Epoch: w.State().GetEpoch()}
	return m
}

func (k queueing) Undo(in *Input) string {
	w := in.Desk
	if w.State().GetRun() != in.Run.GetName() {
		return "left as it is: the state was set by somebody else"
	}
	if !w.SetQueueing(in.At.GetUndo().GetQueueing(), in.Author()) {
		return "queueing was as before already"
	}
	return "queueing is as before"
}
