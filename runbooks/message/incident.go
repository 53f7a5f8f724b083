package message

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

//go:embed incidents/*.tmpl
var incidentFiles embed.FS

// incidentTitle is that of an incident whose step gives none. The provider may be well again by then: it is not said to
// fail.
const incidentTitle = `{{.Service}}: trouble{{with .Provider}} with {{.}}{{end}}`

// incidentTexts are what people read of a status whose step gives no text. They are part of the program: what is wrong
// with one is wrong with the build, and a test finds it.
var incidentTexts = sync.OnceValue(func() map[jv1.IncidentStatus]*Text {
	out := map[jv1.IncidentStatus]*Text{}
	for number, name := range jv1.IncidentStatus_name {
		status := jv1.IncidentStatus(number)
		if status == jv1.IncidentStatus_INCIDENT_STATUS_UNSPECIFIED {
			continue
		}
		word := strings.ToLower(strings.TrimPrefix(name, "INCIDENT_STATUS_"))
		content, err := incidentFiles.ReadFile("incidents/" + word + ".tmpl")
		if err != nil {
			panic(fmt.Sprintf("the text of a %s incident: %v", word, err))
		}
		if out[status], err = parseText("text", string(content), MaxText*4, true); err != nil {
			panic(fmt.Sprintf("the text of a %s incident: %v", word, err))
		}
	}
	return out
})

// ForIncident returns what an update_incident step says: its title, which counts for a new incident, and its text, each
// the shipped one when the step gives none. The error joins *Errors.
func ForIncident(step *jv1.UpdateIncidentStep) (*Template, error) {
	title := step.GetTitle()
	if title == "" {
		title = incidentTitle
	}
	titleText, titleErr := parseText("title", title, MaxTitle*4, true)
	text, ok := incidentTexts()[step.GetStatus()]
	var textErr error
	switch {
	case step.GetText() != "":
		text, textErr = parseText("text", step.GetText(), MaxText*4, true)
	case !ok:
		textErr = &Error{Field: "status", Message: "there is no text for this status: give one"}
	}
	if err := errors.Join(titleErr, textErr); err != nil {
		return nil, err
	}
	return &Template{title: titleText, text: text}, nil
}

// CheckIncident tells whether what an update_incident step says will render. The error joins *Errors.
func CheckIncident(step *jv1.UpdateIncidentStep) error {
	t, err := ForIncident(step)
	if err != nil {
		return err
	}
	return errors.Join(t.title.Check(), t.text.Check())
}
