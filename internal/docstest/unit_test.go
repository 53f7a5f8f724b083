package docstest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// required is what the unit must say; systemd-analyze, in deployments/check.sh, tells whether it is well formed.
var required = map[string]string{
	"DynamicUser":             "yes",
	"StateDirectory":          "jurymast",
	"NoNewPrivileges":         "yes",
	"ProtectSystem":           "strict",
	"ProtectHome":             "yes",
	"PrivateTmp":              "yes",
	"PrivateDevices":          "yes",
	"CapabilityBoundingSet":   "",
	"MemoryDenyWriteExecute":  "yes",
	"RestrictNamespaces":      "yes",
	"SystemCallArchitectures": "native",
	"Restart":                 "always",
	"StartLimitIntervalSec":   "0",
}

// unitFindings tells which of the required settings a unit doesn't make.
func unitFindings(text string) []string {
	settings := map[string][]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	var findings []string
	for name, want := range required {
		if got := settings[name]; !slices.Equal(got, []string{want}) {
			findings = append(findings, fmt.Sprintf("%s is %q, not %q", name, got, want))
		}
	}
	slices.Sort(findings)
	return findings
}

func TestUnit(t *testing.T) {
	text := read(t, filepath.Join(repository(t), "deployments", "jurymastd.service"))
	for _, finding := range unitFindings(text) {
		t.Error(finding)
	}
	_, start, ok := strings.Cut(text, "\nExecStart=/usr/local/bin/jurymastd ")
	if !ok {
		t.Fatal("ExecStart doesn't start /usr/local/bin/jurymastd")
	}
	start, _, _ = strings.Cut(start, "\n")
	checkFlags(t, "the unit's ExecStart", start)
}

func TestUnitFindings(t *testing.T) {
	var sound strings.Builder
	for name, value := range required {
		sound.WriteString(name + "=" + value + "\n")
	}
	if got := unitFindings(sound.String()); got != nil {
		t.Errorf("a sound unit has the findings %q", got)
	}
	weak := strings.Replace(sound.String(), "Restart=always", "Restart=no", 1) + "ProtectHome=no\n"
	want := []string{`ProtectHome is ["yes" "no"], not "yes"`, `Restart is ["no"], not "always"`}
	if got := unitFindings(weak); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
