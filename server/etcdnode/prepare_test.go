package etcdnode

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCreationOf(t *testing.T) {
	for _, c := range []struct {
		creating, prepared, initialised bool
		want                            creation
	}{
		{false, false, false, creationNew},
		{true, false, false, creationBroken},
		{true, false, true, creationBroken},
		{false, false, true, creationForeign},
		{false, true, true, creationDone},
		{true, true, true, creationDone},
	} {
		if got := creationOf(c.creating, c.prepared, c.initialised); got != c.want {
			t.Errorf("creating %v, prepared %v, initialised %v: %s, want %s",
				c.creating, c.prepared, c.initialised, got, c.want)
		}
	}
}

// Whatever the creator left behind, a node starts, and it keeps data exactly when somebody may have been told about it.
func TestUnfinishedAndForeignDirectories(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		keeps bool
	}{
		{"killed before it was finished", func(t *testing.T, dir string) {
			t.Helper()
			remove(t, filepath.Join(dir, preparedFile))
			create(t, filepath.Join(dir, creatingFile))
		}, false},
		{"killed when it was just finished", func(t *testing.T, dir string) {
			t.Helper()
			create(t, filepath.Join(dir, creatingFile))
		}, true},
		{"made by another tool", func(t *testing.T, dir string) {
			t.Helper()
			remove(t, filepath.Join(dir, preparedFile))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etcd")
			node := started(t, dir)
			if _, err := node.Client().Put(t.Context(), "a", "1"); err != nil {
				t.Fatal(err)
			}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			node = started(t, dir)
			answer, err := node.Client().Get(t.Context(), "a")
			if err != nil || (answer.Count == 1) != c.keeps {
				t.Errorf("the data is kept: %+v, %v, want %v", answer, err, c.keeps)
			}
			if !exists(filepath.Join(dir, preparedFile)) {
				t.Error("the directory is not marked as prepared")
			}
		})
	}
}

func started(t *testing.T, dir string) *Node {
	t.Helper()
	node, err := Start(t.Context(), Options{DataDir: dir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	return node
}

func create(t *testing.T, path string) {
	t.Helper()
	if err := mark(path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
