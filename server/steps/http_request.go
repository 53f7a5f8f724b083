package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/credential"
	"github.com/jurymast/jurymast/server/store"
)

const (
	defaultCall     = 30 * time.Second
	defaultAttempts = 3
	defaultInitial  = time.Second
	defaultMaxWait  = time.Minute
	maxAnswer       = 64 << 10
	maxKept         = 2 << 10
)

// httpRequest makes an HTTP request. Its Idempotency-Key is run and step, so that every attempt of every owner shows
// the receiver the same one. A call that may not be repeated and whose outcome is not known waits for a human.
type httpRequest struct {
	nothingToUndo
	client *http.Client
}

func (k httpRequest) Advance(in *Input) Move {
	spec, now := in.Step.GetHttpRequest(), in.Desk.Now
	req, err := k.render(in)
	if err != nil {
		return in.fail("%v", err)
	}
	if in.DryRun() {
		return in.done("would %s %s", req.method, req.url)
	}
	if runs.InFlight(in.At) {
		return k.resume(in, req)
	}
	if in.At.GetState() == jv1.StepState_STEP_STATE_RETRYING {
		if wake := in.At.GetWakeTime().AsTime(); now.Before(wake) {
			return Move{Then: Sleep, Until: wake}
		}
	}
	if reached(now, in.deadline(0)) {
		return in.fail("the step's time is up")
	}
	m := Move{Then: Call, Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_INTENT, "%s %s", req.method, req.url)}
	m.Event.AttemptID = store.NewID("t", now)
	m.Event.Key = in.Run.GetName() + "." + in.At.GetId()
	if d := in.Step.GetTimeout(); d != nil {
		m.Event.Deadline = in.deadline(d.AsDuration())
	}
	m.Call = k.call(in, req, in.At.GetAttemptCount()+1, repeatable(spec))
	return m
}

// resume decides about a call whose intent is stored and whose result is not: its executor died or lost its session.
func (k httpRequest) resume(in *Input, req rendered) Move {
	if !repeatable(in.Step.GetHttpRequest()) {
		m := Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN,
			"nobody knows whether %s %s was carried out: its executor was lost; find out, then resume with what became of it", req.method, req.url)}
		m.Event.Error = "outcome unknown"
		return m
	}
	return Move{Then: Call, Call: k.call(in, req, in.At.GetAttemptCount(), true)}
}

// repeatable tells whether a call may be made again when its outcome is not known (RFC 9110, section 9.2.2, for the
// methods; the operator's word outweighs it).
func repeatable(spec *jv1.HttpRequestStep) bool {
	switch spec.GetRepeat() {
	case jv1.Repeatability_REPEATABILITY_IDEMPOTENT:
		return true
	case jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE:
		return false
	}
	return slices.Contains([]string{http.MethodGet, http.MethodPut, http.MethodDelete}, spec.GetMethod())
}

// rendered is a request with its templates filled in.
type rendered struct {
	method, url, body string
	headers           map[string]string
}

func (k httpRequest) render(in *Input) (rendered, error) {
	spec := in.Step.GetHttpRequest()
	out := rendered{method: spec.GetMethod(), headers: map[string]string{}}
	if out.method == "" {
		out.method = http.MethodPost
	}
	data := messageData(in)
	var err error
	if out.url, err = expand(spec.GetUrl(), data); err != nil {
		return out, fmt.Errorf("url: %w", err)
	}
	if out.body, err = expand(spec.GetBody(), data); err != nil {
		return out, fmt.Errorf("body: %w", err)
	}
	for name, value := range spec.GetHeaders() {
		if out.headers[name], err = expand(value, data); err != nil {
			return out, fmt.Errorf("header %s: %w", name, err)
		}
	}
	return out, nil
}

// result is what one exchange came to.
type result struct {
	text      string
	err       error
	ambiguous bool          // it may have been carried out
	retry     bool          // trying again may help
	after     time.Duration // the receiver asked to wait
}

// call returns the function that makes attempt number n and says what became of it.
func (k httpRequest) call(in *Input, req rendered, n int32, repeat bool) func(context.Context) runs.Event {
	spec, retry := in.Step.GetHttpRequest(), in.Step.GetRetry()
	key := in.Run.GetName() + "." + in.At.GetId()
	step, deadline, failure := in.At.GetId(), in.deadline(0), in.failure
	attempts := retry.GetAttempts()
	if attempts == 0 {
		attempts = 1
		if repeat {
			attempts = defaultAttempts
		}
	}
	return func(ctx context.Context) runs.Event {
		res := k.exchange(ctx, spec, req, key, deadline)
		now := time.Now()
		pause := max(res.after, backoff(retry, n))
		switch {
		case res.err == nil:
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, Step: step, Time: now,
				Message: firstLine(res.text), Output: map[string]string{"result": res.text},
			}
		case res.ambiguous && !repeat:
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN, Step: step, Time: now, Error: res.err.Error(),
				Message: "nobody knows whether the call was carried out (" + res.err.Error() + "); find out, then resume with what became of it",
			}
		case (res.retry || res.ambiguous) && n < attempts && !reached(now.Add(pause), deadline):
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, Step: step, Time: now, Error: res.err.Error(),
				Wake: now.Add(pause), Message: fmt.Sprintf("attempt %d of %d failed: %v", n, attempts, res.err),
			}
		default:
			return failure(now, res.err.Error())
		}
	}
}

// backoff is how long to wait after failed attempt n: exponential, with up to half of it at random.
func backoff(r *jv1.Retry, n int32) time.Duration {
	initial, limit := defaultInitial, defaultMaxWait
	if d := r.GetInitial(); d != nil {
		initial = d.AsDuration()
	}
	if d := r.GetMax(); d != nil {
		limit = d.AsDuration()
	}
	d := initial
	for range n - 1 {
		if d *= 2; d >= limit {
			break
		}
	}
	d = min(d, limit)
	return d/2 + rand.N(d/2+1)
}

func (k httpRequest) exchange(ctx context.Context, spec *jv1.HttpRequestStep, req rendered, key string, deadline time.Time) result {
	ctx, cancel := context.WithTimeout(ctx, defaultCall)
	defer cancel()
	if !deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	hr, err := http.NewRequestWithContext(ctx, req.method, req.url, strings.NewReader(req.body))
	if err != nil {
		return result{err: fmt.Errorf("build the request: %w", err)}
	}
	for name, value := range req.headers {
		hr.Header.Set(name, value)
	}
	hr.Header.Set("Idempotency-Key", key)
	secret, err := credential.Resolve(spec.GetCredential())
	if err != nil {
		return result{err: fmt.Errorf("credential: %w", err)}
	}
	if secret != "" {
		hr.Header.Set("Authorization", "Bearer "+secret)
	}
	if err := ctx.Err(); err != nil {
		// An outcome is unknown only when something was sent.
		return result{err: fmt.Errorf("not sent: %w", context.Cause(ctx))}
	}
	resp, err := k.client.Do(hr)
	if err != nil {
		return result{err: err, ambiguous: !neverSent(err), retry: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return result{err: fmt.Errorf("read the answer: %w", err), ambiguous: true, retry: true}
	}
	return judge(spec, resp, body)
}

// neverSent tells whether the request certainly did not reach the receiver: the connection was never made.
func neverSent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return (errors.As(err, &op) && op.Op == "dial") || errors.As(err, &dns)
}

func judge(spec *jv1.HttpRequestStep, resp *http.Response, body []byte) result {
	text := fmt.Sprintf("%d %s", resp.StatusCode, shorten(string(body), maxKept))
	good := resp.StatusCode >= 200 && resp.StatusCode < 300
	if want := spec.GetExpectStatus(); len(want) > 0 {
		good = slices.Contains(want, int32(resp.StatusCode))
	}
	if !good {
		return result{
			err:   fmt.Errorf("answered %s", text),
			retry: resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests,
			// A gateway's or server's error says nothing about what happened behind it; 503 and 429 refuse the work.
			ambiguous: resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable,
			after:     retryAfter(resp.Header.Get("Retry-After")),
		}
	}
	if src := spec.GetExpect(); src != "" {
		if err := expected(src, resp, body); err != nil {
			return result{err: fmt.Errorf("answered %s: %w", text, err)}
		}
	}
	return result{text: text}
}

func expected(src string, resp *http.Response, body []byte) error {
	cond, err := expr.CompileResponse(src)
	if err != nil {
		return fmt.Errorf("condition %q: %w", src, err)
	}
	facts := expr.Response{Status: resp.StatusCode}
	if err := json.Unmarshal(body, &facts.JSON); err != nil {
		facts.JSON = nil
	}
	ok, err := cond.Eval(facts)
	if err != nil {
		return fmt.Errorf("condition %q: %w", src, err)
	}
	if !ok {
		return fmt.Errorf("condition %q does not hold", src)
	}
	return nil
}

// retryAfter reads the header's seconds (RFC 9110, section 10.2.3), at most an hour. Dates are not read: they compare
// two clocks.
func retryAfter(h string) time.Duration {
	d, err := time.ParseDuration(h + "s")
	if err != nil || d < 0 {
		return 0
	}
	return min(d, time.Hour)
}

func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return shorten(line, 200)
}
