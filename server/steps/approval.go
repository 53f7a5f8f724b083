package steps

import (
	"fmt"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	// defaultApproval is how long an approval waits when its step has no timeout.
	defaultApproval = 24 * time.Hour
	// Reminder is how often people are told again that a run waits for them.
	Reminder = 15 * time.Minute
)

// approval asks a human.
type approval struct{ nothingToUndo }

func (k approval) Advance(in *Input) Move {
	spec, now := in.Step.GetApproval(), in.Desk.Now
	if in.DryRun() {
		return in.done("would ask: %s", question(in))
	}
	approved := int32(0)
	for _, d := range in.At.GetDecisions() {
		if !d.GetApproved() {
			return in.fail("rejected by %s: %s", d.GetActor(), d.GetComment())
		}
		approved++
	}
	if approved >= max(1, spec.GetCount()) {
		return in.done("approved")
	}
	deadline := in.deadline(defaultApproval)
	if reached(now, deadline) {
		switch spec.GetOnTimeout() {
		case jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:
			return in.done("nobody answered in time, which approves")
		case jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE:
			// Counted from now: who was away for days asks once, not once for every hour.
			return k.ask(in, now.Add(time.Hour), fmt.Sprintf("%s-%d", in.At.GetId(), deadline.Unix()), "nobody answered yet: ")
		default:
			return in.fail("nobody answered in time, which denies")
		}
	}
	if in.At.GetState() == jv1.StepState_STEP_STATE_WAITING {
		return Move{Then: Sleep, Until: deadline}
	}
	return k.ask(in, deadline, in.At.GetId(), "")
}

// ask begins or prolongs the wait and tells the channels. Every question has an id of its own: a receiver takes the
// same id for the same message.
func (k approval) ask(in *Input, deadline time.Time, id, prefix string) Move {
	m := Move{Then: Sleep, Until: deadline}
	m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_WAITING, "%s%s", prefix, question(in))
	m.Event.Wait = jv1.RunWait_RUN_WAIT_APPROVAL
	m.Event.Deadline = deadline
	if err := Ask(in, in.Step.GetApproval().GetChannels(), id, m.Event.Message); err != nil {
		m.Event.Details = map[string]string{"not_told": err.Error()}
	}
	return m
}

func question(in *Input) string {
	if t := in.Step.GetApproval().GetText(); t != "" {
		return t
	}
	return "go on with " + in.Run.GetRunbook() + " for " + in.Run.GetService() + "?"
}
