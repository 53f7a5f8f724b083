package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
)

// TestReferenceIsCurrent compares the committed reference with what the program writes.
func TestReferenceIsCurrent(t *testing.T) {
	fresh, committed := t.TempDir(), filepath.Join("..", "..", "docs", "cli")
	var out, errs bytes.Buffer
	p := cli.Process{
		Args: []string{"docs", fresh}, Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }, Now: time.Now, Version: "v0.0.0",
	}
	if code := cli.Main(t.Context(), p, extensions()...); code != 0 {
		t.Fatalf("exit status %d: %s", code, errs.String())
	}
	want, got := pages(t, fresh), pages(t, committed)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("docs/cli/%s is not current; run: go run ./cmd/jurymast docs docs/cli", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("docs/cli/%s is of a command that is gone", name)
		}
	}
	if len(want) < 20 {
		t.Errorf("only %d pages", len(want))
	}
}

func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name()] = string(b)
	}
	return out
}
