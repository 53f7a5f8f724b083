package manifest

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestWriteLooksAsPeopleWrite(t *testing.T) {
	rb := runbooks.Normalize(&jv1.Runbook{
		Name: "outage", Services: []string{"chat"}, Description: "First line\nsecond: line\n",
		On:         &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_FAILING},
		Automation: &jv1.AutomationPolicy{Default: jv1.AutomationLevel_AUTOMATION_LEVEL_ACT},
		Parameters: map[string]*jv1.Parameter{"b": {Required: true}, "a": {Default: "yes"}},
		Timeout:    durationpb.New(90 * time.Minute),
		Version:    3, Revision: 17, ContentHash: "abc", UpdateTime: timestamppb.Now(),
		Steps: []*jv1.Step{
			{
				If:        `phase == "NORMAL"`,
				Action:    &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"oncall"}, Template: "restored"}},
				OnFailure: jv1.OnFailure_ON_FAILURE_CONTINUE,
				Timeout:   durationpb.New(1500 * time.Millisecond),
			},
			{Action: &jv1.Step_EnableQueueing{EnableQueueing: &jv1.EnableQueueingStep{}}},
			{Id: "tell", Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{
				Channels: []string{"a-long-name-of-a-channel", "another-long-name-of-a-channel"}, Text: "one\ntwo", Title: "123",
			}}},
		},
	})
	want := `kind: Runbook
name: outage
description: |
  First line
  second: line
services: [chat]
on: {health: failing}
automation: act
parameters:
  a: {default: "yes"}
  b: {required: true}
timeout: 1h30m
steps:
- if: phase == "NORMAL"
  notify: {channels: [oncall], template: restored}
  timeout: 1.5s
  on_failure: continue
- enable_queueing: {}
- id: tell
  notify:
    channels: [a-long-name-of-a-channel, another-long-name-of-a-channel]
    text: |-
      one
      two
    title: "123"
`
	resource := &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: rb}}
	var b strings.Builder
	if err := Write(&b, resource); err != nil || b.String() != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, b.String(), want)
	}
	if rb.GetVersion() != 3 || rb.GetSteps()[1].GetId() == "" {
		t.Error("what was given has changed")
	}
	rb.Version, rb.Revision, rb.ContentHash, rb.UpdateTime = 0, 0, "", nil
	checkRoundTrip(t, resource)
}

// TestWriteKeepsEveryText holds the encoder to texts that look like something else in YAML.
func TestWriteKeepsEveryText(t *testing.T) {
	for _, text := range []string{
		"", " ", "\n", "a\n", "\na", " a\nb", "a\n\n", "a\n b\n", "true", "null", "~", "1", "0x1F", "1e3", ".5", "-", "- a", "a: b", "a #b", "#",
		"yes", "on", "off", "2026-01-01", "12:30:45", "@a", "`a`", "%a", "!a", "&a", "*a", "|", ">", "{a}", "[a]", "'a'", `"a"`, `\n`, "a\tb",
		"\ta", "a\r\nb", "a\rb", "\x00", "\x1b[0m", "\u0085", "\u2028", "\ufeff", "ünï 你好 😀", "<<", "=", "?", "? a", "a?", "Go on?", "...", "---", "--- a",
		"a\n---\nb", "a\n...\n", "#a\nb", "a\n#b", "  \n a", "a \nb ", "trailing ", strings.Repeat("long ", 100), "x\n\ty\n", "\x7f",
	} {
		// A description and a value of a map have no rules but their length.
		checkRoundTrip(t, &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: &jv1.Runbook{
			Name: "x", Services: []string{"y"}, Description: text,
			Steps: []*jv1.Step{{Action: &jv1.Step_RunRunbook{RunRunbook: &jv1.RunRunbookStep{
				Runbook: "z", Parameters: map[string]string{text: "a", "b": text, "c" + text: text},
			}}}},
		}}})
	}
}

func TestWriteKeepsEveryDuration(t *testing.T) {
	for _, d := range []*durationpb.Duration{
		durationpb.New(0), durationpb.New(1), durationpb.New(time.Second), durationpb.New(math.MaxInt64),
		{Seconds: 315_576_000_000},
		{Seconds: 10_000_000_000},
		durationpb.New(10 * time.Hour), durationpb.New(20 * time.Minute), durationpb.New(time.Hour + time.Second),
	} {
		checkRoundTrip(t, &jv1.Resource{Kind: &jv1.Resource_Service{Service: &jv1.Service{
			Name: "x", Providers: []*jv1.ServiceProvider{{Name: "y"}}, Timeouts: &jv1.Timeouts{Total: d},
		}}})
	}
}

func TestWriteRefusesWhatNobodyCouldRead(t *testing.T) {
	for _, resource := range []*jv1.Resource{
		{},
		{Kind: &jv1.Resource_Runbook{Runbook: &jv1.Runbook{On: &jv1.RunbookOn{Health: 77}}}},
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Vendor: "\xff"}}},
	} {
		var b strings.Builder
		if err := Write(&b, resource); err == nil {
			t.Errorf("%v was written: %s", resource, b.String())
		}
	}
}
