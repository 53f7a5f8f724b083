package engine_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const compensateAll = jv1.OnFailure_ON_FAILURE_COMPENSATE

// undo answers calls by their path, and keeps the order of those that undo.
type undo struct {
	answers map[string][]int // by path; the last one for good
	calls   map[string]int
	order   []string
}

func (u *undo) answer(_ int, r *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	u.calls[path]++
	if r.Method == http.MethodDelete {
		key := r.Header.Get("Idempotency-Key")
		u.order = append(u.order, path+" "+key[strings.IndexByte(key, '.')+1:])
	}
	if list := u.answers[path]; len(list) > 0 {
		return respond(list[min(u.calls[path], len(list))-1]), nil
	}
	return respond(http.StatusOK), nil
}

func sinkOf(r *rig, answers map[string][]int) *undo {
	u := &undo{answers: answers, calls: map[string]int{}}
	r.sink.answer = u.answer
	return u
}

func settleRun(t *testing.T, r *rig, state jv1.RunState) *jv1.Run {
	t.Helper()
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	want(t, r.only(), state)
	return r.only()
}

// Steps are undone in the reverse order in which they ended, each with a key of its own that stays the same; what can't
// be undone is said, and the rest is undone all the same.
func TestStepsAreUndoneByCallsInReverseOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		u := sinkOf(r, map[string][]int{"refused": {400}, "back2": {409}, "back3": {503, 502, 200}})
		r.catalog(book("s", doing(
			undoneBy(post("one"), call("back1")), queue(), undoneBy(tell("told"), untell("log")), undoneBy(post("two"), call("back2")),
			undoneBy(post("three"), call("back3")), undoneBy(given(post("skipped"), "false"), call("never")),
			onFailure(undoneBy(post("refused"), call("nothing")), compensateAll), undoneBy(post("later"), call("never")),
		)))
		start(t, r, "s")
		run := settleRun(t, r, failed)
		if got := strings.Join(u.order, ", "); got != "back3 three.undo, back3 three.undo, back3 three.undo, back2 two.undo, back1 one.undo" {
			t.Errorf("undone %s", got)
		}
		if st := r.state(); st.GetQueueing() {
			t.Error("queueing stays on")
		}
		if !strings.HasPrefix(run.GetOutcome(), "could not be undone: two (answered 409") || !strings.Contains(run.GetOutcome(), "step refused failed") {
			t.Errorf("outcome %q", run.GetOutcome())
		}
		var told []string
		for _, n := range r.outbox() {
			told = append(told, strings.TrimPrefix(n.GetName(), run.GetName()))
		}
		if got := strings.Join(told, " "); got != ".told.log .told.undo.log" {
			t.Errorf("told %s", got)
		}
		for id, state := range map[int]jv1.StepState{
			0: jv1.StepState_STEP_STATE_COMPENSATED, 1: jv1.StepState_STEP_STATE_COMPENSATED, 2: jv1.StepState_STEP_STATE_COMPENSATED,
			3: jv1.StepState_STEP_STATE_SUCCEEDED, 4: jv1.StepState_STEP_STATE_COMPENSATED, 5: jv1.StepState_STEP_STATE_SKIPPED,
		} {
			if got := run.GetSteps()[id].GetState(); got != state {
				t.Errorf("step %d is %v, want %v", id, got, state)
			}
		}
		if a := run.GetSteps()[4].GetUndoing(); a.GetAttemptCount() != 3 || a.GetAttempts()[0].GetState() != jv1.AttemptState_ATTEMPT_STATE_FAILED ||
			a.GetAttempts()[1].GetState() != jv1.AttemptState_ATTEMPT_STATE_UNKNOWN || a.GetAttempts()[2].GetState() != jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			t.Errorf("undoing %v", a)
		}
		if events := kindsOf(t, r); strings.Count(events, "UNDO_FAILED") != 1 || strings.Count(events, "UNDO_INTENT") != 5 ||
			strings.Count(events, "UNDO_ATTEMPT_FAILED") != 2 {
			t.Errorf("events %s", events)
		}
	})
}

// A step is undone when it took effect or may have, also when it failed; and not when it certainly did not.
func TestOnlyWhatMayHaveTakenEffectIsUndone(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []int
		edit    func(*jv1.HttpRequestStep)
		undone  bool
		doubt   bool
	}{
		"refused":                         {[]int{400}, nil, false, false},
		"no capacity, three times":        {[]int{503}, nil, false, false},
		"a gateway's error, three times":  {[]int{502}, nil, true, true},
		"in doubt once, then refused":     {[]int{502, 503, 400}, nil, true, true},
		"in doubt, and not carried out":   {[]int{502}, checkable, false, false},
		"carried out, but without output": {[]int{200}, func(h *jv1.HttpRequestStep) { h.Outputs = map[string]string{"id": "json.id"} }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var edits []func(*jv1.HttpRequestStep)
				if tc.edit != nil {
					edits = append(edits, tc.edit)
				}
				u := sinkOf(r, map[string][]int{"call": tc.answers})
				asked := r.sink.answer
				r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
					if strings.HasPrefix(req.URL.Path, "/check/") {
						return respond(http.StatusNotFound), nil
					}
					return asked(n, req)
				}
				step := undoneBy(post("call", edits...), call("back"))
				step.Retry = &jv1.Retry{Attempts: 3}
				if tc.edit != nil && tc.answers[0] == 502 {
					step.Retry.Attempts = 1
				}
				r.catalog(book("s", doing(onFailure(step, compensateAll))))
				start(t, r, "s")
				run := settleRun(t, r, failed)
				if undone := len(u.order) == 1; undone != tc.undone || len(u.order) > 1 {
					t.Errorf("undone by %v", u.order)
				}
				if doubt := strings.Contains(run.GetOutcome(), "undone without knowing whether they took effect: call"); doubt != tc.doubt {
					t.Errorf("outcome %q", run.GetOutcome())
				}
			})
		})
	}
}

// A compensation that names an output which the step never gave is not made by half.
func TestACompensationIsNotMadeWithoutWhatItNeeds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		u := sinkOf(r, map[string][]int{"call": {502}})
		step := undoneBy(post("call", func(h *jv1.HttpRequestStep) { h.Outputs = map[string]string{"id": "json.id"} }),
			call(`tickets/{{output "call" "id"}}`))
		r.catalog(book("s", doing(onFailure(step, compensateAll))))
		start(t, r, "s")
		run := settleRun(t, r, failed)
		if len(u.order) != 0 || !strings.Contains(run.GetOutcome(), `could not be undone: call (no_request: the step did not come to give its output "id")`) {
			t.Errorf("undone by %v, outcome %q", u.order, run.GetOutcome())
		}
	})
}

// A receiver that hangs holds the undoing up no longer than the compensation may take.
func TestACompensationIsBoundedInTime(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*jv1.Compensation)
		want time.Duration
		made int
	}{
		"by default": {func(c *jv1.Compensation) {
			c.Retry = &jv1.Retry{Attempts: 100, Initial: durationpb.New(time.Second), Max: durationpb.New(time.Second)}
		}, 5 * time.Minute, 0},
		"by timeout":  {func(c *jv1.Compensation) { c.Timeout = durationpb.New(10 * time.Second) }, 10 * time.Second, 1},
		"by attempts": {func(c *jv1.Compensation) { c.Retry = &jv1.Retry{Attempts: 2} }, time.Minute, 2},
		"by budget": {func(c *jv1.Compensation) {
			c.Retry = &jv1.Retry{Attempts: 100, Initial: durationpb.New(time.Second), Max: durationpb.New(time.Second), Budget: durationpb.New(40 * time.Second)}
		}, time.Minute, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				made := 0
				var begun time.Time
				r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
					switch req.URL.Path {
					case "/refused":
						begun = time.Now()
						return respond(http.StatusBadRequest), nil
					case "/hangs":
						made++
						<-req.Context().Done()
						return nil, req.Context().Err()
					}
					return respond(http.StatusOK), nil
				}
				r.catalog(book("s", doing(undoneBy(post("one"), call("hangs", tc.edit)), onFailure(post("refused"), compensateAll))))
				start(t, r, "s")
				run := settleRun(t, r, failed)
				if took := run.GetEndTime().AsTime().Sub(begun); took > tc.want+3*time.Second || took < tc.want-15*time.Second || tc.made > 0 && made != tc.made {
					t.Errorf("%d calls, %v", made, took)
				}
				if !strings.Contains(run.GetOutcome(), "could not be undone: one (") {
					t.Errorf("outcome %q", run.GetOutcome())
				}
			})
		})
	}
}

// A human's cancel makes the calls that undo, when the step that is under way or one that is to come says so; a call
// under way whose outcome nobody knows then is undone, too.
func TestACancelUndoesByCalls(t *testing.T) {
	for name, tc := range map[string]struct {
		last *jv1.Step
		want string
	}{
		"the step under way says so":  {onFailure(undoneBy(post("hangs"), call("unhang")), compensateAll), "unhang hangs.undo, back one.undo"},
		"nothing says so":             {undoneBy(post("hangs"), call("unhang")), ""},
		"a step that waits says so":   {onFailure(pauseFor(time.Hour), compensateAll), "back one.undo"},
		"only a wait, and no promise": {pauseFor(time.Hour), ""},
	} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later %v", name, later), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					u := sinkOf(r, nil)
					answer := r.sink.answer
					r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
						if req.URL.Path == "/hangs" {
							<-req.Context().Done()
							return nil, req.Context().Err()
						}
						return answer(n, req)
					}
					plan := []*jv1.Step{undoneBy(post("one"), call("back")), tc.last}
					if later {
						plan = append(plan, onFailure(tell("end"), compensateAll))
					}
					r.catalog(book("s", doing(plan...)))
					start(t, r, "s")
					time.Sleep(5 * time.Second)
					if _, err := r.first.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: r.only().GetName(), Reason: "no more"}); err != nil {
						t.Fatal(err)
					}
					settleRun(t, r, jv1.RunState_RUN_STATE_CANCELED)
					want := tc.want
					if later && want == "" {
						want = "back one.undo"
						if tc.last.GetHttpRequest() != nil {
							want = "unhang hangs.undo, back one.undo"
						}
					}
					if got := strings.Join(u.order, ", "); got != want {
						t.Errorf("undone by %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// A rehearsal that fails undoes nothing outside: it did nothing.
func TestADryRunUndoesNothingOutside(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		u := sinkOf(r, nil)
		r.catalog(book("s", doing(undoneBy(post("one"), call("back")), undoneBy(tell("told"), untell("log")),
			onFailure(given(post("two"), `steps.one.output.result == ""`), compensateAll))))
		if _, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test", Mode: jv1.RunMode_RUN_MODE_DRY_RUN}); err != nil {
			t.Fatal(err)
		}
		run := settleRun(t, r, failed)
		if len(u.order) != 0 || len(r.outbox()) != 0 || run.GetSteps()[0].GetState() != jv1.StepState_STEP_STATE_COMPENSATED {
			t.Errorf("%v, %v, %v", u.order, r.outbox(), run)
		}
	})
}
