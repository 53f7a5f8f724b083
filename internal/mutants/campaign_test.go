//go:build campaign

package mutants

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// limit is within which a mutant must be found, compiling not counted.
const limit = time.Minute

// Campaign C8: every planted bug is found. With -short a share of them.
func TestEveryMutantIsFound(t *testing.T) {
	all := All()
	found := 0
	var slowest time.Duration
	for i, m := range all {
		if testing.Short() && i%8 != 1 {
			continue
		}
		t.Run(strings.ReplaceAll(m.Name, " ", "_"), func(t *testing.T) {
			bin := compile(t, m)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			cmd := exec.CommandContext(ctx, bin, "-test.run", m.Run, "-test.failfast")
			cmd.Dir = filepath.Join(root, m.Package)
			out, err := cmd.CombinedOutput()
			took := time.Since(began)
			switch {
			case err == nil:
				t.Errorf("no test of %s that matches %s found it", m.Package, m.Run)
			case ctx.Err() != nil && by(string(out)) == "":
				t.Errorf("not found within %v", limit)
			case by(string(out)) == "":
				t.Errorf("the tests did not run: %v\n%s", err, out)
			default:
				found++
				slowest = max(slowest, took)
				t.Logf("found in %v by %s", took.Round(time.Millisecond), by(string(out)))
			}
		})
	}
	t.Logf("%d of %d mutants tried, all found, the slowest in %v", found, len(all), slowest.Round(time.Millisecond))
}

// compile builds the package's tests with the bug in them.
func compile(t *testing.T, m Mutant) string {
	t.Helper()
	dir := t.TempDir()
	text := mutated(t, m)
	if t.Failed() {
		t.FailNow()
	}
	source, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(dir, "mutant.go")
	overlay := filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "mutant.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-o", bin, m.Package)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("does not compile: %v\n%s", err, out)
	}
	return bin
}

// by names the first test that failed, or how the tests ended otherwise; empty: no bug was found.
func by(out string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			name, _, _ := strings.Cut(rest, " ")
			return name
		}
	}
	for _, end := range []string{"panic: ", "fatal error: "} {
		if _, rest, ok := strings.Cut(out, end); ok {
			line, _, _ := strings.Cut(rest, "\n")
			return end + line
		}
	}
	return ""
}
