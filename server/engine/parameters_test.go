package engine_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/store"
)

// typed is a runbook with typed parameters that its conditions rest on.
func typed() *jv1.Runbook {
	return book("s", func(b *jv1.Runbook) {
		b.Parameters = map[string]*jv1.Parameter{
			"count":  {Type: jv1.ParameterType_PARAMETER_TYPE_INTEGER, Default: "3"},
			"target": {Type: jv1.ParameterType_PARAMETER_TYPE_PROVIDER, Default: "b"},
			"size":   {OneOf: []string{"small", "large"}},
		}
	}, doing(given(tell("few"), `params.count <= 3`), given(tell("many"), `params["count"] > 3 && has(params.size)`)))
}

func TestParametersAreCheckedAndTyped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(typed())
		for _, tc := range []struct {
			given map[string]string
			want  string
		}{
			{map[string]string{"count": "four"}, `parameter count: "four" is not a whole number of 64 bits (wrong_type)`},
			{map[string]string{"target": "d"}, `parameter target: d is not a provider of chat, did you mean "a"? (no_provider)`},
			{map[string]string{"size": "huge"}, `parameter size: "huge" is none of small, large (not_allowed)`},
			{map[string]string{"sise": "small"}, `parameter sise: runbook s has no such parameter, did you mean "size"? (unknown_parameter)`},
		} {
			_, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test", Parameters: tc.given})
			if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("start with %v: %v, want %s", tc.given, err, tc.want)
			}
			_, err = r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Runbook: "s", Reason: "test", Parameters: tc.given})
			if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("fire with %v: %v, want %s", tc.given, err, tc.want)
			}
		}
		if n := len(r.runs()); n != 0 {
			t.Fatalf("%d runs", n)
		}
		if _, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{
			Runbook: "s", Reason: "test", Parameters: map[string]string{"count": "12", "size": "large"},
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		run := r.only()
		want(t, run, succeeded)
		if few, many := run.GetSteps()[0].GetState(), run.GetSteps()[1].GetState(); few != jv1.StepState_STEP_STATE_SKIPPED ||
			many != jv1.StepState_STEP_STATE_SUCCEEDED {
			t.Errorf("12 is not more than 3: %v, %v", few, many)
		}
	})
}

// A trigger that was accepted, and held back, is judged again by the runbook as it is when it could start: it is held
// back with the reason, and not started with what the runbook does not understand.
func TestATriggerIsHeldBackByParametersThatAreNoLongerGood(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(typed())
		automation := func(on bool) {
			t.Helper()
			if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: on, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		automation(false)
		r.health("a", jv1.HealthState_HEALTH_STATE_SUSPECT, 1)
		tr, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{
			Service: "chat", Runbook: "s", Reason: "slow", Parameters: map[string]string{"size": "large"},
		})
		if err != nil || tr.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING {
			t.Fatalf("trigger %v, %v", tr, err)
		}
		changed := typed()
		changed.Parameters["size"].OneOf = []string{"small"}
		r.books(changed)
		automation(true)
		synctest.Wait()
		tr = get[*jv1.Trigger](r, store.TriggerKey(tr.GetName()))
		if o := tr.GetOutcomes(); len(o) != 1 || o[0].GetGuard() != "parameters" || !strings.Contains(o[0].GetDetail(), "not_allowed") || len(r.runs()) != 0 {
			t.Errorf("trigger %v, %d runs", tr, len(r.runs()))
		}
		r.books(typed())
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}
