package message

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestShippedMessages compares what we ship, filled in with all that there can be, with no more than there always is,
// and while queueing is off, with what stands in testdata.
func TestShippedMessages(t *testing.T) {
	switched := samples()[0]
	switched.Queueing, switched.Drill, switched.Error = false, false, ""
	for _, name := range Names() {
		template, ok := Shipped(name)
		if !ok {
			t.Fatalf("%s is not there", name)
		}
		var b strings.Builder
		for _, data := range append(samples(), switched, Data{}) {
			title, text, err := template.Render(data)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			b.WriteString(title + "\n\n" + text + "\n----------\n")
			if name != "restored" && data.Service != "" && !strings.Contains(text, "What happens next") {
				t.Errorf("%s doesn't say what happens next", name)
			}
			if data.Service != "" && (!strings.Contains(title, "chat") || !strings.Contains(text, "What we did")) {
				t.Errorf("%s doesn't say who is affected and what we did", name)
			}
			if strings.Contains(text, "<no value>") || strings.Contains(text, "0001") {
				t.Errorf("%s shows what is missing: %s", name, text)
			}
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != string(want) {
			t.Errorf("%s is not what %s says, -update writes it:\n%s", name, golden, got)
		}
	}
	if _, ok := Shipped("nope"); ok {
		t.Error("an unknown message is there")
	}
}

func TestShippedSeverities(t *testing.T) {
	for name, want := range map[string]struct {
		severity jv1.Severity
		kind     jv1.NotificationKind
	}{
		"outage-detected": {jv1.Severity_SEVERITY_ERROR, jv1.NotificationKind_NOTIFICATION_KIND_OPEN},
		"restored":        {jv1.Severity_SEVERITY_INFO, jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE},
	} {
		template, _ := Shipped(name)
		if template.Severity() != want.severity || template.Kind() != want.kind {
			t.Errorf("%s is %v, %v", name, template.Severity(), template.Kind())
		}
	}
}

func TestForStep(t *testing.T) {
	template, err := ForStep(&jv1.NotifyStep{
		Template: "restored", Title: "{{.Service}} is back", Severity: jv1.Severity_SEVERITY_WARNING,
		Kind: jv1.NotificationKind_NOTIFICATION_KIND_UPDATE,
	})
	if err != nil {
		t.Fatal(err)
	}
	title, text, err := template.Render(samples()[1])
	if err != nil || title != "chat is back" || !strings.Contains(text, "served by openai again") {
		t.Errorf("%q, %q, %v", title, text, err)
	}
	if template.Severity() != jv1.Severity_SEVERITY_WARNING || template.Kind() != jv1.NotificationKind_NOTIFICATION_KIND_UPDATE {
		t.Errorf("%v, %v", template.Severity(), template.Kind())
	}
	shipped, _ := Shipped("restored")
	if shipped.Severity() != jv1.Severity_SEVERITY_INFO || shipped.title == template.title {
		t.Error("the override changed what we ship")
	}

	template, err = ForStep(&jv1.NotifyStep{Text: "  now on {{.Active}}, {{.Params.region}} \n"})
	if err != nil {
		t.Fatal(err)
	}
	title, text, err = template.Render(samples()[0])
	if err != nil || title != "[DRILL] chat: failed over (ai-provider-outage)" || text != "now on azure-eu, eu" {
		t.Errorf("%q, %q, %v", title, text, err)
	}
	if got := strings.Join(template.Params(), ","); got != "region" {
		t.Errorf("Params() = %s", got)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		step *jv1.NotifyStep
		want string
	}{
		{&jv1.NotifyStep{Template: "outage-detected"}, ""},
		{&jv1.NotifyStep{Text: "{{.Service}}", Title: "t"}, ""},
		{&jv1.NotifyStep{}, `template: give a template, one of outage-detected, outage-handled, queueing-on, restored, approval-needed, run-failed, or a text`},
		{&jv1.NotifyStep{Template: "outage-detcted"}, `template: unknown template "outage-detcted", did you mean "outage-detected"?`},
		{&jv1.NotifyStep{Template: "x"}, `template: unknown template "x", there are: outage-detected, outage-handled, queueing-on, restored, approval-needed, run-failed`},
		{&jv1.NotifyStep{Template: "restored", Text: "x"}, `text: give either template or text, not both`},
		{&jv1.NotifyStep{Template: "restored", Title: "{{.Nope}}"}, `title: 1:3: there is no .Nope, did you mean "Now"?`},
		{&jv1.NotifyStep{Title: "{{.A", Text: "{{if}}"}, "title: line 1: unclosed action\ntext: line 1: missing value for if"},
		{&jv1.NotifyStep{Title: "t", Text: "{{index .Evidence 3}}"}, "text: 1:3: index: index out of range: 3"},
	} {
		err := Check(test.step)
		if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%v:\n got %v\nwant %s", test.step, err, test.want)
		}
	}
}

func TestMessagesFitEveryChannel(t *testing.T) {
	template, err := Parse("{{.Reason}}\r\n{{.Service}}", "{{.Reason}}{{range 200}}äöü {{$.Error}}{{end}}")
	if err != nil {
		t.Fatal(err)
	}
	title, text, err := template.Render(Data{
		Service: "chat\x1b[31m", Reason: strings.Repeat("long ", 100), Error: "a\xffb" + strings.Repeat("x", 100), Drill: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := utf8.RuneCountInString(title); n != MaxTitle || !strings.HasSuffix(title, "…") || !strings.HasPrefix(title, "[DRILL] long") {
		t.Errorf("title of %d characters: %q", n, title)
	}
	if n := utf8.RuneCountInString(text); n != MaxText || !strings.HasSuffix(text, "…") || !utf8.ValidString(text) {
		t.Errorf("text of %d characters: %q", n, text)
	}
	if strings.ContainsAny(title+text, "\x1b\r") {
		t.Error("control characters pass")
	}
	title, _, err = template.Render(Data{})
	if err != nil || title != "Jurymast" {
		t.Errorf("the empty title is %q, %v", title, err)
	}
}

func TestPlainSaysWhatIsKnown(t *testing.T) {
	title, text := Plain(samples()[0])
	want := `Service: chat
Failing provider: openai
Active provider: azure-eu
Queueing: on
Since: 2026-03-14 09:25:23 UTC
Reason: an operator started it
Runbook: ai-provider-outage
Run: 01jpa6v8x9f2
Question: Switch back to openai?
Answer with: jurymast approve 01jpa6v8x9f2 --reason '...'
  jurymast reject 01jpa6v8x9f2 --reason '...'
Error: no candidate is healthy`
	if title != "[DRILL] chat: failed over" || text != want {
		t.Errorf("%q\n%s", title, text)
	}
	if title, text := Plain(Data{}); title != "Jurymast" || text != "" {
		t.Errorf("%q, %q", title, text)
	}
}
