package runbooks_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func texts(problems []*jv1.Problem) string {
	var list []string
	for _, p := range problems {
		list = append(list, p.GetField()+": "+p.GetMessage())
	}
	return strings.Join(list, "\n")
}

func TestValidateWithoutAnything(t *testing.T) {
	for name, validate := range map[string]func() ([]*jv1.Problem, []string){
		"runbook":  func() ([]*jv1.Problem, []string) { return runbooks.Validate(nil, nil) },
		"service":  func() ([]*jv1.Problem, []string) { return runbooks.ValidateService(nil, nil) },
		"detector": func() ([]*jv1.Problem, []string) { return runbooks.ValidateDetector(nil, nil) },
		"provider": func() ([]*jv1.Problem, []string) { return runbooks.ValidateProvider(nil) },
		"channel":  func() ([]*jv1.Problem, []string) { return runbooks.ValidateChannel(nil) },
	} {
		if problems, _ := validate(); texts(problems) != ": must be given" {
			t.Errorf("%s: %s", name, texts(problems))
		}
	}
	problems, _ := runbooks.ValidateResources([]*jv1.Resource{
		{}, nil, {Kind: &jv1.Resource_Runbook{}}, {Kind: &jv1.Resource_Service{Service: &jv1.Service{}}},
	}, nil)
	want := `resources[0]: exactly one kind must be given
resources[1]: exactly one kind must be given
resources[2].runbook: must be given
resources[3].service.name: must be a name of lower-case letters, digits and "-", at most 63, such as "azure-eu"
resources[3].service.providers: must be given`
	if got := texts(problems); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if problems, warnings := runbooks.ValidateResources(nil, nil); problems != nil || warnings != nil {
		t.Errorf("nothing gives %v, %v", problems, warnings)
	}
}

// TestValidateStopsAtRules keeps a field that breaks a rule from being judged further.
func TestValidateStopsAtRules(t *testing.T) {
	rb := outage()
	rb.Services = []string{"Chat"}
	rb.Steps = append(rb.Steps, switchTo(), &jv1.Step{If: strings.Repeat("x", 2001), Action: switchTo("any").GetAction()})
	problems, _ := runbooks.Validate(rb, &runbooks.Catalog{Channels: map[string]*jv1.Channel{"oncall": {}}})
	want := `services[0]: must be a name of lower-case letters, digits and "-", at most 63, such as "azure-eu"
steps[3].switch_provider.to: must be given
steps[4].if: must be at most 2000 characters`
	if got := texts(problems); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestValidateBoundsTheSize(t *testing.T) {
	rb := outage()
	for i := range 40 {
		step := request("")
		step.GetHttpRequest().Body = strings.Repeat("x", 1000)
		step.Id = fmt.Sprintf("r%d", i)
		rb.Steps = append(rb.Steps, step)
	}
	problems, _ := runbooks.Validate(rb, nil)
	if got := texts(problems); !strings.Contains(got, "bytes, at most 32768 are allowed") {
		t.Errorf("got %s", got)
	}
}

// TestValidateTakesTheNormalForm holds what is stored to the same findings as what was written.
func TestValidateTakesTheNormalForm(t *testing.T) {
	rb := outage()
	rb.Steps[2].If = `steps.switch_provider_1.failed`
	catalog := catalogOf(parse(t, `kind: Provider
name: azure-eu
base_url: https://a.example
---
kind: Service
name: chat
providers: [{name: openai}, {name: azure-eu}, {name: vllm}]
---
kind: Channel
name: oncall
log: {}
`))
	for _, given := range []*jv1.Runbook{rb, runbooks.Normalize(rb)} {
		if problems, warnings := runbooks.Validate(given, catalog); len(problems)+len(warnings) > 0 {
			t.Errorf("found %s, %q", texts(problems), warnings)
		}
	}
}

func TestReferrers(t *testing.T) {
	catalog := catalogOf(parse(t, `kind: Service
name: chat
providers: [{name: openai}, {name: azure-eu}]
---
kind: Service
name: solo
providers: [{name: openai}]
---
kind: Detector
name: probe
service: chat
provider: azure-eu
http: {}
---
kind: Runbook
name: b
services: [chat]
on: {health: failing, provider: openai}
steps:
- switch_provider: {to: azure-eu, confirm: {detector: probe}}
- approval: {channels: [desk]}
---
kind: Runbook
name: a
services: [solo, chat]
steps:
- verify: {health: healthy, provider: openai}
- notify: {channels: [oncall], template: restored}
`))
	for id, want := range map[string]string{
		"provider/openai":   "runbook a, runbook b, service chat, service solo",
		"provider/azure-eu": "detector probe, runbook b, service chat",
		"provider/x":        "",
		"service/chat":      "detector probe, runbook a, runbook b",
		"service/solo":      "runbook a",
		"detector/probe":    "runbook b",
		"channel/desk":      "runbook b",
		"channel/oncall":    "runbook a",
		"runbook/a":         "",
	} {
		kind, name, _ := strings.Cut(id, "/")
		if got := strings.Join(runbooks.Referrers(kind, name, catalog), ", "); got != want {
			t.Errorf("%s is referred to by %q, want %q", id, got, want)
		}
	}
	if got := runbooks.Referrers("provider", "openai", nil); got != nil {
		t.Errorf("nothing refers: %q", got)
	}
}

func TestKindAndName(t *testing.T) {
	for _, d := range parse(t, `kind: Channel
name: a
log: {}
---
kind: Provider
name: b
base_url: https://b.example
`) {
		got := runbooks.KindOf(d.Resource) + " " + runbooks.NameOf(d.Resource)
		if got != "channel a" && got != "provider b" {
			t.Errorf("got %q", got)
		}
	}
	if runbooks.KindOf(&jv1.Resource{}) != "" || runbooks.NameOf(&jv1.Resource{}) != "" || runbooks.DetectorKind(&jv1.Detector{}) != "" {
		t.Error("nothing has a kind or a name")
	}
	if got := runbooks.ClassOf(&jv1.Detector{}); got != jv1.EvidenceClass_EVIDENCE_CLASS_UNSPECIFIED {
		t.Errorf("nothing gives evidence of class %v", got)
	}
}

// TestOperatorFiles holds the files that the documentation shows to loading as they stand: what a later version brings
// is refused at its place, and all else is sound.
func TestOperatorFiles(t *testing.T) {
	content, err := os.ReadFile("testdata/validate/operator-files.golden")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(content), divider)
	documents := parse(t, text)
	problems, _ := runbooks.ValidateResources(resourcesOf(documents), &runbooks.Catalog{Vantages: 1})
	var got []string
	for _, e := range manifest.Problems(documents, problems) {
		got = append(got, fmt.Sprintf("%s in %q", e.Message, strings.TrimSpace(strings.Split(text, "\n")[e.Line-1])))
	}
	want := []string{
		`detector kind passive is not available in this version: remove the detector, or upgrade in "passive: {error_ratio: 0.5, window: 30s, min_requests: 20}"`,
		`detector kind openai is not available in this version: remove the detector, or upgrade in "openai: {level: completion, interval: 15s, standby_interval: 60s, max_usd_per_day: 0.50}"`,
		`detector kind status_feed is not available in this version: remove the detector, or upgrade in "status_feed: {url: \"https://status.openai.com\", components: [Chat Completions]}"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Without what a later version brings, all of it is accepted.
	var accepted []*jv1.Resource
	for _, r := range resourcesOf(documents) {
		if d := r.GetDetector(); d != nil && d.GetWebhook() == nil {
			continue
		}
		if rb := r.GetRunbook(); rb != nil {
			for _, step := range rb.GetSteps() {
				if step.GetSwitchProvider().GetConfirm() != nil {
					step.GetSwitchProvider().Confirm = nil // by a detector of a later version
				}
			}
		}
		accepted = append(accepted, r)
	}
	if problems, _ := runbooks.ValidateResources(accepted, &runbooks.Catalog{Vantages: 1}); len(problems) > 0 {
		t.Errorf("the rest is not accepted: %s", texts(problems))
	}
}
