package etcdnode

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the new directory: %v, %v, want mode 0700", info, err)
	}
	_, err = LockDir(dir)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("second lock: %v, want a LockedError", err)
	}
	if locked.PID != os.Getpid() || locked.Dir != first.Dir() || !strings.Contains(err.Error(), dir) {
		t.Errorf("second lock: %+v, want this process and %s", locked, dir)
	}
	if !first.Held() {
		t.Error("the first lock is not held after a second was refused")
	}
	for range 2 {
		if err := first.Release(); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if first.Held() {
		t.Error("a released lock is held")
	}
	second, err := LockDir(dir)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockNeedsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(file); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("locking a file: %v, want another error than ErrLocked", err)
	}
}

func TestHolderOfALock(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          int
	}{
		{"this process", strconv.Itoa(os.Getpid()), os.Getpid()},
		{"with a line end", strconv.Itoa(os.Getpid()) + "\n", os.Getpid()},
		{"nobody yet", "", 0},
		{"a process that is dead", "2147483646", 0},
		{"rubbish", "pid", 0},
		{"a process group", "-1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			if err := writeHolder(file, c.content); err != nil {
				t.Fatal(err)
			}
			if got := readHolder(file); got != c.want {
				t.Errorf("holder of %q is %d, want %d", c.content, got, c.want)
			}
		})
	}
}

func TestLockedErrorSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		pid  int
		want string
	}{
		{0, "data directory is in use: /d is held by another process (lock file /d/lock); stop it or choose another directory"},
		{os.Getpid(), "data directory is in use: /d is already held by this process (lock file /d/lock)"},
		{7, "data directory is in use: /d is held by process 7 (lock file /d/lock); stop it or choose another directory"},
	} {
		if got := (&LockedError{Dir: "/d", Path: "/d/lock", PID: c.pid}).Error(); got != c.want {
			t.Errorf("pid %d: %s", c.pid, got)
		}
	}
}
