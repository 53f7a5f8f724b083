package telemetry_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/server/telemetry"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"nothing known", nil, "key sk-12345", "key sk-12345"},
		{"plain", []string{"sk-12345"}, "key sk-12345, again sk-12345", "key [redacted], again [redacted]"},
		{"with a line end", []string{"sk-12345\n"}, "key sk-12345", "key [redacted]"},
		{"inside a longer one", []string{"sk-12", "sk-12345"}, "sk-12345 sk-12", "[redacted] [redacted]"},
		{"escaped in JSON", []string{`a"b\c`}, `{"e":"a\"b\\c"}`, `{"e":"[redacted]"}`},
		{"escaped in HTML-safe JSON", []string{`a<b&c`}, `{"e":"a\u003cb\u0026c"}`, `{"e":"[redacted]"}`},
		{"escaped in a URL", []string{"a/b c"}, "https://h/?key=a%2Fb+c", "https://h/?key=[redacted]"},
		{"too short to be one", []string{"", "   ", "abc"}, "abc abc", "abc abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var redactor telemetry.Redactor
			redactor.Add(c.secrets...)
			if got := redactor.Redact(c.in); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestLoggerRedacts(t *testing.T) {
	const secret = `p"ss wörd\`
	for _, format := range []telemetry.Format{telemetry.FormatText, telemetry.FormatJSON} {
		t.Run(string(format), func(t *testing.T) {
			var out bytes.Buffer
			var redactor telemetry.Redactor
			log := telemetry.NewLogger(telemetry.Options{Output: &out, Redactor: &redactor, Format: format})
			redactor.Add(secret)
			log.Error("calling with "+secret, telemetry.KeyError, errors.New("refused: "+secret), "list", []string{secret})
			if strings.Contains(out.String(), "wörd") || !strings.Contains(out.String(), telemetry.Redacted) {
				t.Errorf("line %s", out.String())
			}
		})
	}
}

func TestRedactingWriter(t *testing.T) {
	var redactor telemetry.Redactor
	redactor.Add("sk-12345")
	in := []byte("with sk-12345\n")
	var out bytes.Buffer
	if n, err := redactor.Writer(&out).Write(in); n != len(in) || err != nil {
		t.Errorf("wrote %d, %v, want %d", n, err, len(in))
	}
	if string(in) != "with sk-12345\n" {
		t.Error("the caller's bytes were changed")
	}
	if n, err := redactor.Writer(brokenWriter{}).Write(in); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken output: %d, %v", n, err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "X-Api-Key": true, "api_key": true, "apikey": true,
		"access_token": true, "client_secret": true, "Set-Cookie": true, "password": true, "sig": true, "key": true,
		"routing_key": true, "X-PagerDuty-Signature": true,
		"max_tokens": false, "keyboard": false, "monkey": false, "model": false, "design": false, "tokens": false, "": false,
	} {
		if got := telemetry.SecretName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.openai.com/v1":                  "https://api.openai.com/v1",
		"https://user:pass@host/x?a=1":               "https://user:redacted@host/x?a=1",
		"https://user@host/":                         "https://user@host/",
		"https://host/x?api_key=sk-1&model=gpt":      "https://host/x?api_key=redacted&model=gpt",
		"https://host/x?Token=a&Token=b":             "https://host/x?Token=redacted&Token=redacted",
		"https://host/%zz?token=secret":              telemetry.Redacted,
		"https://hooks.example.com/a?b=c&max_tokens": "https://hooks.example.com/a?b=c&max_tokens",
	} {
		if got := telemetry.RedactURL(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Whatever surrounds a secret, it must not get through. A secret that shares letters with the marker could arise anew
// around it, so these are made without.
func FuzzRedact(f *testing.F) {
	f.Add("before", "sk-12345", "after")
	f.Add("", "5555", "5")
	f.Add("55", "\"55\\", "5")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		secret = strings.Map(func(r rune) rune {
			if strings.ContainsRune("[redacted]", r) {
				return '5'
			}
			return r
		}, strings.TrimSpace(secret))
		if len(secret) < 4 {
			return
		}
		var redactor telemetry.Redactor
		redactor.Add(secret)
		if got := redactor.Redact(before + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q is still in %q", secret, got)
		}
	})
}
