package engine

import (
	"slices"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestReviewedRunsWait says what a restore does to a run in each state it can be in.
func TestReviewedRunsWait(t *testing.T) {
	const why = "restored from a backup of then"
	inFlight := &jv1.StepRun{
		Id: "call", State: jv1.StepState_STEP_STATE_RUNNING,
		Attempts: []*jv1.Attempt{{Id: "a", State: jv1.AttemptState_ATTEMPT_STATE_INTENT}},
	}
	ended := &jv1.StepRun{
		Id: "done", State: jv1.StepState_STEP_STATE_SUCCEEDED,
		Attempts: []*jv1.Attempt{{Id: "b", State: jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED}},
	}
	pause, hold := jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED, jv1.RunEventKind_RUN_EVENT_KIND_WAITING
	running := jv1.RunState_RUN_STATE_RUNNING
	for name, c := range map[string]struct {
		run   *jv1.Run
		want  []jv1.RunEventKind
		newer bool
	}{
		"between two steps": {&jv1.Run{State: running, Steps: []*jv1.StepRun{ended}}, []jv1.RunEventKind{pause, hold}, false},
		"a call was under way, by a runbook of a newer version": {
			&jv1.Run{State: running, Steps: []*jv1.StepRun{ended, inFlight}}, []jv1.RunEventKind{pause, hold}, true,
		},
		"a call was under way": {
			&jv1.Run{State: running, Steps: []*jv1.StepRun{ended, inFlight}},
			[]jv1.RunEventKind{pause, jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN, hold},
			false,
		},
		"asks for an approval": {
			&jv1.Run{State: jv1.RunState_RUN_STATE_WAITING, Wait: jv1.RunWait_RUN_WAIT_APPROVAL}, []jv1.RunEventKind{pause, hold}, false,
		},
		"undoing": {
			&jv1.Run{State: jv1.RunState_RUN_STATE_COMPENSATING}, []jv1.RunEventKind{jv1.RunEventKind_RUN_EVENT_KIND_ENDED}, false,
		},
	} {
		var got []jv1.RunEventKind
		text := ""
		for _, ev := range reviewed(c.run, !c.newer, why) {
			got, text = append(got, ev.Kind), ev.Message
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if c.run.GetState() != running {
			continue
		}
		again := &jv1.Run{State: jv1.RunState_RUN_STATE_WAITING, Wait: jv1.RunWait_RUN_WAIT_RESUME, WaitText: text}
		if events := reviewed(again, true, why); len(events) != 0 {
			t.Errorf("%s: reviewed twice: %v", name, events)
		}
	}
}
