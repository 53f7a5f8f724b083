package docstest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/runbooks"
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
	// Those that are made of steps are the engine's; all others are in the registry.
	want := steps.New(steps.Options{}).Names()
	for _, kind := range runbooks.StepKinds() {
		if runbooks.IsContainer(kind) {
			want = append(want, kind)
		}
	}
	slices.Sort(want)
	if !slices.Equal(pages, want) {
		t.Errorf("docs/steps has %q, the registry and the engine %q", pages, want)
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

var relativeLink = regexp.MustCompile(`\]\(([^):#\s]+)(?:#[^)\s]*)?\)`)

// unreached are the documents that no link leads to from README.md, directly or not.
func unreached(all []document) []string {
	text := map[string]string{}
	for _, d := range all {
		text[d.path] = d.text
	}
	seen := map[string]bool{"README.md": true}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		for _, match := range relativeLink.FindAllStringSubmatch(text[queue[0]], -1) {
			target := path.Join(path.Dir(queue[0]), match[1])
			if _, ok := text[target]; ok && !seen[target] {
				seen[target] = true
				queue = append(queue, target)
			}
		}
	}
	var out []string
	for _, d := range all {
		if !seen[d.path] {
			out = append(out, d.path)
		}
	}
	return out
}

// TestEveryDocumentIsReached finds pages that nobody would ever read.
func TestEveryDocumentIsReached(t *testing.T) {
	for _, name := range unreached(documents(t)) {
		t.Errorf("no link leads from README.md to %s", name)
	}
}

func TestUnreached(t *testing.T) {
	got := unreached([]document{
		{"README.md", "[a](docs/a.md) [x](https://example.org/docs/d.md)"}, {"docs/a.md", "[b](b.md#part)"}, {"docs/b.md", ""}, {"docs/d.md", ""},
	})
	if !slices.Equal(got, []string{"docs/d.md"}) {
		t.Errorf("unreached are %q", got)
	}
}
