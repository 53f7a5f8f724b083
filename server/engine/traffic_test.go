package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/library"
	"github.com/jurymast/jurymast/runbooks/manifest"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// failBack is the runbook of the documentation as it stands there.
const failBack = `kind: Runbook
name: fail-back
services: [chat]
on: {health: healthy, provider: preferred}
automation: {default: propose, when_queueing: act}   # nobody is serving: don't wait
steps:
- id: canary
  if: phase == "FAILED_OVER"
  set_weight: {provider: preferred, percent: 5}
- verify: {health: healthy, provider: preferred, for: 10m}
  on_failure: compensate         # the canary's inverse is implied
- switch_provider: {to: preferred}
- drain_queue: {start_rate: 1/s, timeout: 2h}
- disable_queueing: {}
- notify: {channels: [log], template: restored}
`

// parsed is a runbook from a file, with its channel replaced by the one there is.
func parsed(t *testing.T, text string) *jv1.Runbook {
	t.Helper()
	documents, err := manifest.Parse("test.yaml", []byte(strings.ReplaceAll(text, "oncall", "log")))
	if err != nil || len(documents) != 1 {
		t.Fatalf("%v, %v", documents, err)
	}
	return runbooks.Normalize(documents[0].Resource.GetRunbook())
}

func shipped(t *testing.T, name string) *jv1.Runbook {
	t.Helper()
	text, err := library.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, string(text))
}

func (r *rig) phase() jv1.Phase {
	var phase jv1.Phase
	r.first.store.Read(func(v store.View) { phase = continuity.Present(v, "chat", time.Now()).GetPhase() })
	return phase
}

// failedOver has the service on b, as an outage of a leaves it.
func (r *rig) failedOver(t *testing.T) {
	t.Helper()
	if _, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "outage"}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func step(t *testing.T, run *jv1.Run, id string) *jv1.StepRun {
	t.Helper()
	for _, s := range run.GetSteps() {
		if s.GetId() == id {
			return s
		}
	}
	t.Fatalf("no step %s in %v", id, run.GetSteps())
	return nil
}

func TestFailBackTriesWithACanaryFirst(t *testing.T) {
	for name, book := range map[string]*jv1.Runbook{"as documented": parsed(t, failBack), "as shipped": shipped(t, "fail-back")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book)
				r.failedOver(t)
				start(t, r, "fail-back")
				synctest.Wait()
				if s := r.state(); s.GetActiveProvider() != "b" || s.GetWeights()["a"] != 5 || r.phase() != jv1.Phase_PHASE_FAILING_BACK {
					t.Fatalf("canary: %v in %v", s, r.phase())
				}
				time.Sleep(9 * time.Minute)
				want(t, r.only(), running)
				time.Sleep(61 * time.Second)
				want(t, r.only(), succeeded)
				if s := r.state(); s.GetActiveProvider() != "a" || len(s.GetWeights()) != 0 || r.phase() != jv1.Phase_PHASE_NORMAL {
					t.Errorf("afterwards: %v in %v", s, r.phase())
				}
			})
		})
	}
}

func TestACanaryThatFailsIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(shipped(t, "fail-back"))
		r.failedOver(t)
		start(t, r, "fail-back")
		synctest.Wait()
		r.health("a", jv1.HealthState_HEALTH_STATE_FAILING, 0)
		time.Sleep(16 * time.Minute)
		want(t, r.only(), failed)
		if s := r.state(); s.GetActiveProvider() != "b" || len(s.GetWeights()) != 0 {
			t.Errorf("state %v", s)
		}
	})
}

func TestFailBackDoesNotWaitWhereNobodyServes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(shipped(t, "fail-back"))
		r.failedOver(t)
		if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "b fails too"}); err != nil {
			t.Fatal(err)
		}
		r.recovers("a", 1)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetActiveProvider() != "a" || s.GetQueueing() {
			t.Errorf("state %v", s)
		}
	})
}

func TestGuardsOfAWeight(t *testing.T) {
	for name, tc := range map[string]struct {
		step  *jv1.Step
		given func(r *rig)
		want  string
	}{
		"active":     {step: weigh("w", "a", 5), want: "target_active"},
		"unknown":    {step: weigh("w", "nobody", 5), want: "unknown_provider"},
		"unhealthy":  {step: weigh("w", "b", 5), given: func(r *rig) { r.health("b", jv1.HealthState_HEALTH_STATE_UNKNOWN, 0) }, want: "last_healthy_provider"},
		"taken back": {step: weigh("w", "b", 0), given: func(r *rig) { r.health("b", jv1.HealthState_HEALTH_STATE_FAILING, 0) }},
		"too much": {step: weigh("w", "b", 60), given: func(r *rig) {
			s := r.state()
			s.Weights = map[string]int32{"c": 40}
			r.commit(store.Put(store.ContinuityKey("chat"), s))
		}, want: "weight_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("s", doing(tc.step)))
				if tc.given != nil {
					tc.given(r)
				}
				start(t, r, "s")
				synctest.Wait()
				run := r.only()
				if got := run.GetSteps()[0].GetError(); tc.want == "" && run.GetState() != succeeded || !strings.HasPrefix(got, tc.want) {
					t.Errorf("%v: %s", run.GetState(), got)
				}
			})
		})
	}
}

func TestUndoingAWeightRestoresWhatWasBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		r.catalog(book("s", doing(weigh("w", "b", 30), weigh("none", "c", 0), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))))
		s := r.state()
		s.Weights = map[string]int32{"b": 10, "c": 5}
		r.commit(store.Put(store.ContinuityKey("chat"), s))
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), failed)
		if got := fmt.Sprint(r.state().GetWeights()); got != "map[b:10 c:5]" {
			t.Errorf("weights %s", got)
		}
	})
}

// A human who puts all of the traffic back must not find the canary restored by what a run undoes later.
func TestAHumansSwitchToTheActiveProviderTakesWeightsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		r.catalog(book("s", doing(weigh("w", "b", 30), pauseFor(time.Minute), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))))
		start(t, r, "s")
		synctest.Wait()
		st, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "a", Reason: "enough"})
		if err != nil || len(st.GetWeights()) != 0 || st.GetEpoch() != 3 {
			t.Fatalf("%v, %v", st, err)
		}
		time.Sleep(2 * time.Minute)
		want(t, r.only(), failed)
		if s := r.state(); len(s.GetWeights()) != 0 || s.GetEpoch() != 3 || s.GetRun() != "" {
			t.Errorf("state %v", s)
		}
	})
}

func TestTheRunThatStopsTheMachinesGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(machinesOff("off"), post("call"), switchTo("b"))))
		r.fails("a", 1)
		synctest.Wait()
		run := r.runs()[0]
		want(t, run, succeeded)
		if s := r.state(); s.GetActiveProvider() != "b" || r.machines(run) != "on false by the run true: two at once" || r.audited() != 1 {
			t.Errorf("state %v, automation %s, %d audit events", s, r.machines(run), r.audited())
		}
		// The next run is stopped by it.
		r.fails("b", 1)
		synctest.Wait()
		if n := len(r.runs()); n != 1 || r.state().GetActiveProvider() != "b" {
			t.Errorf("%d runs, state %v", n, r.state())
		}
	})
}

func TestAHumansWordAboutTheMachinesIsNotUndone(t *testing.T) {
	for name, on := range map[string]bool{"off": false, "on": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.sink.answer = sinkAnswer
				r.catalog(book("s", doing(machinesOff("off"), pauseFor(time.Minute), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))))
				start(t, r, "s")
				synctest.Wait()
				if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{Service: "chat", On: on, Reason: "I looked"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				run := r.only()
				want(t, run, failed)
				if got := r.machines(run); got != fmt.Sprintf("on %v by the run false: I looked", on) {
					t.Errorf("automation %s", got)
				}
			})
		})
	}
}

func TestDryRunsOfStateStepsChangeNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gw := &gateway{rig: r, name: "gw", queued: 3}
		r.catalog(book("s", doing(weigh("w", "b", 5), machinesOff("off"), say("bad", identified), drain("drain"))))
		gw.report()
		before := r.revision()
		run, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test", Mode: jv1.RunMode_RUN_MODE_DRY_RUN})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetEpoch() != 1 || len(r.incidents()) != 0 || r.machines(run) != "" || r.revision() != before+1 {
			t.Errorf("state %v, incidents %v, automation %s, %d transactions", s, r.incidents(), r.machines(run), r.revision()-before)
		}
	})
}

func TestStateStepsAreHeldByAHumansSwitch(t *testing.T) {
	for name, s := range map[string]*jv1.Step{"weight": weigh("w", "b", 5), "drain": drain("drain")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				gw := &gateway{rig: r, name: "gw", queued: 3}
				r.catalog(book("outage", doing(pauseFor(time.Minute), s)))
				gw.report()
				r.fails("a", 1)
				synctest.Wait()
				if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: false, Reason: "wait"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(61 * time.Second)
				want(t, r.only(), failed)
				if e := step(t, r.only(), s.GetId()).GetError(); !strings.HasPrefix(e, "automation_off") || r.state().GetEpoch() != 1 {
					t.Errorf("%s, state %v", e, r.state())
				}
			})
		})
	}
}
