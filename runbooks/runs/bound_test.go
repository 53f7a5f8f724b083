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

// The same holds for as many steps as a run may have, with ids as long as they may be, inside of others, given as much as
// they may be given: and what was given to them is never cut.
func TestTheRecordOfALongTreeIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	inner := &jv1.Runbook{Name: "inner", Version: 1, Services: []string{"chat"}, Parameters: map[string]*jv1.Parameter{"what": {}}}
	for i := range 48 {
		inner.Steps = append(inner.Steps, leaf(fmt.Sprintf("step_%d_%s", i, strings.Repeat("x", 52)), 0))
	}
	plan := &jv1.Runbook{Name: "outer", Version: 1, Services: []string{"chat"}}
	for i := range 2 {
		plan.Steps = append(plan.Steps, inside(fmt.Sprintf("sub_%d_%s", i, strings.Repeat("y", 54)), "inner", 0))
	}
	laid := tree(t, plan, inner)
	run, _ := runs.New(runs.Start{Name: "r-1", Tree: laid, Service: "chat", Now: now})
	given, text := strings.Repeat("g", 1000), strings.Repeat("t", 5000)
	take := func(e runs.Event) {
		t.Helper()
		e.Time = now
		next, _, err := runs.Fold(run, laid, e)
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(next); size > 64<<10 {
			t.Fatalf("the record has %d bytes after %v of %s", size, e.Kind, e.Step)
		}
		run = next
	}
	for _, n := range laid.Nodes {
		if n.Parent < 0 {
			take(runs.Event{Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, Step: n.ID, Output: map[string]string{"what": given}})
			continue
		}
		for range 3 {
			take(runs.Event{Kind: intent, Step: n.ID, AttemptID: "t-0123456789012345", Key: "r-1." + n.ID})
			take(runs.Event{Kind: jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, Step: n.ID, Error: text, Message: text, Wake: now})
		}
		take(runs.Event{Kind: intent, Step: n.ID, AttemptID: "t-0123456789012345", Key: "r-1." + n.ID})
		take(runs.Event{Kind: succeeded, Step: n.ID, Message: text, Output: map[string]string{"result": text}})
	}
	for _, i := range laid.Top {
		if run.GetSteps()[i].GetOutput()["what"] != given {
			t.Errorf("what %s was given is cut", run.GetSteps()[i].GetId())
		}
	}
}
