package runs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// The longest runbook whose every step takes ten attempts and gets long answers, with the longest parameters, still has
// a record of at most 64 KiB. What steps and conditions go on from is kept.
func TestTheRecordOfALongRunIsBounded(t *testing.T) {
	plan := &jv1.Runbook{Name: "long", Version: 1, Services: []string{"chat"}}
	for i := range 50 {
		plan.Steps = append(plan.Steps, &jv1.Step{
			Id: fmt.Sprintf("step-%d-%s", i, strings.Repeat("x", 40)), Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{}},
		})
	}
	parameters := map[string]string{}
	for i := range 32 {
		parameters[fmt.Sprintf("parameter%d", i)] = strings.Repeat("p", 1000)
	}
	now := time.Unix(1_000_000, 0)
	laid := tree(t, plan)
	run, _ := runs.New(runs.Start{Name: "r-1", Tree: laid, Service: "chat", Parameters: parameters, Now: now})
	text := strings.Repeat("t", 5000)
	for i, step := range plan.GetSteps() {
		events := []runs.Event{}
		for n := range 10 {
			events = append(events, runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_INTENT, Step: step.GetId(), Time: now,
				AttemptID: fmt.Sprintf("t-%d-%d-0123456789", i, n), Key: "r-1." + step.GetId(),
			})
			if n < 9 {
				events = append(events, runs.Event{
					Kind: jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, Step: step.GetId(), Time: now, Error: text, Message: text, Wake: now,
				})
			}
		}
		events = append(events, runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, Step: step.GetId(), Time: now, Message: text,
			Output: map[string]string{"result": text[:2048], "to": "azure-eu"},
		})
		for _, ev := range events {
			next, _, err := runs.Fold(run, laid, ev)
			if err != nil {
				t.Fatal(err)
			}
			if size := proto.Size(next); size > 64<<10 {
				t.Fatalf("the record has %d bytes after %v of step %d", size, ev.Kind, i)
			}
			run = next
		}
		if n := run.GetSteps()[i].GetAttemptCount(); n != 10 {
			t.Errorf("%d attempts", n)
		}
		if to := run.GetSteps()[i].GetOutput()["to"]; to != "azure-eu" {
			t.Errorf("output %q", to)
		}
	}
}
