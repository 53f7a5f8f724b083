package campaign

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of faults into docs/robustness.md")

// TestTheTableOfFaults compares the table with what is raised, and with the documentation.
func TestTheTableOfFaults(t *testing.T) {
	raised := map[string]string{}
	for _, here := range []struct {
		test  string
		names []string
	}{
		{onProcesses, slices.Collect(maps.Keys(processKinds()))},
		{onSinks, slices.Collect(maps.Keys(receivers()))},
		{onClocks, slices.Collect(maps.Keys(clockKinds()))},
		{onDisk, []string{"disk-torn-tail"}},
	} {
		for _, name := range here.names {
			raised[name] = here.test
		}
	}
	seen := map[string]bool{}
	for _, f := range Faults() {
		if seen[f.Name] {
			t.Errorf("%s stands twice in the table", f.Name)
		}
		seen[f.Name] = true
		dir, name, _ := strings.Cut(f.Test, ".Test")
		switch {
		case dir == "internal/campaign" && raised[f.Name] != f.Test:
			t.Errorf("%s is not raised by %s", f.Name, f.Test)
		case !hasTest(t, dir, "Test"+name):
			t.Errorf("%s names %s, which is not there", f.Name, f.Test)
		}
	}
	for name := range raised {
		if !seen[name] {
			t.Errorf("%s is raised and does not stand in the table", name)
		}
	}
	if len(seen) < 42 {
		t.Errorf("only %d kinds of faults", len(seen))
	}
}

// hasTest looks for a test in the sources of a package, whatever its build tags.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}

// The table of docs/robustness.md is written from the one here: go test ./internal/campaign -run TheDocument -update.
func TestTheDocumentHasTheTable(t *testing.T) {
	const begin, end = "<!-- faults: written by a test -->\n", "<!-- end of faults -->"
	path := filepath.Join("..", "..", "docs", "robustness.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no marks around its table", path)
	}
	want := head + begin + Table(Faults()) + end + tail
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is another one; write it with -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}
