package etcdnode

import (
	"errors"
	"fmt"
	"os"
)

var (
	// ErrLocked says that another process, or another node of this one, owns the data directory. The concrete error
	// is a *LockedError.
	ErrLocked = errors.New("data directory is in use")
	// ErrHalted says that etcd met something it must not survive: its log or its database can't be written or read.
	// Nothing more will be committed on this node; what was acknowledged before is kept.
	ErrHalted = errors.New("etcd halted")
	// ErrStopped says that etcd stopped without being asked, e.g. because the member was removed from its cluster.
	ErrStopped = errors.New("etcd stopped by itself")
	// ErrCloseTimeout says that etcd did not stop within Options.CloseTimeout. Its files stay locked until it does
	// or the process ends.
	ErrCloseTimeout = errors.New("etcd did not stop in time")
	// ErrClosed says that a call came after the end of the node, or was cut off by it: then its outcome is unknown.
	// Its gRPC code is Unavailable.
	ErrClosed = errors.New("embedded etcd is closed")
	// ErrOptions says that a node can't be started with these Options.
	ErrOptions = errors.New("invalid options of the embedded etcd")
)

// LockedError names who holds a data directory.
type LockedError struct {
	// Dir is the data directory.
	Dir string
	// Path is the lock file in it.
	Path string
	// PID is the process that holds it, 0 when that can't be known.
	PID int
}

// Error says what is in use, by whom, and what to do about it.
func (e *LockedError) Error() string {
	switch e.PID {
	case 0:
		return fmt.Sprintf("%v: %s is held by another process (lock file %s); stop it or choose another directory",
			ErrLocked, e.Dir, e.Path)
	case os.Getpid():
		return fmt.Sprintf("%v: %s is already held by this process (lock file %s)", ErrLocked, e.Dir, e.Path)
	default:
		return fmt.Sprintf("%v: %s is held by process %d (lock file %s); stop it or choose another directory",
			ErrLocked, e.Dir, e.PID, e.Path)
	}
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }
