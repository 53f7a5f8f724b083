package docstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigurationIsTheHelp keeps docs/configuration.md the help of jurymastd. UPDATE=1 writes it anew.
func TestConfigurationIsTheHelp(t *testing.T) {
	help := programs(t)["jurymastd"].help
	name := filepath.Join(repository(t), "docs", "configuration.md")
	text := read(t, name)
	want, ok := withHelp(text, help)
	if !ok {
		t.Fatal("docs/configuration.md has no block of text to hold the help")
	}
	if want == text {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatal("docs/configuration.md isn't what jurymastd --help says; write it anew: UPDATE=1 go test ./internal/docstest")
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withHelp puts a help text into the document's block of text.
func withHelp(text, help string) (string, bool) {
	const open, end = "```text\n", "```\n"
	before, rest, ok := strings.Cut(text, open)
	if !ok {
		return "", false
	}
	_, after, ok := strings.Cut(rest, end)
	return before + open + strings.TrimSpace(help) + "\n" + end + after, ok
}

func TestWithHelp(t *testing.T) {
	if got, ok := withHelp("a\n```text\nold\n```\nb\n", "new\n\n"); !ok || got != "a\n```text\nnew\n```\nb\n" {
		t.Errorf("wrote %q, %v", got, ok)
	}
	for _, text := range []string{"a\n", "a\n```text\nold\n"} {
		if _, ok := withHelp(text, "new"); ok {
			t.Errorf("found a block in %q", text)
		}
	}
}
