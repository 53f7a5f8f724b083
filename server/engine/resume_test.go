package engine_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func lasting(s *jv1.Step, d time.Duration) *jv1.Step {
	s.Timeout = durationpb.New(d)
	return s
}

func resume(t *testing.T, r *rig, outcome jv1.OutcomeDecision) {
	t.Helper()
	if _, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: r.only().GetName(), Reason: "mended", Outcome: outcome}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// A call that certainly failed, and whose step then waited for a human, is made again when the human resumes. Nobody is
// asked what became of it: that is known.
func TestAFailedStepIsTriedAgainWhenItIsResumed(t *testing.T) {
	for name, step := range map[string]*jv1.Step{
		"at most once":   post("call", once),
		"idempotent":     post("call"),
		"with a timeout": lasting(post("call"), time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				mended := false
				r.sink.answer = func(int, *http.Request) (*http.Response, error) {
					if mended {
						return respond(http.StatusOK), nil
					}
					return respond(http.StatusBadRequest), nil
				}
				r.catalog(book("s", doing(onFailure(step, jv1.OnFailure_ON_FAILURE_PAUSE))))
				start(t, r, "s")
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				run := r.only()
				if run.GetWait() != jv1.RunWait_RUN_WAIT_RESUME || run.GetSteps()[0].GetError() == "" ||
					run.GetSteps()[0].GetAttempts()[0].GetState() != jv1.AttemptState_ATTEMPT_STATE_FAILED {
					t.Fatalf("run %v", run)
				}
				mended = true
				resume(t, r, jv1.OutcomeDecision_OUTCOME_DECISION_UNSPECIFIED)
				want(t, r.only(), succeeded)
				if n := len(r.sink.keys()); n != 2 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

// A switch that found no candidate looks at all of them again when a human resumes it.
func TestAFailedSwitchTriesEveryCandidateAgainWhenItIsResumed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(onFailure(confirmed(switchTo("b"), time.Minute), jv1.OnFailure_ON_FAILURE_PAUSE))))
		r.health("a", jv1.HealthState_HEALTH_STATE_UNKNOWN, 1)
		start(t, r, "s")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if run := r.only(); run.GetWait() != jv1.RunWait_RUN_WAIT_RESUME {
			t.Fatalf("run %v", run)
		}
		r.probes.set("b", 3)
		resume(t, r, jv1.OutcomeDecision_OUTCOME_DECISION_UNSPECIFIED)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetActiveProvider() != "b" || s.GetProvisional() {
			t.Errorf("state %v", s)
		}
	})
}

// A human says that a call whose outcome is unknown is to be repeated, long after the step's time was up: it has its
// time anew.
func TestARepeatedCallHasItsTimeAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
			if n == 1 {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			}
			return respond(http.StatusOK), req.Context().Err()
		}
		r.catalog(book("s", doing(lasting(post("call", once), 10*time.Second))))
		start(t, r, "s")
		time.Sleep(time.Hour)
		synctest.Wait()
		if run := r.only(); run.GetWait() != jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN {
			t.Fatalf("run %v", run)
		}
		resume(t, r, jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT)
		want(t, r.only(), succeeded)
	})
}

// An attempt whose turn comes after the step's time is up is not made, and so its outcome is not unknown.
func TestAnAttemptThatComesTooLateIsNotMade(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = func(_ int, req *http.Request) (*http.Response, error) {
			if err := req.Context().Err(); err != nil {
				return nil, err
			}
			return respond(http.StatusServiceUnavailable), nil
		}
		step := lasting(post("call", once), 5*time.Second)
		step.Retry = &jv1.Retry{Attempts: 3, Initial: durationpb.New(time.Minute)}
		r.catalog(book("s", doing(step)))
		start(t, r, "s")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want(t, r.only(), failed)
		if n := len(r.sink.keys()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}
