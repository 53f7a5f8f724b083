package cli

import (
	"bytes"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// A run that was asked to end while it asks something is followed to its end.
func TestJudgeRun(t *testing.T) {
	waiting, running := jv1.RunState_RUN_STATE_WAITING, jv1.RunState_RUN_STATE_RUNNING
	for name, c := range map[string]struct {
		run  *jv1.Run
		want bool
	}{
		"it acts":                      {&jv1.Run{State: running}, false},
		"it asks":                      {&jv1.Run{State: waiting}, true},
		"it asks and is to be ended":   {&jv1.Run{State: waiting, CancelRequested: true}, false},
		"it has ended":                 {&jv1.Run{State: jv1.RunState_RUN_STATE_CANCELED, CancelRequested: true}, true},
		"it acts and is to be stopped": {&jv1.Run{State: running, CancelRequested: true}, false},
	} {
		a := &App{Process: Process{Stderr: &bytes.Buffer{}}}
		if got := a.judgeRun(c.run, &following{untilWaiting: true}); got != c.want {
			t.Errorf("%s: done %v", name, got)
		}
	}
}
