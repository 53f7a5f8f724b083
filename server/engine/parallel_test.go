package engine_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

func parallel(id string, failOn jv1.FailOn, s ...*jv1.Step) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{Steps: s, FailOn: failOn}}}
}

func include(id, name string, parameters ...string) *jv1.Step {
	r := &jv1.RunRunbookStep{Runbook: name, Parameters: map[string]string{}}
	for i := 0; i < len(parameters); i += 2 {
		r.Parameters[parameters[i]] = parameters[i+1]
	}
	return &jv1.Step{Id: id, Action: &jv1.Step_RunRunbook{RunRunbook: r}}
}

// quietly makes a runbook that nothing starts by itself.
func quietly(b *jv1.Runbook) { b.On = nil }

// states are those of a run's steps.
func states(run *jv1.Run) string {
	var out []string
	for _, s := range run.GetSteps() {
		out = append(out, s.GetId()+" "+strings.ToLower(strings.TrimPrefix(s.GetState().String(), "STEP_STATE_")))
	}
	return strings.Join(out, ", ")
}

// hangs answers calls to paths that are listed only when they are given up, and refuses /refused.
func hangs(paths ...string) func(int, *http.Request) (*http.Response, error) {
	return func(n int, r *http.Request) (*http.Response, error) {
		for _, p := range paths {
			if r.URL.Path == "/"+p {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
		}
		if r.URL.Path == "/refused" {
			time.Sleep(time.Second) // after the others
		}
		return sinkAnswer(n, r)
	}
}

const (
	anyError  = jv1.FailOn_FAIL_ON_ANY_ERROR
	essential = jv1.FailOn_FAIL_ON_ESSENTIAL
	allFail   = jv1.FailOn_FAIL_ON_ALL
)

func essentially(s *jv1.Step) *jv1.Step {
	s.Essential = true
	return s
}

func TestStepsSideBySideEndAsTheirPlanSays(t *testing.T) {
	for name, tc := range map[string]struct {
		step  *jv1.Step
		hang  []string
		end   jv1.RunState
		state string
	}{
		"all succeed": {
			parallel("p", anyError, post("one"), post("two"), post("three")), nil, succeeded,
			"p succeeded, one succeeded, two succeeded, three succeeded, last succeeded",
		},
		"any error stops the others": {
			parallel("p", anyError, post("one"), post("refused"), post("slow")),
			[]string{"slow"},
			failed,
			"p failed, one succeeded, refused failed, slow canceled, last canceled",
		},
		"what is not essential may fail": {
			parallel("p", essential, essentially(post("one")), post("refused"), post("three")), nil, succeeded,
			"p succeeded, one succeeded, refused failed, three succeeded, last succeeded",
		},
		"what is essential stops the others": {
			parallel("p", essential, post("slow"), essentially(post("refused")), post("three")),
			[]string{"slow"},
			failed,
			"p failed, slow canceled, refused failed, three succeeded, last canceled",
		},
		"some may fail": {
			parallel("p", allFail, post("one"), post("refused"), post("three")), nil, succeeded,
			"p succeeded, one succeeded, refused failed, three succeeded, last succeeded",
		},
		"all fail": {
			parallel("p", allFail, given(post("one"), "false"), post("refused"), post("refused2")), nil, failed,
			"p failed, one skipped, refused failed, refused2 failed, last canceled",
		},
		"what waits for a time is stopped": {
			parallel("p", anyError, pauseFor(time.Hour), post("refused"), ask("sure")), nil, failed,
			"p failed, pause canceled, refused failed, sure canceled, last canceled",
		},
		"a step that has used its time up stops what is inside": {
			within(parallel("p", anyError, post("one"), post("slow")), 5*time.Second),
			[]string{"slow"},
			failed,
			"p failed, one succeeded, slow canceled, last canceled",
		},
		"the plan goes on after it": {
			onFailure(parallel("p", anyError, post("one"), post("refused")), jv1.OnFailure_ON_FAILURE_CONTINUE), nil, succeeded,
			"p failed, one succeeded, refused failed, last succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/refused2" {
						return respond(http.StatusBadRequest), nil
					}
					return hangs(tc.hang...)(n, req)
				}
				r.catalog(book("s", doing(tc.step, tell("last"))))
				start(t, r, "s")
				time.Sleep(10 * time.Second)
				synctest.Wait()
				run := want(t, r.only(), tc.end)
				if got := states(run); got != tc.state {
					t.Errorf("got  %s\nwant %s", got, tc.state)
				}
			})
		})
	}
}

func within(s *jv1.Step, d time.Duration) *jv1.Step {
	s.Timeout = durationpb.New(d)
	return s
}

// Three calls are under way at once, each with its own intent stored before, and the run needs no more transactions than
// its steps in a row would.
func TestCallsSideBySideAreUnderWayAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		release := make(chan struct{})
		r.sink.answer = func(int, *http.Request) (*http.Response, error) {
			<-release
			return respond(http.StatusOK), nil
		}
		r.catalog(book("s", doing(parallel("p", anyError, post("one"), post("two"), post("three")))))
		start(t, r, "s")
		synctest.Wait()
		if n := len(r.sink.keys()); n != 3 {
			t.Fatalf("%d calls are under way", n)
		}
		for _, s := range r.only().GetSteps()[1:] {
			if !runs.InFlight(s) {
				t.Errorf("the intent of %s is not stored", s.GetId())
			}
		}
		before := r.revision()
		close(release)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if n := r.revision() - before; n > 3 {
			t.Errorf("the results of three calls took %d transactions", n)
		}
	})
}

// A call that may be made once and is stopped under way is not hidden: a human says what became of it before the run goes
// on.
func TestAStoppedCallWhoseOutcomeIsUnknownIsAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = hangs("slow")
		r.catalog(book("s", doing(
			onFailure(parallel("p", anyError, post("slow", once), given(post("refused"), "true")), jv1.OnFailure_ON_FAILURE_CONTINUE),
			tell("last"))))
		run := start(t, r, "s")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got := r.only()
		if got.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN || runs.StepOf(got, "slow").GetState() != jv1.StepState_STEP_STATE_OUTCOME_UNKNOWN {
			t.Fatalf("the run is %v %v: %s", got.GetState(), got.GetWait(), states(got))
		}
		if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{
			Name: run.GetName(), Reason: "looked", Outcome: jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED,
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := states(want(t, r.only(), succeeded)); s != "p failed, slow succeeded, refused failed, last succeeded" {
			t.Error(s)
		}
	})
}

// A branch that waits for a human does not make the run wait while another acts: it is not superseded, and its own
// deadline stays.
func TestARunWaitsOnlyWhenEveryBranchDoes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(parallel("p", anyError, ask("sure"), pauseFor(time.Minute)), tell("last"))))
		start(t, r, "s")
		synctest.Wait()
		got := r.only()
		sure := runs.StepOf(got, "sure")
		if got.GetState() != jv1.RunState_RUN_STATE_RUNNING || runs.WaitsForHuman(got) || got.GetWait() != 0 {
			t.Errorf("the run is %v %v while a branch acts", got.GetState(), got.GetWait())
		}
		if sure.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL || sure.GetWaitText() != "go on?" {
			t.Errorf("the step waits for %v: %q", sure.GetWait(), sure.GetWaitText())
		}
		deadline := got.GetDeadline().AsTime()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got = r.only(); !runs.WaitsForHuman(got) || got.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL || got.GetWaitText() != "go on?" {
			t.Errorf("the run is %v %v when every branch waits", got.GetState(), got.GetWait())
		}
		decide(t, r)
		if moved := r.only().GetDeadline().AsTime().Sub(deadline); moved != time.Minute {
			t.Errorf("the deadline moved by %v, the run waited a minute", moved)
		}
		want(t, r.only(), succeeded)
	})
}

// A pause lets the calls of all branches end, and is not forgotten when the first one has.
func TestAPauseDuringCallsHoldsTheRunAfterThem(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		release := make(chan struct{})
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/two" {
				<-release
			} else {
				time.Sleep(time.Second)
			}
			return respond(http.StatusOK), nil
		}
		r.catalog(book("s", doing(parallel("p", anyError, post("one"), post("two")), queue())))
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "look"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.only(); got.GetState() != jv1.RunState_RUN_STATE_RUNNING || !got.GetPauseRequested() {
			t.Fatalf("the run is %v while a call is under way", got.GetState())
		}
		close(release)
		synctest.Wait()
		if got := r.only(); got.GetWait() != jv1.RunWait_RUN_WAIT_RESUME || r.state().GetQueueing() {
			t.Fatalf("the run did not hold: %v", got)
		}
		if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "looked"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// Two calls that are under way when their replica dies are both made again by the one that takes over, with their keys.
func TestCallsInFlightAreAdopted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = hangs("one", "two")
		r.catalog(book("s", doing(parallel("p", anyError, post("one"), post("two"), post("three")), queue())))
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		p := r.replica("dying", r.backend)
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.kill()
		r.sink.mu.Lock()
		r.sink.answer = nil
		r.sink.mu.Unlock()
		q := r.replica("heir", r.backend)
		defer q.kill()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		run := want(t, r.only(), succeeded)
		made := map[string]int{}
		for _, k := range r.sink.keys() {
			made[strings.ReplaceAll(k, run.GetName(), "")]++
		}
		if made["/one .one"] != 2 || made["/two .two"] != 2 || made["/three .three"] != 1 {
			t.Errorf("calls %v", made)
		}
	})
}

// The steps of another runbook run as part of the run: with their own parameters and names, in the version that was
// stored when the run began, and in the transaction that creates it as far as they are state steps.
func TestARunbookRunsInsideOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		inner := book("inner", quietly, doing(
			queue(), post("call", func(h *jv1.HttpRequestStep) { h.Url = `http://sink/{{index .Params "what"}}` }),
			given(tell("told"), `steps.call.succeeded && params["what"] == "chat-x" && params["other"] == "d"`)))
		inner.Parameters = map[string]*jv1.Parameter{"what": {Required: true}, "other": {Default: "d"}}
		r.catalog(inner, book("s", doing(include("sub", "inner", "what", "{{.Service}}-x"), switchTo("b"))))
		release := make(chan struct{})
		r.sink.answer = func(int, *http.Request) (*http.Response, error) {
			<-release
			return respond(http.StatusOK), nil
		}
		before := r.revision()
		run := start(t, r, "s")
		if r.revision() != before+1 || !r.state().GetQueueing() {
			t.Errorf("%d transactions, queueing %v", r.revision()-before, r.state().GetQueueing())
		}
		if run.GetIncluded()["inner"] != 1 {
			t.Errorf("included %v", run.GetIncluded())
		}
		changed := book("inner", quietly, doing(post("refused")))
		changed.Version, changed.Services = 2, []string{"chat"}
		r.commit(store.Put(store.RunbookKey("inner"), changed), store.Put(store.RunbookRevisionKey("inner", 2), changed))
		close(release)
		synctest.Wait()
		run = want(t, r.only(), succeeded)
		if s := states(run); s != "sub succeeded, sub.queue succeeded, sub.call succeeded, sub.told succeeded, switch succeeded" {
			t.Error(s)
		}
		if keys := r.sink.keys(); len(keys) != 1 || keys[0] != "/chat-x "+run.GetName()+".sub.call" {
			t.Errorf("calls %v", keys)
		}
	})
}

// A failure inside compensates everything done so far, in the reverse order in which it was done.
func TestCompensationReachesIntoRunbooks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = hangs("slow")
		r.catalog(
			book("inner", quietly, doing(queue(), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))),
			book("s", doing(switchTo("b"), parallel("p", anyError, include("sub", "inner"), post("slow")))))
		start(t, r, "s")
		time.Sleep(time.Second)
		synctest.Wait()
		run := want(t, r.only(), failed)
		if st := r.state(); st.GetQueueing() || st.GetActiveProvider() != "a" {
			t.Errorf("not undone: %v", st)
		}
		if s := states(run); s != "switch compensated, p canceled, sub canceled, sub.queue compensated, sub.refused failed, slow canceled" {
			t.Error(s)
		}
	})
}

// A runbook whose included one was removed does not start, and says why.
func TestABrokenRunbookDoesNotStart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(include("sub", "gone"))))
		_, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"})
		if err == nil || !strings.Contains(err.Error(), "runbook_broken") || !strings.Contains(err.Error(), "there is no runbook gone") {
			t.Errorf("%v", err)
		}
	})
}
