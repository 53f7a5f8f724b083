package etcdnode

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClientSocket(t *testing.T) {
	temp, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	long := "/data/" + strings.Repeat("long", 30)

	short, err := clientSocket("/data", temp)
	if err != nil || short != "/data/etcd.sock" {
		t.Errorf("short directory: %q, %v", short, err)
	}
	edge := "/" + strings.Repeat("e", maxSocketPath-len("/")-len("/"+socketName))
	if path, err := clientSocket(edge, temp); err != nil || path != filepath.Join(edge, socketName) || len(path) != maxSocketPath {
		t.Errorf("longest directory that fits: %q, %v", path, err)
	}
	first, err := clientSocket(long, temp)
	if err != nil || !strings.HasPrefix(first, temp) || len(first) > maxSocketPath {
		t.Fatalf("long directory: %q, %v, want a short path below %s", first, err, temp)
	}
	if again, err := clientSocket(long, temp); err != nil || again != first {
		t.Errorf("second start: %q, %v, want %q again", again, err, first)
	}
	if other, err := clientSocket(long+"2", temp); err != nil || other == first {
		t.Errorf("another directory: %q, %v, want another path than %q", other, err, first)
	}
	if info, err := os.Stat(filepath.Dir(first)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket directory: %v, %v, want mode 0700", info, err)
	}
	removeSocketDir(first, long)
	if _, err := os.Stat(filepath.Dir(first)); !os.IsNotExist(err) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

// Somebody else may have made the directory in the shared temporary directory, to get at the store.
func TestPrivateDir(t *testing.T) {
	parent := t.TempDir()
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link} {
		if err := privateDir(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s was accepted: %v", dir, err)
		}
	}
	own := filepath.Join(parent, "own")
	for range 2 {
		if err := privateDir(own); err != nil {
			t.Errorf("own directory: %v", err)
		}
	}
}
