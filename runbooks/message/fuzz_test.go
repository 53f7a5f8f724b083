package message

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzTemplate holds the package to its promises: no panic, results within their bounds, errors with a message, and an
// end in time.
func FuzzTemplate(f *testing.F) {
	for _, m := range shippedMessages {
		content, err := files.ReadFile("templates/" + m.name + ".tmpl")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	for _, src := range []string{
		`{{.Service}}`, `{{range $i, $s := .Steps}}{{$i}}{{end}}`, `{{printf "%v" .}}`, `{{with $x := .Error}}{{$x}}{{else with .Run}}{{.}}{{end}}`,
		`{{if and .Queueing (not .Drill)}}{{else if eq .Phase "NORMAL"}}{{end}}`, `{{range 100}}{{range 100}}{{break}}{{end}}{{end}}`,
		`{{output "switch" "to"}}`, "a\n{{if output `x` \"y\"}}{{range .Steps}}{{output .ID \"z\"}}{{end}}{{end}}", `{{"to" | output "switch" | upper}}`,
		`{{$x := 1}}{{$x = .Params}}{{$x.a}}`, `{{define "a"}}{{end}}`, `{{json .}}`, `{{slice .Service 1 2}}`, `{{len .Steps | printf "%d"}}`,
		`{{(.Onset.Add 5).Format "15:04"}}`, `{{- /* c */ -}}`, `{{.Onset.Location.String}}`, `{{1.5e3i}}`, `{{'a'}}`, `{{nil}}`,
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		started := time.Now()
		if text, err := ParseText(src, 1000); err == nil {
			text.Params()
			for _, ref := range text.Outputs() {
				if ref.Line < 1 || ref.Column < 1 || ref.Line > strings.Count(src, "\n")+1 {
					t.Errorf("an output without a place: %+v", ref)
				}
			}
			err := text.Check()
			for _, data := range append(samples(), Data{}) {
				got, renderErr := text.Render(data)
				if len(got) > 1000*3 || !utf8.ValidString(got) {
					t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
				}
				if renderErr != nil && data.Run != "" && err == nil {
					t.Errorf("Check passed and Render fails: %v", renderErr)
				}
			}
		} else if e, ok := errors.AsType[*Error](err); !ok || e.Message == "" {
			t.Errorf("%T without a message", err)
		}
		if template, err := Parse(src, src); err == nil {
			title, text, err := template.Render(samples()[0])
			if err == nil && (utf8.RuneCountInString(title) > MaxTitle || utf8.RuneCountInString(text) > MaxText ||
				!strings.HasPrefix(title, "[DRILL] ") || strings.Contains(title, "\n")) {
				t.Errorf("%q, %q", title, text)
			}
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
