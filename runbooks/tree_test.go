package runbooks_test

import (
	"testing"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// What a trigger is held back by is written when its words change: they must not for chance.
func TestWhatATreeLacksIsSaidInTheSameWordsEachTime(t *testing.T) {
	plan := &jv1.Runbook{Name: "s", Services: []string{"chat"}}
	for _, name := range []string{"one", "two", "three"} {
		plan.Steps = append(plan.Steps, &jv1.Step{Id: name, Action: &jv1.Step_RunRunbook{RunRunbook: &jv1.RunRunbookStep{Runbook: name}}})
	}
	for range 50 {
		_, err := runbooks.Expand(plan, func(string) *jv1.Runbook { return nil }, "chat")
		if want := "steps[0].run_runbook.runbook: there is no runbook one"; err == nil || err.Error() != want {
			t.Fatalf("%v, want %s", err, want)
		}
	}
}
