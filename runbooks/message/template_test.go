package message

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func render(t *testing.T, src string, data Data) string {
	t.Helper()
	text, err := ParseText(src, MaxText)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	got, err := text.Render(data)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return got
}

func TestFunctions(t *testing.T) {
	data := samples()[0]
	data.Reason = "the \"probe\"\nfails"
	for src, want := range map[string]string{
		`{{since .Onset}}`:                                         "1m30s",
		`{{until .NextUpdate}}`:                                    "20m",
		`{{until .Onset}}`:                                         "0ms",
		`{{utc .Onset}}`:                                           "2026-03-14 09:25:23 UTC",
		`{{clock .Onset}}`:                                         "09:25 UTC",
		`{{duration (.Now.Sub .Onset)}}`:                           "1m30s",
		`{{.Provider | default "nobody"}}`:                         "openai",
		`{{"" | default "nobody"}}`:                                "nobody",
		`{{join .Evidence ", "}}`:                                  "probe chat-probe: 3 of 3 failed",
		`{{upper .Service}}{{lower .Phase}}`:                       "CHATfailed_over",
		`{{replace "_" " " .Phase}}`:                               "FAILED OVER",
		`{{trim "  x "}}|{{truncate 4 "äöüßx"}}`:                   "x|äöü…",
		`{{contains "OVER" .Phase}}`:                               "true",
		`{{plural 1 "step" "steps"}}, {{plural 2 "step" "steps"}}`: "1 step, 2 steps",
		`{{.Reason | json}}`:                                       `"the \"probe\"\nfails"`,
		`{{output "switch" "provider"}}{{output "nope" "x"}}`:      "azure-eu",
		`{{.Params.region}}{{.Params.nope}}`:                       "eu",
		`{{printf "%05.1f|%-4s|%d%%" 2.25 "a" 3}}`:                 "002.2|a   |3%",
		`{{print "a" 1}}{{println "b"}}`:                           "a1b\n",
		`{{urlquery "a b&c"}}`:                                     "a+b%26c",
		`{{html "<a>"}}{{js "'"}}`:                                 `&lt;a&gt;\'`,
		`{{range .Steps}}{{.ID}} {{$.Service}}{{end}}`:             "switch chat",
		`{{with index .Steps 0}}{{.Kind}}{{end}}`:                  "switch_provider",
		`{{range $i, $e := .Evidence}}{{if $i}}{{continue}}{{end}}{{$e}}{{break}}{{end}}`: "probe chat-probe: 3 of 3 failed",
		``:            "",
		`{{/* x */}}`: "",
	} {
		if got := render(t, src, data); got != want {
			t.Errorf("%s = %q, want %q", src, got, want)
		}
	}
	zero := map[string]string{
		`{{since .Onset}}, {{utc .Onset}}, {{clock .Onset}}`: "an unknown time, an unknown time, an unknown time",
		`{{.Onset | default "never"}}{{.Error | default 3}}`: "never3",
	}
	for src, want := range zero {
		if got := render(t, src, Data{}); got != want {
			t.Errorf("%s = %q, want %q", src, got, want)
		}
	}
	for _, name := range Functions() {
		if name == tickName || name == "env" || name == "call" {
			t.Errorf("%s may be called", name)
		}
	}
}

func TestDurationsInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 0: "0ms", 40 * time.Millisecond: "40ms", time.Second: "1s", 1600 * time.Millisecond: "2s",
		time.Minute: "1m", 90 * time.Second: "1m30s", 2*time.Hour + 5*time.Minute + 3*time.Second: "2h5m",
		24 * time.Hour: "1d", 76 * time.Hour: "3d4h", 24*time.Hour + 30*time.Minute: "1d",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestTemplatesAreRefused(t *testing.T) {
	for src, want := range map[string]string{
		`{{.Servce}}`:                        `1:3: there is no .Servce, did you mean "Service"?`,
		"a\n{{with .Error}}{{$.Nop}}{{end}}": `2:19: there is no .Nop, did you mean "Now"?`,
		`{{foo .Service}}`:                   `line 1: function "foo" not defined`,
		`{{env "HOME"}}`:                     `line 1: function "env" not defined`,
		`{{_loop 1}}`:                        `1:3: function "_loop" not defined`,
		"ok\n{{if}}":                         `line 2: missing value for if`,
		"{{.Service":                         `line 1: unclosed action`,
		`{{define "x"}}{{end}}`:              `define and block are not supported: a message is one template`,
		`{{template "x"}}`:                   `1:12: define, block and template are not supported: a message is one template`,
		`{{block "x" .}}{{end}}`:             `define and block are not supported: a message is one template`,
		"\xff":                               `the text is not valid UTF-8`,
	} {
		_, err := ParseText(src, MaxText)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: %T is no *Error", src, err)
		}
	}
}

func TestTemplatesThatWouldFailAreFound(t *testing.T) {
	for src, want := range map[string]string{
		`{{index .Evidence 0}}`:                                   `1:3: index: reflect: slice index out of range`,
		`{{range .Steps}}{{.Nope}}{{end}}`:                        `1:19: there is no Nope in .Nope`,
		`{{.Service.X}}`:                                          `1:11: there is no X in .Service.X`,
		`{{printf "%1000d" 1}}`:                                   `1:3: printf: a width or precision of more than two digits is not supported`,
		`{{printf "%*d" 1 1}}`:                                    `1:3: printf: a width or precision given as an argument is not supported`,
		`{{call .Service}}`:                                       `1:3: call: non-function .Service of type string`,
		`{{range 1000000000}}{{end}}`:                             `1:9: the template does too much work`,
		`{{range 9000}}{{range 9000}}{{end}}{{end}}`:              `1:23: the template does too much work`,
		`{{range 9000}}aaaaaaaaaa{{end}}`:                         `the result is too long`,
		`{{$x := "aaaa"}}{{range 40}}{{$x = print $x $x}}{{end}}`: `1:36: the template does too much work`,
		`{{$x := "aaaa"}}{{range 40}}{{$x = printf "%s%[1]s%[1]s" $x}}{{end}}`: `1:36: the template does too much work`,
		`{{$x := "aaaa"}}{{range 40}}{{$x = replace "a" "aaa" $x}}{{end}}`:     `1:36: the template does too much work`,
		`{{$x := "<<<<"}}{{range 9999}}{{$x = html $x}}{{end}}`:                `1:38: the template does too much work`,
		`{{$x := "\\\\"}}{{range 40}}{{$x = js $x}}{{end}}`:                    `1:36: the template does too much work`,
		`{{$x := "\\\\"}}{{range 40}}{{$x = json $x}}{{end}}`:                  `1:36: the template does too much work`,
		`{{range 20000}}{{$x := json $}}{{end}}`:                               `1:24: the template does too much work`,
	} {
		text, err := ParseText(src, MaxText)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		started := time.Now()
		err = text.Check()
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("%s: it took %v to stop", src, took)
		}
	}
}

func TestBoundsAreTyped(t *testing.T) {
	for src, want := range map[string]error{
		`{{range 1000000000}}{{end}}`:     ErrTooExpensive,
		`{{range 9000}}aaaaaaaaaa{{end}}`: ErrTooLong,
	} {
		text, err := ParseText(src, MaxText)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := text.Render(Data{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", src, err, want)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	data := Data{Evidence: make([]string, 10_000)}
	if got := render(t, `{{range .Evidence}}x{{end}}`, data); got != strings.Repeat("x", mostItems) {
		t.Errorf("%d pieces of evidence are ranged over, want %d", len(got), mostItems)
	}
	if len(data.Evidence) != 10_000 {
		t.Error("the caller's data was changed")
	}
}

func TestParams(t *testing.T) {
	text, err := ParseText(`{{.Params.b}}{{if $.Params.a}}{{range .Steps}}{{$.Params.c}}{{end}}{{end}}{{index .Params "d"}}{{.Params.b}}`+
		`{{with (index $.Params "e")}}{{.}}{{else}}{{(.Params).f}}{{end}}{{.Params}}`, MaxText)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(text.Params(), ""); got != "abcde" {
		t.Errorf("got %q", got)
	}
	if empty, err := ParseText("", 10); err != nil || empty.Params() != nil || empty.Check() != nil {
		t.Errorf("the empty template: %v, %v", empty, err)
	}
}

func TestConcurrentRendering(t *testing.T) {
	text, err := ParseText(`{{range .Evidence}}{{.}}{{end}}{{since .Onset}}`, MaxText)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			data := Data{Now: now, Onset: now.Add(-time.Duration(i+1) * time.Second), Evidence: []string{"e"}}
			for range 50 {
				if got, err := text.Render(data); err != nil || got != "e"+inWords(now.Sub(data.Onset)) {
					t.Errorf("%d: %q, %v", i, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRender(b *testing.B) {
	t, _ := Shipped("outage-handled")
	data := samples()[0]
	for b.Loop() {
		if _, _, err := t.Render(data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOutputsAreListedWithTheirPlaces(t *testing.T) {
	text, err := ParseText("{{output \"switch\" \"to\"}}\n{{if .Queueing}}é {{upper (output \"call\" \"id\")}}{{end}}{{output .Run \"x\"}}", 1000)
	if err != nil {
		t.Fatal(err)
	}
	want := []OutputRef{{Step: "switch", Name: "to", Line: 1, Column: 3}, {Step: "call", Name: "id", Line: 2, Column: 29}}
	if got := text.Outputs(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
