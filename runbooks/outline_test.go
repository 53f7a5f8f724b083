package runbooks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"
)

func TestOutline(t *testing.T) {
	documents := parse(t, `kind: Runbook
name: all
services: [chat]
steps:
- notify: {channels: [oncall, desk], text: x}
- switch_provider: {to: [a, b], confirm: {detector: probe, successes: 3, within: 2m}}
- switch_provider: {to: preferred, confirm: {}}
- switch_provider: {to: a}
- enable_queueing: {}
- if: queueing
  wait: {duration: 90m}
- wait: {until: queueing}
  timeout: 1h
- approval: {text: "Go on?", approvers: [ann, bob], count: 2}
- approval: {}
- verify: {health: healthy, for: 10m}
- verify: {health: healthy, provider: a}
- http_request: {method: PUT, url: "https://example.org/{{.Service}}"}
- disable_queueing: {}
`)
	plan := runbooks.Outline(documents[0].Resource.GetRunbook(), nil)
	var got []string
	for _, step := range plan.GetSteps() {
		mark := ""
		if step.GetFused() {
			mark = "* "
		}
		got = append(got, fmt.Sprintf("%s%s: %s", mark, step.GetId(), step.GetSummary()))
	}
	want := `* notify_1: tell oncall, desk: a message of its own
* switch_provider_1: switch to the first of a, b that passes the guards; provisional until probe says it is good 3 times within 2m, otherwise the next one
switch_provider_2: switch to the preferred provider; provisional until its health is good within 1m, otherwise the next one
switch_provider_3: switch to a
enable_queueing_1: switch queueing on
wait_1: wait 1h30m
wait_2: wait until queueing, at most 1h
approval_1: ask ann, bob, of whom 2 must approve: Go on?
approval_2: ask an operator
verify_1: verify that the active provider is healthy for 10m
verify_2: verify that a is healthy
http_request_1: PUT https://example.org/{{.Service}}
disable_queueing_1: switch queueing off`
	if joined := strings.Join(got, "\n"); joined != want {
		t.Errorf("got\n%s\nwant\n%s", joined, want)
	}
	// One that creates the run, one for the confirmation, one for each of the eleven steps after it.
	if plan.GetMaxTransactions() != 13 || plan.GetRunbook() != "all" || plan.GetSteps()[5].GetCondition() != "queueing" {
		t.Errorf("the plan is %v", plan)
	}
	if plan := runbooks.Outline(nil, nil); len(plan.GetSteps()) != 0 || plan.GetMaxTransactions() != 1 {
		t.Errorf("nothing is planned as %v", plan)
	}
}
