package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/server/steps"
)

// TestEveryKindOfStepHasAPage compares the pages with the registry.
func TestEveryKindOfStepHasAPage(t *testing.T) {
	var pages []string
	entries, err := os.ReadDir(filepath.Join(repository(t), "docs", "steps"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pages = append(pages, strings.TrimSuffix(entry.Name(), ".md"))
	}
	slices.Sort(pages)
	if want := steps.New(steps.Options{}).Names(); !slices.Equal(pages, want) {
		t.Errorf("docs/steps has %q, the registry %q", pages, want)
	}
}

// testName is a test that a document names with its package: server/engine.TestX.
var testName = regexp.MustCompile(`^([\w/]+)\.((?:Test|Fuzz|Benchmark|Example)\w+)$`)

// TestTestsInDocuments finds every test that a document names.
func TestTestsInDocuments(t *testing.T) {
	root, found := repository(t), 0
	for _, d := range documents(t) {
		for _, s := range snippets(d.text) {
			match := testName.FindStringSubmatch(s.text)
			if s.language != "" || match == nil {
				continue
			}
			found++
			if !hasFunction(t, filepath.Join(root, match[1]), match[2]) {
				t.Errorf("%s: %s has no %s", d.path, match[1], match[2])
			}
		}
	}
	if found == 0 {
		t.Error("no document names a test: docs/guarantees.md should")
	}
}

func hasFunction(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(read(t, file), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

func TestHasFunction(t *testing.T) {
	if !hasFunction(t, ".", "TestHasFunction") || hasFunction(t, ".", "TestGone") || hasFunction(t, "gone", "TestHasFunction") {
		t.Error("hasFunction doesn't tell what is there from what is not")
	}
}
