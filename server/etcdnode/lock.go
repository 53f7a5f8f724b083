package etcdnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// lockFile is the name of the lock file in a data directory. The file is never deleted: a lock on a deleted file
// excludes nobody.
const lockFile = "lock"

// DirLock is the proof that this process and no other owns a data directory. The operating system takes it back when
// the process ends, however it ends, so that whoever gets the lock knows that its predecessor is dead.
//
// That makes it the predecessor lock: the holder may delete the session keys that an earlier process on the same
// directory left behind, instead of waiting for their lease to expire. Nobody else may.
type DirLock struct {
	dir  string
	mu   sync.Mutex
	file *os.File
}

// LockDir takes the lock of a data directory, which it creates (mode 0700) when it is missing. It never waits: when
// somebody else holds the lock it returns a *LockedError at once, which wraps ErrLocked.
func LockDir(dir string) (*DirLock, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolving data directory %q: %w", dir, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("creating data directory: %w", err)
	}
	path := filepath.Join(abs, lockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	if err := flock(file); err != nil {
		pid := readHolder(file)
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{Dir: abs, Path: path, PID: pid}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := writeHolder(file, strconv.Itoa(os.Getpid())); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("writing lock file: %w", err)
	}
	return &DirLock{dir: abs, file: file}, nil
}

// Dir is the absolute path of the directory.
func (l *DirLock) Dir() string { return l.dir }

// Held reports whether the lock has not been released yet.
func (l *DirLock) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file != nil
}

// Release gives the directory free. It may be called more than once and is safe for concurrent use.
func (l *DirLock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	// The name goes first, while the lock still stands: afterwards the file belongs to the next holder.
	err := errors.Join(writeHolder(l.file, ""), l.file.Close())
	l.file = nil
	if err != nil {
		return fmt.Errorf("releasing data directory %s: %w", l.dir, err)
	}
	return nil
}

// flock takes the lock without waiting. Go opens files close-on-exec, so child processes don't inherit it.
func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func writeHolder(file *os.File, holder string) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(holder), 0)
	return err
}

// readHolder returns the process id in the lock file if such a process is alive, else 0: between taking the lock and
// writing its name a new holder shows the name of a dead one, and a wrong name is worse than none.
func readHolder(file *os.File) int {
	content, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || pid <= 0 {
		return 0
	}
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return 0
	}
	return pid
}
