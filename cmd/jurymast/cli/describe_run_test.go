package cli

import (
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestStepResult(t *testing.T) {
	switched := map[string]string{"from": "primary", "to": "standby", "since": "1795383943969000000"}
	for _, test := range []struct {
		name string
		step *jv1.StepRun
		want string
	}{
		{"switched", &jv1.StepRun{Kind: "switch_provider", Output: switched}, "primary -> standby"},
		{"stayed", &jv1.StepRun{Kind: "switch_provider", Output: map[string]string{"from": "a", "to": "a"}}, "stays on a"},
		{"gave up its candidate", &jv1.StepRun{Kind: "switch_provider", Output: map[string]string{"to": ""}, Error: "no candidate passes"}, "no candidate passes"},
		{"called", &jv1.StepRun{Kind: "http_request", Output: map[string]string{"result": "201 created"}}, "result=201 created"},
		{"decided", &jv1.StepRun{Kind: "approval", Decisions: []*jv1.Decision{{Actor: "ann", Approved: true, Comment: "go"}}}, "approved by ann: go"},
		{"nothing", &jv1.StepRun{Kind: "wait"}, ""},
	} {
		if got := stepResult(test.step); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestDrainOutput(t *testing.T) {
	for want, out := range map[string]map[string]string{
		"38 left, 4/s, done in 10s, 3 parked for a human":  {"queued": "38", "rate": "4/s", "eta": "10s", "parked": "3", "as_of": "x", "epoch": "2"},
		"38 left, 0/s, no basis yet, not in force at gw-2": {"queued": "38", "rate": "0/s", "eta": "no basis yet", "parked": "0", "not_in_force": "gw-2"},
		"0 left, not heard of gw-1 (5)":                    {"queued": "0", "rate": "0/s", "parked": "0", "silent": "gw-1 (5)"},
	} {
		if got := stepOutput(&jv1.StepRun{Kind: "drain_queue", Output: out}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
