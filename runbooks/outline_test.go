package runbooks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
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

// Steps inside of others are planned where they stand, with what runs them; what runs beside an outside call may still be
// applied with the start.
func TestOutlineOfATree(t *testing.T) {
	documents := parse(t, `kind: Runbook
name: outer
services: [chat]
steps:
- id: sub
  run_runbook: {runbook: inner, parameters: {what: x}}
- id: both
  parallel:
    steps:
    - {id: call, http_request: {method: PUT, url: "https://example.org/"}}
    - {id: tell, notify: {channels: [oncall], text: x}}
- id: last
  enable_queueing: {}
---
kind: Runbook
name: inner
services: [chat]
parameters: {what: {}}
steps: [{disable_queueing: {}}, {switch_provider: {to: any}}]
`)
	plan := runbooks.Outline(documents[0].Resource.GetRunbook(), func(name string) *jv1.Runbook {
		return documents[1].Resource.GetRunbook()
	})
	var got []string
	for _, step := range plan.GetSteps() {
		got = append(got, fmt.Sprintf("%s<%s %v", step.GetId(), step.GetParent(), step.GetFused()))
	}
	want := "sub< true, sub.disable_queueing_1<sub true, sub.switch_provider_1<sub true, both< false, call<both false, tell<both true, last< false"
	if joined := strings.Join(got, ", "); joined != want {
		t.Errorf("got  %s\nwant %s", joined, want)
	}
	// One that creates the run, one for the call's end, one for the step after it.
	if plan.GetMaxTransactions() != 3 || plan.GetSteps()[0].GetSummary() != "run the steps of inner with what=x" {
		t.Errorf("the plan is %v", plan)
	}
}
