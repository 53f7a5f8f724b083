package runbooks_test

import (
	"testing"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestEffectOfARunbook(t *testing.T) {
	switching := &jv1.Step{Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{"any"}}}}
	weight := &jv1.Step{Action: &jv1.Step_SetWeight{SetWeight: &jv1.SetWeightStep{Provider: "preferred", Percent: 5}}}
	queue := &jv1.Step{Action: &jv1.Step_EnableQueueing{EnableQueueing: &jv1.EnableQueueingStep{}}}
	tell := &jv1.Step{Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Template: "restored"}}}
	beside := func(s ...*jv1.Step) *jv1.Step {
		return &jv1.Step{Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{Steps: s}}}
	}
	run := func(name string) *jv1.Step {
		return &jv1.Step{Action: &jv1.Step_RunRunbook{RunRunbook: &jv1.RunRunbookStep{Runbook: name}}}
	}
	stored := map[string]*jv1.Runbook{
		"switch": {Steps: []*jv1.Step{tell, switching}},
		"circle": {Steps: []*jv1.Step{run("circle"), queue}},
	}
	find := func(name string) *jv1.Runbook { return stored[name] }
	for name, tc := range map[string]struct {
		steps    []*jv1.Step
		want     runbooks.Effect
		switches bool
	}{
		"none":                     {want: runbooks.EffectOutside},
		"tells":                    {steps: []*jv1.Step{tell}, want: runbooks.EffectOutside},
		"queues":                   {steps: []*jv1.Step{tell, queue}, want: runbooks.EffectQueueing},
		"switches, then queues":    {steps: []*jv1.Step{switching, queue}, want: runbooks.EffectRoute, switches: true},
		"shifts weights":           {steps: []*jv1.Step{weight}, want: runbooks.EffectRoute},
		"switches side by side":    {steps: []*jv1.Step{beside(tell, switching)}, want: runbooks.EffectRoute, switches: true},
		"runs one that switches":   {steps: []*jv1.Step{beside(tell, run("switch"))}, want: runbooks.EffectRoute, switches: true},
		"runs one that is unknown": {steps: []*jv1.Step{run("nothing")}, want: runbooks.EffectOutside},
		"runs itself":              {steps: []*jv1.Step{run("circle")}, want: runbooks.EffectQueueing},
	} {
		rb := &jv1.Runbook{Steps: tc.steps}
		if got := runbooks.EffectOf(rb, find); got != tc.want {
			t.Errorf("%s: changes %v, want %v", name, got, tc.want)
		}
		if got := runbooks.Switches(rb, find); got != tc.switches {
			t.Errorf("%s: switches %v", name, got)
		}
	}
	if got := runbooks.EffectOf(&jv1.Runbook{Steps: []*jv1.Step{run("switch")}}, nil); got != runbooks.EffectOutside {
		t.Errorf("with nothing to find: %v", got)
	}
}
