package steps

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/message"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// nextUpdate is by when people hear more while something is open: PagerDuty's incident response guide asks for an
// update at least every 20 minutes in the first two hours.
const nextUpdate = 20 * time.Minute

// notifyStep tells people. It is complete when its messages are in the outbox: writing them is a state step, sending
// them is the deliverer's.
type notifyStep struct{ nothingToUndo }

func (notifyStep) Advance(in *Input) Move {
	spec := in.Step.GetNotify()
	if in.DryRun() {
		return in.done("would tell %s", strings.Join(spec.GetChannels(), ", "))
	}
	t, err := message.ForStep(spec)
	if err != nil {
		return in.fail("message: %v", err)
	}
	if err := post(in, letter{id: in.At.GetId(), step: in.At.GetId(), channels: spec.GetChannels(), template: t}); err != nil {
		return in.fail("%v", err)
	}
	return in.done("told %s", strings.Join(spec.GetChannels(), ", "))
}

// Channels lists the channels the steps of a run tell, in the order of their names.
func Channels(tree *runbooks.Tree) []string {
	var out []string
	for _, n := range tree.Nodes {
		out = append(out, n.Step.GetNotify().GetChannels()...)
		out = append(out, n.Step.GetCompensate().GetNotify().GetChannels()...)
		out = append(out, n.Step.GetApproval().GetChannels()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// letter is one message to several channels.
type letter struct {
	id, step string
	channels []string
	template *message.Template
	question string
	wait     jv1.RunWait // what it asks a human for; unspecified: nothing
}

// post writes a message into the outbox once for each channel, born claimed by the run's owner, which so may send it
// at once (protocol P7).
func post(in *Input, l letter) error {
	data := messageData(in)
	data.Question, data.Wait = l.question, strings.ToLower(strings.TrimPrefix(l.wait.String(), "RUN_WAIT_"))
	data.Answers = runs.Answers(l.wait, in.Run.GetName())
	title, text, err := l.template.Render(data)
	details := map[string]string{"phase": data.Phase, "active_provider": data.Active, "runbook": data.Runbook}
	if err != nil {
		// Rather a plain message than none: notifications fail open.
		title, text = message.Plain(data)
		details["template_error"] = err.Error()
	}
	written := timestamppb.New(in.Desk.Now.Add(order(in)))
	for i, channel := range l.channels {
		if slices.Contains(l.channels[:i], channel) {
			continue // a key may be written once in a transaction
		}
		id := notificationID(in.Run, l.id, channel)
		if len(id) > maxNotification {
			return fmt.Errorf("the id of the message to %s is too long", channel)
		}
		in.Desk.Write(store.OutboxKey(id), &jv1.Notification{
			Name: id, Channel: channel, Run: in.Run.GetName(), Step: l.step, Service: in.Run.GetService(), Thread: thread(in.Run),
			Kind: l.template.Kind(), Severity: l.template.Severity(), Title: title, Text: text, Details: details,
			Drill: in.Run.GetMode() != jv1.RunMode_RUN_MODE_LIVE, State: jv1.DeliveryState_DELIVERY_STATE_PENDING,
			CreateTime: written, NextAttempt: timestamppb.New(in.Desk.Now),
		})
		in.Desk.Write(store.DeliveryKey(id), &recordv1.Delivery{Owner: in.Owner})
	}
	return nil
}

// order keeps the messages of one transaction in the order of their steps: the deliverer sends a thread's messages by
// the time they were written.
func order(in *Input) time.Duration { return time.Duration(in.Node+1) * time.Microsecond }

// maxNotification is the most bytes of a notification's id; it is a part of a key.
const maxNotification = 250

// notificationID is stable for one run, message and channel, and so is what a receiver sees of it. Of a message whose id
// would be too long, as the paths of steps inside of steps can be, it is a hash.
func notificationID(run *jv1.Run, id, channel string) string {
	full := run.GetName() + "." + id + "." + channel
	if len(full) <= maxNotification {
		return full
	}
	sum := sha256.Sum256([]byte(id))
	return run.GetName() + "." + hex.EncodeToString(sum[:16]) + "." + channel
}

// thread joins the messages of one episode: what opens an alert and what resolves it come from different runs.
func thread(run *jv1.Run) string {
	if run.GetGeneration() == 0 {
		return run.GetService() + "/" + run.GetName()
	}
	return fmt.Sprintf("%s/%s/%d", run.GetService(), run.GetProvider(), run.GetGeneration())
}

// messageData collects what messages may say.
func messageData(in *Input) message.Data {
	w, run := in.Desk, in.Run
	d := message.Data{
		Service: w.Name(), Provider: run.GetProvider(), Active: w.Active(), Previous: w.State().GetPreviousProvider(),
		Preferred: w.Preferred(), Phase: expr.PhaseName(w.Phase()), Now: w.Now, Reason: run.GetReason(),
		Run: run.GetName(), Runbook: run.GetRunbook(), Params: in.Params(), Queueing: w.State().GetQueueing(),
		Drill: run.GetMode() != jv1.RunMode_RUN_MODE_LIVE, Question: run.GetWaitText(),
	}
	d.Onset, d.Since, d.Restored = at(run.GetOnset()), at(w.State().GetSince()), at(run.GetRestoredTime())
	if w.Phase() != jv1.Phase_PHASE_NORMAL {
		d.NextUpdate = w.Now.Add(nextUpdate)
	}
	trigger := store.Get[*jv1.Trigger](w.View(), store.TriggerKey(run.GetTrigger())).Msg
	for _, s := range trigger.GetEvidence() {
		d.Evidence = append(d.Evidence, fmt.Sprintf("%s (%s): %s", s.GetSource(), s.GetProvider(), s.GetSummary()))
	}
	for _, i := range in.Frame().Nodes {
		s := run.GetSteps()[i]
		d.Steps = append(d.Steps, message.Step{
			ID: in.Tree.Nodes[i].Step.GetId(), Kind: s.GetKind(), State: strings.ToLower(strings.TrimPrefix(s.GetState().String(), "STEP_STATE_")),
			Summary: summary(w.Name(), s), Error: s.GetError(), Output: s.GetOutput(),
		})
		if s.GetState() == jv1.StepState_STEP_STATE_FAILED {
			d.Error = s.GetError()
		}
	}
	return d
}

// summary says in words what a step did that is worth telling.
func summary(service string, s *jv1.StepRun) string {
	if s.GetState() != jv1.StepState_STEP_STATE_SUCCEEDED {
		return ""
	}
	switch s.GetKind() {
	case "switch_provider":
		if s.GetOutput()[outFrom] == s.GetOutput()[outTo] {
			return service + " stays with " + s.GetOutput()[outTo]
		}
		return "switched " + service + " from " + s.GetOutput()[outFrom] + " to " + s.GetOutput()[outTo]
	case "enable_queueing", "disable_queueing":
		if s.GetUndo() == nil {
			return "" // it was so already
		}
		return "switched queueing " + queueing{on: s.GetKind() == "enable_queueing"}.word()
	default:
		return ""
	}
}

func at(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
