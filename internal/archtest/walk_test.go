package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// walk calls visit for every file of the repository at root that ends with
// suffix, with its slash-separated path: not in hidden folders, in fixtures, in
// what we keep of others, in what a build leaves behind or in modules of their
// own.
func walk(root, suffix string, visit func(path string, text []byte) error) error {
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && isForeign(name, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, suffix) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		path, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(path), text)
	})
	if err != nil {
		return fmt.Errorf("walking %s: %w", root, err)
	}
	return nil
}

func isForeign(name, base string) bool {
	switch {
	case strings.HasPrefix(base, "."), strings.HasPrefix(base, "_"):
		return true
	case base == "testdata", base == "third_party", base == "bin", base == "dist":
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

func readSources(t *testing.T, root string) []*source {
	t.Helper()
	var sources []*source
	err := walk(root, ".go", func(path string, text []byte) error {
		s, err := parseSource(path, text)
		if s != nil {
			sources = append(sources, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}
