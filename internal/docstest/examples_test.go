package docstest

import (
	"strings"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

// stepsOnly turns an example of steps alone into a runbook.
const stepsOnly = "kind: Runbook\nname: example\nservices: [chat]\nsteps:\n"

// exampleFindings tells what is wrong with an example of what an operator writes. It may refer to what it doesn't show.
// ok is false for YAML of others.
func exampleFindings(name, text string) (findings []string, ok bool) {
	switch {
	case strings.HasPrefix(text, "kind:"):
	case strings.HasPrefix(text, "- "):
		text = stepsOnly + text
	default:
		return nil, false
	}
	documents, err := manifest.Parse(name, []byte(text))
	if err != nil {
		return []string{err.Error()}, true
	}
	resources := make([]*jv1.Resource, 0, len(documents))
	for _, d := range documents {
		resources = append(resources, d.Resource)
	}
	problems, _ := runbooks.ValidateResources(resources, nil)
	if len(problems) > 0 {
		findings = append(findings, manifest.Problems(documents, problems).Error())
	}
	return findings, true
}

func TestExamplesInDocuments(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, s := range snippets(d.text) {
			if s.language != "yaml" {
				continue
			}
			findings, ours := exampleFindings(d.path, s.text)
			if ours {
				found++
			}
			for _, finding := range findings {
				t.Errorf("%s: %s", d.path, finding)
			}
		}
	}
	if found == 0 {
		t.Error("no examples found")
	}
}

func TestExampleFindings(t *testing.T) {
	for _, test := range []struct {
		text string
		want string
		ours bool
	}{
		{"kind: Channel\nname: a\nlog: {}\n", "", true},
		{"- wait: {duration: 1m}\n", "", true},
		{"principals: []\n", "", false},
		{"kind: Channel\nname: a\nlgo: {}\n", "lgo", true},
		{"- wiat: {duration: 1m}\n", "wiat", true},
		{"- if: steps.gone.failed\n  wait: {duration: 1m}\n", "gone", true},
		{"- notify: {channels: [a], template: gone}\n", "gone", true},
	} {
		findings, ours := exampleFindings("a.md", test.text)
		got := strings.Join(findings, "; ")
		if ours != test.ours || (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%q: found %q (ours: %v), want %q", test.text, got, ours, test.want)
		}
	}
}
