package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/telemetry"
)

func TestLoggerFormats(t *testing.T) {
	for _, c := range []struct {
		name   string
		format telemetry.Format
		check  func(t *testing.T, line string)
	}{
		{"default is text", "", func(t *testing.T, line string) {
			t.Helper()
			if !strings.Contains(line, ` [WARN]  jurymast.engine: step failed: run=r-1 error="no route"`) {
				t.Errorf("line %q", line)
			}
			stamp, _, _ := strings.Cut(line, " ")
			checkStamp(t, stamp)
		}},
		{"json", telemetry.FormatJSON, func(t *testing.T, line string) {
			t.Helper()
			var entry map[string]string
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatal(err)
			}
			checkStamp(t, entry["@timestamp"])
			delete(entry, "@timestamp")
			want := map[string]string{
				"@level": "warn", "@module": "jurymast.engine", "@message": "step failed",
				telemetry.KeyRun: "r-1", telemetry.KeyError: "no route",
			}
			for key, value := range want {
				if entry[key] != value {
					t.Errorf("%s = %q, want %q", key, entry[key], value)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			log := telemetry.NewLogger(telemetry.Options{Name: "jurymast", Format: c.format, Output: &out})
			log.Named("engine").Warn("step failed", telemetry.KeyRun, "r-1", telemetry.KeyError, errors.New("no route"))
			if strings.Count(out.String(), "\n") != 1 {
				t.Fatalf("want one line, got %q", out.String())
			}
			c.check(t, out.String())
		})
	}
}

func checkStamp(t *testing.T, stamp string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil || !strings.HasSuffix(stamp, "Z") || time.Since(at) > time.Minute {
		t.Errorf("time stamp %q: %v, want the current time in UTC", stamp, err)
	}
}

func TestLoggerLevels(t *testing.T) {
	for _, c := range []struct {
		level hclog.Level
		want  string
	}{
		{hclog.NoLevel, "IWE"},
		{hclog.Trace, "TDIWE"},
		{hclog.Debug, "DIWE"},
		{hclog.Warn, "WE"},
		{hclog.Error, "E"},
		{hclog.Off, ""},
	} {
		t.Run(c.level.String(), func(t *testing.T) {
			var out bytes.Buffer
			log := telemetry.NewLogger(telemetry.Options{Level: c.level, Output: &out}).Named("x")
			log.Trace("T")
			log.Debug("D")
			log.Info("I")
			log.Warn("W")
			log.Error("E")
			var got strings.Builder
			for line := range strings.Lines(out.String()) {
				got.WriteByte(line[len(line)-2])
			}
			if got.String() != c.want {
				t.Errorf("wrote %s, want %s", got.String(), c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]telemetry.Format{"": "text", "text": "text", "JSON\n": "json", "Text": "text"} {
		if got, err := telemetry.ParseFormat(in); got != want || err != nil {
			t.Errorf("format %q: %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := telemetry.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("format xml: %v", err)
	}
	for in, want := range map[string]hclog.Level{"": hclog.Info, "trace": hclog.Trace, "WARN\n": hclog.Warn, "off": hclog.Off} {
		if got, err := telemetry.ParseLevel(in); got != want || err != nil {
			t.Errorf("level %q: %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := telemetry.ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("level loud: %v", err)
	}
}

// Each line must reach the output in one piece, whoever writes beside it.
func TestLoggerIsConcurrent(t *testing.T) {
	var out bytes.Buffer
	var redactor telemetry.Redactor
	log := telemetry.NewLogger(telemetry.Options{Output: &out, Redactor: &redactor, Format: telemetry.FormatJSON})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 100 {
				redactor.Add("secret" + string(rune('a'+i)))
				log.Named("n").With("a", i).Info("line")
			}
		})
	}
	wait.Wait()
	lines := 0
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("torn line %q", line)
		}
		lines++
	}
	if lines != 800 {
		t.Errorf("%d lines, want 800", lines)
	}
}
