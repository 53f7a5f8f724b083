package steps

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// httpRequest makes an HTTP request. Its Idempotency-Key is run and step, so that every attempt of every owner shows
// the receiver the same one. When nobody knows whether it was carried out, the receiver is asked where it can be, it is
// made again where it may be, and otherwise a human finds out.
type httpRequest struct {
	nothingToUndo
	client *http.Client
}

// call is one attempt of a step: all that is needed to make it once the turn that decided it is over.
type call struct {
	client   *http.Client
	spec     *jv1.HttpRequestStep
	request  request
	check    request
	step     string
	number   int32 // of the attempt, from 1
	asked    int32 // how often its check was asked
	resumed  bool  // it was begun by somebody who was lost: it may have been carried out already
	patience patience
	failure  func(now time.Time, text string) runs.Event
}

func (k httpRequest) Advance(in *Input) Move {
	c, err := k.prepare(in)
	if err != nil {
		return k.unmakeable(in, err)
	}
	if in.DryRun() {
		return in.done("would %s %s", c.request.method, c.request.url)
	}
	last := runs.LastAttempt(in.At)
	if runs.InFlight(in.At) {
		return c.resume(in)
	}
	if in.At.GetState() == jv1.StepState_STEP_STATE_RETRYING {
		if last.GetState() == jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			return c.settle(in)
		}
		if wake := in.At.GetWakeTime(); wake != nil && in.Desk.Now.Before(wake.AsTime()) {
			return Move{Then: Sleep, Until: wake.AsTime()}
		}
		if checkable(c.spec) && last.GetState() == jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
			return Move{Then: Call, Call: c.ask}
		}
	}
	if in.At.GetState() == jv1.StepState_STEP_STATE_PENDING && checkable(c.spec) && last.GetState() == jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
		// It was stopped during its call, and what it is part of is retried.
		return Move{Then: Call, Call: c.ask}
	}
	if now := in.Desk.Now; !c.patience.open(now) {
		return in.fail("%s", c.patience.over(now))
	}
	c.number++
	m := Move{Then: Call, Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_INTENT, "%s %s", c.request.method, c.request.url), Call: c.make}
	m.Event.AttemptID = store.NewID("t", in.Desk.Now)
	m.Event.Key = c.request.key
	if d := in.Step.GetTimeout(); d != nil {
		m.Event.Deadline = in.deadline(d.AsDuration())
	}
	return m
}

// unmakeable is what becomes of a step whose request can't be made from what is true now. One that is under way may have
// been carried out all the same.
func (httpRequest) unmakeable(in *Input, err error) Move {
	m, spec := in.fail("%s: %v", faultNoRequest, err), in.Step.GetHttpRequest()
	switch {
	case !runs.InFlight(in.At):
	case checkable(spec) || atMostOnce(spec):
		m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN,
			"nobody knows whether the call was carried out: its executor was lost, and it can't be made again (%v); find out, then resume with what became of it", err)
		m.Event.Error = "outcome unknown"
	default:
		m.Event.Attempt = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	}
	return m
}

// prepare fills the templates in and reads the bounds.
func (k httpRequest) prepare(in *Input) (c call, err error) {
	spec := in.Step.GetHttpRequest()
	c = call{client: k.client, spec: spec, step: in.At.GetId(), number: in.At.GetAttemptCount(), failure: in.failure}
	c.asked = runs.LastAttempt(in.At).GetChecks()
	c.patience = patienceOf(in.Step.GetRetry(), !atMostOnce(spec), in.started(), in.deadline(0), in.Step.GetTimeout() != nil)
	data := messageData(in)
	data.IdempotencyKey = in.Run.GetName() + "." + in.At.GetId()
	if c.request, err = fillCall(spec, data); err != nil || !checkable(spec) {
		return c, err
	}
	c.check, err = fillCheck(spec, data)
	return c, err
}

// resume decides about a call whose intent is stored and whose result is not: its executor died or lost its session.
func (c call) resume(in *Input) Move {
	switch {
	case checkable(c.spec):
		return Move{Then: Call, Call: c.ask}
	case atMostOnce(c.spec):
		m := Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN,
			"nobody knows whether %s %s was carried out: its executor was lost; find out, then resume with what became of it",
			c.request.method, c.request.url)}
		m.Event.Error = "outcome unknown"
		return m
	case !c.patience.open(in.Desk.Now):
		m := in.fail("%s, and nobody knows whether the call was carried out: its executor was lost", c.patience.over(in.Desk.Now))
		m.Event.Attempt = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
		return m
	}
	c.resumed = true
	return Move{Then: Call, Call: c.make}
}

// atMostOnce tells whether a call must not be made again when its outcome is not known (RFC 9110, section 9.2.2, for the
// methods; the operator's word outweighs it).
func atMostOnce(spec *jv1.HttpRequestStep) bool {
	switch spec.GetRepeat() {
	case jv1.Repeatability_REPEATABILITY_IDEMPOTENT, jv1.Repeatability_REPEATABILITY_CHECKABLE:
		return false
	case jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE:
		return true
	}
	return !slices.Contains([]string{http.MethodGet, http.MethodPut, http.MethodDelete}, spec.GetMethod())
}

// make makes the attempt and says what became of it.
func (c call) make(ctx context.Context) runs.Event {
	a, f := exchange(ctx, c.client, c.request, c.patience.limit(time.Now()))
	v := judge(c.spec, a, f)
	now := time.Now()
	if v.err == nil {
		return runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, Step: c.step, Time: now, Message: firstLine(v.text), Output: v.output,
		}
	}
	unknown := v.ambiguous || c.resumed && !v.effect
	ev := runs.Event{Step: c.step, Time: now, Error: v.err.Error(), Details: map[string]string{"fault": string(v.name)}}
	wake, again := c.patience.again(now, c.number, v.after)
	switch {
	case unknown && checkable(c.spec):
		// It is asked even when no attempt is left: what was carried out has not failed.
		ev.Kind, ev.Wake = jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, now.Add(c.patience.backoff(c.number))
		ev.Message = fmt.Sprintf("attempt %d of %d: nobody knows whether it was carried out, the receiver is asked: %v", c.number, c.patience.attempts, v.err)
	case unknown && atMostOnce(c.spec):
		ev.Kind = jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN
		ev.Message = "nobody knows whether the call was carried out (" + v.err.Error() + "); find out, then resume with what became of it"
	case (v.retry || v.ambiguous) && again:
		ev.Kind, ev.Wake = jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, wake
		ev.Message = fmt.Sprintf("attempt %d of %d failed: %v", c.number, c.patience.attempts, v.err)
	default:
		details := ev.Details
		ev = c.failure(now, v.err.Error())
		ev.Details = details
	}
	switch {
	case unknown:
		ev.Attempt = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	case v.effect:
		ev.Attempt = jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	}
	return ev
}
