package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// mutated returns the text of a mutant's file with the bug in it.
func mutated(t *testing.T, m Mutant) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, e := range m.Edits {
		if n := strings.Count(text, e.Old); n != 1 {
			t.Errorf("%s: in %s the text %q is there %d times, want once", m.Name, m.File, e.Old, n)
		}
		text = strings.Replace(text, e.Old, e.New, 1)
	}
	return text
}

// Every mutant can be planted in the product as it is: a list that lags behind proves nothing.
func TestMutantsFitTheProduct(t *testing.T) {
	names := map[string]bool{}
	for _, m := range All() {
		if names[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		names[m.Name] = true
		mutated(t, m)
	}
	if len(names) < 25 {
		t.Errorf("only %d mutants", len(names))
	}
}
