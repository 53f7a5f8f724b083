package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jurymast/jurymast/runbooks/suggest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Most characters of a rendered message, as the API bounds them. What is longer is cut.
const (
	MaxTitle = 200
	MaxText  = 4000
)

// drillMark begins the title of every message of a rehearsal.
const drillMark = "[DRILL] "

// Template is a message: title, text, severity and what it does to its thread. Immutable and safe for concurrent use.
type Template struct {
	title, text *Text
	severity    jv1.Severity
	kind        jv1.NotificationKind
}

// Parse parses a message that an operator wrote. Its severity is ERROR and its kind UPDATE. The error joins *Errors.
func Parse(title, text string) (*Template, error) {
	// Four bytes for every character: cutting by characters follows.
	titleText, titleErr := parseText("title", title, MaxTitle*4, true)
	textText, textErr := parseText("text", text, MaxText*4, true)
	if err := errors.Join(titleErr, textErr); err != nil {
		return nil, err
	}
	return &Template{
		title: titleText, text: textText,
		severity: jv1.Severity_SEVERITY_ERROR, kind: jv1.NotificationKind_NOTIFICATION_KIND_UPDATE,
	}, nil
}

// ForStep returns the message that a notify step sends: the shipped one it names, or its own text, with the title,
// severity and kind that it overrides. The error joins *Errors.
func ForStep(step *jv1.NotifyStep) (*Template, error) {
	base, err := baseOf(step)
	if err != nil {
		return nil, err
	}
	t := *base
	if step.GetTitle() != "" && step.GetTemplate() != "" {
		if t.title, err = parseText("title", step.GetTitle(), MaxTitle*4, true); err != nil {
			return nil, err
		}
	}
	if step.GetSeverity() != jv1.Severity_SEVERITY_UNSPECIFIED {
		t.severity = step.GetSeverity()
	}
	if step.GetKind() != jv1.NotificationKind_NOTIFICATION_KIND_UNSPECIFIED {
		t.kind = step.GetKind()
	}
	return &t, nil
}

func baseOf(step *jv1.NotifyStep) (*Template, error) {
	name, text := step.GetTemplate(), step.GetText()
	switch {
	case name != "" && text != "":
		return nil, &Error{Field: "text", Message: "give either template or text, not both"}
	case name != "":
		t, ok := Shipped(name)
		if !ok {
			question := suggest.Question(name, Names())
			if question == "" {
				question = ", there are: " + strings.Join(Names(), ", ")
			}
			return nil, &Error{Field: "template", Message: fmt.Sprintf("unknown template %q%s", name, question)}
		}
		return t, nil
	case text != "":
		title := step.GetTitle()
		if title == "" {
			title = defaultTitle
		}
		return Parse(title, text)
	}
	return nil, &Error{Field: "template", Message: "give a template, one of " + strings.Join(Names(), ", ") + ", or a text"}
}

// defaultTitle is that of a text without one.
const defaultTitle = `{{.Service}}: {{.Phase | lower | replace "_" " " | default "update"}} ({{.Runbook | default "no runbook"}})`

// Check tells whether a notify step's message will render. The error joins *Errors.
func Check(step *jv1.NotifyStep) error {
	t, err := ForStep(step)
	if err != nil {
		return err
	}
	return errors.Join(t.title.Check(), t.text.Check())
}

// Render fills the message in: a title of one line and at most MaxTitle characters, and a text of at most MaxText.
// What is longer is cut. The error is an *Error; Plain serves then.
func (t *Template) Render(data Data) (title, text string, err error) {
	if title, err = t.title.Render(data); err != nil {
		return "", "", err
	}
	if text, err = t.text.Render(data); err != nil {
		return "", "", err
	}
	title, text = finish(title, text, data)
	return title, text, nil
}

// Severity of the message.
func (t *Template) Severity() jv1.Severity { return t.severity }

// Kind is what the message does to its thread.
func (t *Template) Kind() jv1.NotificationKind { return t.kind }

// Texts are the templates of title and text.
func (t *Template) Texts() []*Text { return []*Text{t.title, t.text} }

// Params lists the parameters that the message names.
func (t *Template) Params() []string {
	names := append(t.title.Params(), t.text.Params()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// Plain is what is said when a template fails: rather a plain message than none.
func Plain(data Data) (title, text string) {
	data = data.bounded()
	title = strings.TrimPrefix(fmt.Sprintf("%s: %s", data.Service, strings.ToLower(strings.ReplaceAll(data.Phase, "_", " "))), ": ")
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	line("Service", data.Service)
	line("Failing provider", data.Provider)
	line("Active provider", data.Active)
	if data.Queueing {
		line("Queueing", "on")
	}
	if !data.Onset.IsZero() {
		line("Since", utc(data.Onset))
	}
	line("Reason", data.Reason)
	line("Runbook", data.Runbook)
	line("Run", data.Run)
	line("Question", data.Question)
	line("Answer with", strings.Join(data.Answers, "\n  "))
	line("Error", data.Error)
	return finish(title, b.String(), data)
}

// finish makes the result fit for any channel: no control characters but line breaks, bounds, and the mark of a
// rehearsal, which no template can leave out.
func finish(title, text string, data Data) (string, string) {
	title = strings.Join(strings.Fields(printable(title)), " ")
	if title == "" {
		title = "Jurymast"
	}
	if data.Drill {
		title = drillMark + strings.TrimPrefix(title, drillMark)
	}
	return truncate(MaxTitle, title), truncate(MaxText, strings.TrimSpace(printable(text)))
}

func printable(s string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, s), "\uFFFD")
}
