package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// listed is the part of go list's answer that we read.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Error      *struct{ Err string }
}

// goList tells the packages of the module in dir. Env is added to ours.
func goList(t *testing.T, dir string, env ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps,Error", "./...")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", dir, err, &stderr)
	}
	packages, err := decodePackages(bytes.NewReader(out))
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	return packages
}

func decodePackages(r io.Reader) ([]goPackage, error) {
	var packages []goPackage
	for decoder := json.NewDecoder(r); ; {
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
		if l.Error != nil {
			return nil, fmt.Errorf("%s: %s", l.ImportPath, l.Error.Err)
		}
		packages = append(packages, goPackage{path: relative(l.ImportPath), imports: relativeAll(l.Imports), deps: relativeAll(l.Deps)})
	}
}

func relative(importPath string) string {
	return strings.TrimPrefix(importPath, module+"/")
}

func relativeAll(importPaths []string) []string {
	paths := make([]string, len(importPaths))
	for i, p := range importPaths {
		paths[i] = relative(p)
	}
	return paths
}

// repository is the folder of the main module.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatalf("finding the repository: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("finding the repository: %v", err)
	}
	return dir
}

func TestImportsOfTheRepository(t *testing.T) {
	for _, finding := range importFindings(goList(t, repository(t))) {
		t.Error(finding)
	}
}

// TestImportsOfFixtures runs the whole check over small modules, each an archive
// whose head says what has to be found in it.
func TestImportsOfFixtures(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join("testdata", "imports_*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("fixtures: %v, %v", archives, err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatalf("reading the fixture: %v", err)
			}
			dir := t.TempDir()
			if err := txtar.Write(archive, dir); err != nil {
				t.Fatalf("writing the fixture: %v", err)
			}
			got := strings.Join(importFindings(goList(t, dir, "GOFLAGS=-mod=mod", "GOPROXY=off")), "\n")
			if want := strings.TrimSpace(string(archive.Comment)); got != want {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
