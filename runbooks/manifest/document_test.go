package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const sample = `# one
kind: Service
name: chat
providers:
- {name: openai}
- name: azure-eu
  models:
    gpt-4.1: x
---
kind: Runbook
name: outage
services: chat
automation: act
parameters:
  region: {default: eu}
steps:
- notify: {channels: [oncall, "b"], template: restored}
- id: switch
  if: steps.nope.failed
  switch_provider:
    to: preferred
- if: "queueing && steps.nope.failed"
  wait:
    until: |
      phase == "NORMAL" &&
        steps.nope.failed
- if: 'a \u0022' # what follows a backslash
  disable_queueing: {}
- wait: {until: "\"x\" == phse"}
`

func parseSample(t *testing.T) []Document {
	t.Helper()
	documents, err := Parse("sample.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func TestLocate(t *testing.T) {
	documents := parseSample(t)
	for i, places := range []map[string]string{
		{
			"":                               "2:1",
			"name":                           "3:7",
			"providers":                      "4:1",
			"providers[0]":                   "5:3",
			"providers[0].name":              "5:10",
			"providers[1].models":            "7:3",
			`providers[1].models["gpt-4.1"]`: "8:14",
			`providers[1].models[gpt-4.1]`:   "8:14",
			`providers[1].models["x"]`:       "7:3",
			"providers[7].name":              "4:1",
			"health.failing":                 "2:1",
			"providers[1].limits.tpm":        "6:3",
		},
		{
			"services[0]":                               "12:11",
			"automation.default":                        "13:13",
			`parameters["region"].default`:              "15:21",
			`parameters["region"]`:                      "15:3",
			"steps[0].notify.channels[1]":               "17:31",
			"steps[1].switch_provider.to[0]":            "21:9",
			"steps[1].switch_provider.confirm.detector": "20:3",
			"steps[2].wait.until":                       "24:12",
			"steps[2]":                                  "22:3",
			"steps[99]":                                 "16:1",
			"[":                                         "10:1",
			`steps["`:                                   "16:1",
			"steps[0].notify[x]..y":                     "17:3",
		},
	} {
		for field, want := range places {
			line, column := documents[i].Locate(field)
			if got := fmt.Sprintf("%d:%d", line, column); got != want {
				t.Errorf("%s is at %s, want %s", field, got, want)
			}
		}
	}
	if line, column := (Document{Line: 7}).Locate("name"); line != 7 || column != 1 {
		t.Errorf("a document without a file is at %d:%d", line, column)
	}
	if documents[0].Line != 2 || documents[1].Line != 10 {
		t.Errorf("the documents begin at %d and %d", documents[0].Line, documents[1].Line)
	}
}

func TestProblemsGetTheirPlaces(t *testing.T) {
	documents := parseSample(t)
	for _, test := range []struct{ field, message, want string }{
		{"resources[0].service.name", "taken", "sample.yaml:3:7: taken\n   3 | name: chat\n     |       ^"},
		{"resources[0].service.health", "must be given", "sample.yaml:2:1: health must be given\n   2 | kind: Service\n     | ^"},
		{"resources[0].service.timeouts.idle", "is odd", "sample.yaml:2:1: idle: is odd\n   2 | kind: Service\n     | ^"},
		{"resources[1].runbook", "too large", "sample.yaml:10:1: too large\n  10 | kind: Runbook\n     | ^"},
		{"resources[1]", "too large", "sample.yaml:10:1: too large\n  10 | kind: Runbook\n     | ^"},
		{
			"resources[1].runbook.steps[1].if", `1:7: unknown step "nope"`,
			"sample.yaml:19:13: unknown step \"nope\"\n  19 |   if: steps.nope.failed\n     |             ^",
		},
		{
			"resources[1].runbook.steps[2].if", `1:19: unknown step "nope"`,
			"sample.yaml:22:26: unknown step \"nope\"\n  22 | - if: \"queueing && steps.nope.failed\"\n     |                          ^",
		},
		{
			"resources[1].runbook.steps[2].wait.until", `2:9: unknown step "nope"`,
			"sample.yaml:26:15: unknown step \"nope\"\n  26 |         steps.nope.failed\n     |               ^",
		},
		{
			// An escape moves what stands in the file: the place inside stays in the message.
			"resources[1].runbook.steps[4].wait.until", `1:8: unknown variable`,
			"sample.yaml:29:17: 1:8: unknown variable\n  29 | - wait: {until: \"\\\"x\\\" == phse\"}\n     |                 ^",
		},
		{"resources[7].runbook.name", "nothing", ":1:1: resources[7].runbook.name: nothing"},
		{"request_id", "used", ":1:1: request_id: used"},
		{"", "all wrong", ":1:1: all wrong"},
	} {
		errs := Problems(documents, []*jv1.Problem{{Field: test.field, Message: test.message}})
		if len(errs) != 1 || errs[0].Error() != test.want {
			t.Errorf("%s:\ngot\n%v\nwant\n%s", test.field, errs, test.want)
		}
	}
	if errs := Problems(documents, nil); len(errs) != 0 {
		t.Errorf("no problems give %v", errs)
	}
}

func TestErrorsCanBeTakenApart(t *testing.T) {
	_, err := Parse("x.yaml", []byte("kind: Provider\nname: A\nbase_url: x\n"))
	var one *Error
	if !errors.As(err, &one) || one.File != "x.yaml" || one.Line != 2 || one.Column != 7 {
		t.Errorf("got %+v of %v", one, err)
	}
	var all Errors
	if !errors.As(err, &all) || len(all) != 2 {
		t.Errorf("got %d errors of %v", len(all), err)
	}
}

func TestLargeFilesAreRefused(t *testing.T) {
	text := "kind: Channel\nname: a\nlog: {}\n#"
	if documents, err := Parse("x", []byte(text+strings.Repeat("x", MaxFile-len(text)))); err != nil || len(documents) != 1 {
		t.Errorf("a file of the largest size: %v", err)
	}
	documents, err := Parse("x", []byte(text+strings.Repeat("x", MaxFile-len(text)+1)))
	if documents != nil || err == nil || !strings.Contains(err.Error(), "the file has 262145 bytes, at most 262144 are allowed") {
		t.Errorf("got %v, %v", documents, err)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, err := Parse("x", []byte(strings.Repeat("kind: Nope\n---\n", 1000)))
	var all Errors
	if !errors.As(err, &all) || len(all) != mostErrors+1 || all[mostErrors].Message != "and 900 more errors" {
		t.Errorf("%d errors, the last is %v", len(all), all[len(all)-1])
	}
}

func TestGoodDocumentsComeBesideErrors(t *testing.T) {
	documents, err := Parse("x", []byte("kind: Nope\n---\nkind: Channel\nname: a\nlog: {}\n---\nkind: Channel\n"))
	var all Errors
	if len(documents) != 1 || documents[0].Resource.GetChannel().GetName() != "a" || !errors.As(err, &all) || len(all) != 3 {
		t.Errorf("got %v, %v", documents, err)
	}
}
