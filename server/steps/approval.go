package steps

import (
	"fmt"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// longestRepeat is the longest time between two escalations of an approval whose timeout has passed.
const longestRepeat = time.Hour

// approval asks a human, or several. One rejection rejects; enough approvals approve; what happens when the time is up
// stands in the plan, and people are warned before.
type approval struct{ nothingToUndo }

func (k approval) Advance(in *Input) Move {
	if in.DryRun() {
		return in.done("would ask: %s", question(in))
	}
	spec, now := in.Step.GetApproval(), in.Desk.Now
	var by []string
	for _, d := range in.At.GetDecisions() {
		if !d.GetApproved() {
			return in.fail("rejected by %s: %s", d.GetActor(), d.GetComment())
		}
		by = append(by, d.GetActor())
	}
	need := int(max(1, spec.GetCount()))
	if len(by) >= need {
		return in.done("approved by %s", strings.Join(by, ", "))
	}
	deadline := in.deadline(runbooks.DefaultApproval)
	if reached(now, deadline) {
		return k.timeout(in, deadline)
	}
	if in.At.GetState() != jv1.StepState_STEP_STATE_WAITING {
		return k.ask(in, deadline, by, need)
	}
	return Move{Then: Sleep, Until: earliest(k.warn(in, deadline), deadline)}
}

// timeout does what the plan says for the case that nobody answers.
func (k approval) timeout(in *Input, deadline time.Time) Move {
	switch in.Step.GetApproval().GetOnTimeout() {
	case jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:
		return in.done("nobody answered in time, which approves")
	case jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE:
		return k.escalate(in, deadline)
	default:
		return in.fail("nobody answered in time, which denies")
	}
}

// ask begins the wait and tells the channels. Who approved one of several questions has told them nothing new: the
// question goes on without a further message.
func (k approval) ask(in *Input, deadline time.Time, by []string, need int) Move {
	text := question(in)
	if len(by) > 0 {
		text = fmt.Sprintf("%d of %d approved (%s): %s", len(by), need, strings.Join(by, ", "), text)
	}
	m := Move{Then: Sleep, Until: earliest(k.warnAt(in, deadline), deadline)}
	m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_WAITING, "%s", text)
	m.Event.Wait = jv1.RunWait_RUN_WAIT_APPROVAL
	m.Event.Deadline = deadline
	if len(by) > 0 {
		return m
	}
	if err := Ask(in, in.Step.GetApproval().GetChannels(), in.At.GetId(), text); err != nil {
		m.Event.Details = map[string]string{"not_told": err.Error()}
	}
	return m
}

// escalate goes on waiting and tells the channels, and those of the runbook's escalation. The next time is counted from
// now: who was away for days asks once, not once for every time that has passed. Every question has an id of its own:
// a receiver takes the same id for the same message.
func (k approval) escalate(in *Input, deadline time.Time) Move {
	next := in.Desk.Now.Add(min(approvalTimeout(in), longestRepeat))
	m := Move{Then: Sleep, Until: next}
	m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED, "nobody answered yet: %s", question(in))
	m.Event.Deadline = next
	channels := append(append([]string{}, in.Step.GetApproval().GetChannels()...), in.Plan.GetEscalation().GetChannels()...)
	if err := Ask(in, channels, fmt.Sprintf("%s-%d", in.At.GetId(), deadline.Unix()), m.Event.Message); err != nil {
		m.Event.Details = map[string]string{"not_told": err.Error()}
	}
	return m
}

// warn tells the channels once, shortly before the time is up, what will happen then. It returns when the warning is
// due, the zero time when it is written or there is none.
func (k approval) warn(in *Input, deadline time.Time) time.Time {
	at := k.warnAt(in, deadline)
	if at.IsZero() || in.Desk.Now.Before(at) {
		return at
	}
	consequence := "it counts as rejected"
	switch in.Step.GetApproval().GetOnTimeout() {
	case jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:
		consequence = "it counts as approved"
	case jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE:
		consequence = "further people are told and the run goes on waiting"
	}
	text := fmt.Sprintf("if nobody answers by %s (in %s) %s: %s", deadline.UTC().Format(time.RFC3339),
		deadline.Sub(in.Desk.Now).Round(time.Second), consequence, question(in))
	askOnce(in, letter{
		id: fmt.Sprintf("%s-warning-%d", in.At.GetId(), deadline.Unix()), step: in.At.GetId(), question: text,
		channels: in.Step.GetApproval().GetChannels(), wait: jv1.RunWait_RUN_WAIT_APPROVAL,
	})
	return time.Time{}
}

// warnAt is when the warning is due; the zero time once the timeout has passed and the question only goes on.
func (k approval) warnAt(in *Input, deadline time.Time) time.Time {
	timeout := approvalTimeout(in)
	if deadline.After(in.started().Add(timeout)) {
		return time.Time{}
	}
	return deadline.Add(-runbooks.ApprovalWarning(in.Step.GetApproval(), timeout))
}

// approvalTimeout is how long the step waits before its timeout action.
func approvalTimeout(in *Input) time.Duration {
	if d := in.Step.GetTimeout(); d != nil {
		return d.AsDuration()
	}
	return runbooks.DefaultApproval
}

func question(in *Input) string {
	if t := in.Step.GetApproval().GetText(); t != "" {
		return t
	}
	return "go on with " + in.Run.GetRunbook() + " for " + in.Run.GetService() + "?"
}
