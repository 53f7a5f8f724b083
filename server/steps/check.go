package steps

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// checkable tells whether the receiver can be asked what became of a call.
func checkable(spec *jv1.HttpRequestStep) bool {
	return spec.GetRepeat() == jv1.Repeatability_REPEATABILITY_CHECKABLE && spec.GetCheck() != nil
}

// mute are the statuses below 500 that say nothing about the call: they speak of the question.
var mute = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
	http.StatusTooEarly, http.StatusTooManyRequests,
}

// ask asks the receiver whether the call was carried out. The question changes nothing, so it is asked at least once,
// however late it is, and has time of its own.
func (c call) ask(ctx context.Context) runs.Event {
	a, f := exchange(ctx, c.client, c.check, defaultCall)
	now := time.Now()
	carried, err := said(c.spec.GetCheck(), a, f)
	ev := runs.Event{Kind: jv1.RunEventKind_RUN_EVENT_KIND_CHECKED, Step: c.step, Time: now, Details: map[string]string{}}
	switch {
	case err != nil:
		return c.unanswered(ev, err)
	case carried:
		ev.Attempt, ev.Details["carried_out"] = jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, "true"
		ev.Message = "the receiver says that it was carried out: " + firstLine(a.words())
		if ev.Output, err = takeOutputs(c.spec.GetOutputs(), a); err != nil {
			ev.Error, ev.Output = fmt.Sprintf("carried out, but %v; the check answered %s", err, a.words()), nil
		}
		return ev
	}
	ev.Attempt, ev.Details["carried_out"] = jv1.AttemptState_ATTEMPT_STATE_FAILED, "false"
	ev.Error = "the receiver says that it was not carried out: " + firstLine(a.words())
	ev.Message = ev.Error
	if c.number < c.patience.attempts && c.patience.open(now) {
		return ev
	}
	why := "no attempt is left"
	if c.number < c.patience.attempts {
		why = c.patience.over(now)
	}
	failed := c.failure(now, ev.Error+"; "+why)
	failed.Attempt, failed.Details = ev.Attempt, ev.Details
	return failed
}

// unanswered asks again later, or leaves it to a human.
func (c call) unanswered(ev runs.Event, err error) runs.Event {
	c.asked++
	ev.Error, ev.Attempt = err.Error(), jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
	wake := ev.Time.Add(c.patience.backoff(c.asked))
	if c.asked < max(c.patience.attempts, defaultAttempts) && c.patience.open(wake) {
		ev.Wake = wake
		ev.Message = fmt.Sprintf("the receiver does not say whether it was carried out, it is asked again: %v", err)
		return ev
	}
	ev.Kind = jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN
	ev.Message = fmt.Sprintf("nobody knows whether the call was carried out, and the receiver does not say (%v); find out, then resume with what became of it", err)
	return ev
}

// said reads the answer to the question. An error says that it says nothing.
func said(check *jv1.HttpCheck, a *answer, f *fault) (carried bool, err error) {
	switch {
	case f != nil:
		return false, f
	case a.status >= 500 || a.status >= 300 && a.status < 400 || a.status < 200 || slices.Contains(mute, a.status):
		return false, fmt.Errorf("the check answered %s", a.words())
	case a.broken != nil:
		return false, a.broken
	}
	carried, err = holds(check.GetCarriedOut(), a)
	if err != nil {
		return false, fmt.Errorf("the check answered %s: %w", a.words(), err)
	}
	return carried, nil
}

// settle ends a step whose call was carried out, as a check said.
func (c call) settle(in *Input) Move {
	if text := in.At.GetError(); text != "" {
		m := in.fail("%s", text)
		m.Event.Attempt = jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
		return m
	}
	return in.done("%s %s was carried out, as the receiver says", c.request.method, c.request.url)
}
