package engine_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/engine"
)

func (r *rig) skip(step string) error {
	_, err := r.first.engine.Skip(as(r.ctx, "ana"), &jv1.SkipStepRequest{Name: r.only().GetName(), Step: step, Reason: "test"})
	synctest.Wait()
	return err
}

func (r *rig) retry(step string) error {
	_, err := r.first.engine.Retry(as(r.ctx, "ana"), &jv1.RetryStepRequest{Name: r.only().GetName(), Step: step, Reason: "test"})
	synctest.Wait()
	return err
}

// retried makes a step repeat a failed attempt after an hour, or a little less.
func retried(s *jv1.Step) *jv1.Step {
	s.Retry = &jv1.Retry{Attempts: 3, Initial: durationpb.New(time.Hour), Max: durationpb.New(time.Hour)}
	return s
}

// down answers 503 until it is told that the receiver is up.
func down(up *bool) func(int, *http.Request) (*http.Response, error) {
	return func(int, *http.Request) (*http.Response, error) {
		if *up {
			return respond(http.StatusOK), nil
		}
		return respond(http.StatusServiceUnavailable), nil
	}
}

func TestStepsThatWaitAreSkipped(t *testing.T) {
	for name, tc := range map[string]struct {
		step  *jv1.Step
		state string
	}{
		"for a human":              {ask("one"), "one skipped, queue succeeded"},
		"for a time":               {pauseFor(time.Hour), "pause skipped, queue succeeded"},
		"before its next attempt":  {retried(post("one")), "one skipped, queue succeeded"},
		"after it failed":          {onFailure(post("one", func(h *jv1.HttpRequestStep) { h.ExpectStatus = []int32{200} }), jv1.OnFailure_ON_FAILURE_PAUSE), "one skipped, queue succeeded"},
		"with an unknown outcome":  {post("one", once), "one skipped, queue succeeded"},
		"with steps inside of it":  {onFailure(parallel("p", anyError, post("one", final), pauseFor(time.Hour)), jv1.OnFailure_ON_FAILURE_PAUSE), "p skipped, one failed, pause canceled, queue succeeded"},
		"inside of another":        {parallel("p", anyError, ask("one"), tell("two")), "p succeeded, one skipped, two succeeded, queue succeeded"},
		"before a step is retried": {retried(given(post("one"), "true")), "one skipped, queue succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
					if strings.HasPrefix(name, "with an") {
						return nil, errors.New("the connection broke")
					}
					return respond(http.StatusServiceUnavailable), nil
				}
				r.catalog(book("s", doing(tc.step, queue())))
				start(t, r, "s")
				time.Sleep(time.Minute)
				synctest.Wait()
				if err := r.skip(""); err != nil {
					t.Fatal(err)
				}
				run := want(t, r.only(), succeeded)
				if got := states(run); got != tc.state {
					t.Errorf("got  %s\nwant %s", got, tc.state)
				}
				if s := runs.StepOf(run, "one"); strings.HasPrefix(name, "with an") && runs.LastAttempt(s).GetState() != jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
					t.Errorf("the attempt is listed as %v", runs.LastAttempt(s))
				}
			})
		})
	}
}

// final makes a call that is not repeated.
func final(h *jv1.HttpRequestStep) { h.ExpectStatus = []int32{299}; h.Url = "http://sink/refused" }

func TestAStepWithACallUnderWayIsNotSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = hangs("one")
		r.catalog(book("s", doing(parallel("p", anyError, post("one"), ask("two"), ask("three")))))
		start(t, r, "s")
		synctest.Wait()
		for step, text := range map[string]string{
			"one":  "has a call under way",
			"":     "more than one step of run",
			"p":    "not one that can be skipped now",
			"four": "has no step four",
		} {
			if err := r.skip(step); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("skip %q: %v", step, err)
			}
		}
		err := r.skip("")
		if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "two, three") {
			t.Errorf("%v", err)
		}
		_, err = r.first.engine.Decide(as(r.ctx, "eve"), &jv1.DecideRunRequest{Name: r.only().GetName(), Approve: true, Comment: "go"})
		if err == nil || !strings.Contains(err.Error(), "two, three") {
			t.Errorf("a decision about either: %v", err)
		}
		if _, err = r.first.engine.Decide(as(r.ctx, "eve"), &jv1.DecideRunRequest{
			Name: r.only().GetName(), Step: "three", Approve: true, Comment: "go",
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := states(r.only()); s != "p running, one running, two waiting, three succeeded" {
			t.Error(s)
		}
	})
}

func TestAStepIsRetriedAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		step  *jv1.Step
		calls int
	}{
		"before its next attempt":   {retried(post("one")), 2},
		"after it failed":           {onFailure(post("one", once), jv1.OnFailure_ON_FAILURE_PAUSE), 2},
		"only what failed is again": {onFailure(parallel("p", anyError, post("good"), post("one", once)), jv1.OnFailure_ON_FAILURE_PAUSE), 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				up := false
				r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/good" {
						return respond(http.StatusOK), nil
					}
					time.Sleep(time.Second)
					return down(&up)(n, req)
				}
				r.catalog(book("s", doing(tc.step)))
				start(t, r, "s")
				time.Sleep(10 * time.Second)
				synctest.Wait()
				up = true
				if err := r.retry(""); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				run := want(t, r.only(), succeeded)
				if n := len(r.sink.keys()); n != tc.calls {
					t.Errorf("%d calls, want %d: %s", n, tc.calls, states(run))
				}
				if err := r.retry("one"); !errors.Is(err, engine.ErrNotPossible) {
					t.Errorf("retry in a run that has ended: %v", err)
				}
			})
		})
	}
}

// A runbook inside that failed is gone on with at the step that failed, with the parameters it was given.
func TestARunbookInsideIsRetriedFromWhereItFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		inner := book("inner", quietly, doing(post("first"), post("call", once), tell("told")))
		inner.Parameters = map[string]*jv1.Parameter{"what": {}}
		r.catalog(inner, book("s", doing(onFailure(include("sub", "inner", "what", "{{.Service}}"), jv1.OnFailure_ON_FAILURE_PAUSE), queue())))
		up := false
		r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/first" {
				return respond(http.StatusOK), nil
			}
			return down(&up)(n, req)
		}
		start(t, r, "s")
		synctest.Wait()
		if s := states(r.only()); s != "sub waiting, sub.first succeeded, sub.call failed, sub.told pending, queue pending" {
			t.Fatal(s)
		}
		up = true
		if err := r.retry("sub"); err != nil {
			t.Fatal(err)
		}
		run := want(t, r.only(), succeeded)
		if n := len(r.sink.keys()); n != 3 || runs.StepOf(run, "sub").GetOutput()["what"] != "chat" {
			t.Errorf("%d calls; %s", n, states(run))
		}
	})
}
