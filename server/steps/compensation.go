package steps

import (
	"context"
	"fmt"
	"net/http"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/message"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// defaultUndo is how long undoing a step may take whose plan does not say.
const defaultUndo = 5 * time.Minute

// undoing is one attempt to undo a step by a call. The call is repeated with a key of its own until it succeeds or its
// time is up: its receiver must honour the key.
type undoing struct {
	client   *http.Client
	spec     *jv1.HttpRequestStep
	request  request
	step     string
	number   int32 // of the attempt, from 1
	patience patience
}

// Compensate decides what happens next in undoing a step by what its plan has for it. It is called until its event says
// that the step is undone, or that it can't be.
func (r *Registry) Compensate(in *Input) Move {
	spec := in.Step.GetCompensate()
	if in.DryRun() {
		return in.undone("would be undone by %s", compensationWords(spec))
	}
	if spec.GetNotify() != nil {
		return in.tellBack(spec.GetNotify())
	}
	u, err := r.undoing(in)
	if err != nil {
		return in.notUndone("%s: %v", faultNoRequest, err)
	}
	now, at := in.Desk.Now, in.At.GetUndoing()
	switch {
	case runs.UndoInFlight(in.At) && u.patience.open(now):
		return Move{Then: Call, Call: u.make}
	case runs.UndoInFlight(in.At):
		m := in.notUndone("%s, and nobody knows whether its last call was carried out", u.patience.over(now))
		m.Event.Attempt = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
		return m
	case at.GetWakeTime() != nil && now.Before(at.GetWakeTime().AsTime()):
		return Move{Then: Sleep, Until: at.GetWakeTime().AsTime()}
	case !u.patience.open(now):
		return in.notUndone("%s", u.patience.over(now))
	}
	u.number++
	doubt := ""
	if runs.EffectOf(in.At) == runs.MaybeEffect {
		doubt = ", of which nobody knows whether it took effect"
	}
	m := Move{Then: Call, Call: u.make, Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_UNDO_INTENT,
		"undoes %s%s: %s %s", in.At.GetId(), doubt, u.request.method, u.request.url)}
	m.Event.AttemptID, m.Event.Key, m.Event.Deadline = store.NewID("t", now), u.request.key, u.patience.deadline
	return m
}

// undoing fills the templates in and reads the bounds.
func (r *Registry) undoing(in *Input) (u undoing, err error) {
	spec, at := in.Step.GetCompensate(), in.At.GetUndoing()
	timeout := defaultUndo
	if d := spec.GetTimeout(); d != nil {
		timeout = d.AsDuration()
	}
	deadline := in.Desk.Now.Add(timeout)
	if d := at.GetDeadline(); d != nil {
		deadline = d.AsTime()
	}
	u = undoing{
		client: r.client, spec: spec.GetHttpRequest(), step: in.At.GetId(), number: at.GetAttemptCount(),
		patience: patienceOf(spec.GetRetry(), true, deadline.Add(-timeout), deadline, spec.GetTimeout() != nil),
	}
	if err := in.known(u.spec); err != nil {
		return u, err
	}
	data := messageData(in)
	data.IdempotencyKey = in.Run.GetName() + "." + in.At.GetId() + ".undo"
	u.request, err = fillCall(u.spec, data)
	return u, err
}

// known refuses a request that names an output which the step to be undone did not come to give: what is undone by half
// an address is something else.
func (in *Input) known(spec *jv1.HttpRequestStep) error {
	texts := []string{spec.GetUrl(), spec.GetBody()}
	for _, value := range spec.GetHeaders() {
		texts = append(texts, value)
	}
	output := given(in.Step, in.At)
	for _, src := range texts {
		text, err := message.ParseText(src, len(src))
		if err != nil {
			return err
		}
		for _, ref := range text.Outputs() {
			if _, ok := output[ref.Name]; ref.Step == in.Step.GetId() && !ok {
				return fmt.Errorf("the step did not come to give its output %q", ref.Name)
			}
		}
	}
	return nil
}

// make makes the call and says what became of it.
func (u undoing) make(ctx context.Context) runs.Event {
	a, f := exchange(ctx, u.client, u.request, u.patience.limit(time.Now()))
	v := judge(u.spec, a, f)
	now := time.Now()
	ev := runs.Event{Step: u.step, Time: now}
	if v.err == nil {
		ev.Kind, ev.Message = jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, "undone: "+firstLine(v.text)
		return ev
	}
	ev.Error, ev.Details = v.err.Error(), map[string]string{"fault": string(v.name)}
	if v.ambiguous {
		ev.Attempt = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	}
	if wake, again := u.patience.again(now, u.number, v.after); (v.retry || v.ambiguous) && again {
		ev.Kind, ev.Wake = jv1.RunEventKind_RUN_EVENT_KIND_UNDO_ATTEMPT_FAILED, wake
		ev.Message = fmt.Sprintf("attempt %d of %d to undo it failed: %v", u.number, u.patience.attempts, v.err)
		return ev
	}
	ev.Kind, ev.Message = jv1.RunEventKind_RUN_EVENT_KIND_UNDO_FAILED, "it could not be undone: "+v.err.Error()
	return ev
}

// tellBack undoes a step by a message: it is in the outbox, and so done, with this transaction.
func (in *Input) tellBack(spec *jv1.NotifyStep) Move {
	t, err := message.ForStep(spec)
	if err != nil {
		return in.notUndone("message: %v", err)
	}
	id := in.At.GetId()
	if err := post(in, letter{id: id + ".undo", step: id, channels: spec.GetChannels(), template: t}); err != nil {
		return in.notUndone("%v", err)
	}
	return in.undone("undone by %s", compensationWords(in.Step.GetCompensate()))
}

func (in *Input) undone(format string, args ...any) Move {
	return Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, format, args...)}
}

// notUndone gives the undoing of the step up for good; that of the others goes on.
func (in *Input) notUndone(format string, args ...any) Move {
	m := Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_UNDO_FAILED, "it could not be undone: "+format, args...)}
	m.Event.Error = fmt.Sprintf(format, args...)
	return m
}

func compensationWords(spec *jv1.Compensation) string {
	if n := spec.GetNotify(); n != nil {
		return fmt.Sprintf("telling %v", n.GetChannels())
	}
	return spec.GetHttpRequest().GetMethod() + " " + spec.GetHttpRequest().GetUrl()
}
