package auth

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/telemetry"
)

// checkEvery is how often files are looked at for a change, at most, when they are used.
const checkEvery = time.Second

// reloading is a value made of files, made anew when one of them changes. A change that can't be read is logged once and
// leaves the last good value in force. Safe for concurrent use.
type reloading[T any] struct {
	what  string
	files []string
	load  func() (T, error)
	now   func() time.Time
	log   hclog.Logger

	mu      sync.Mutex
	value   T
	seen    []stamp
	checked time.Time
}

// stamp tells one content of a file from another without reading it. A rotation by rename changes the inode, which
// os.SameFile sees, even within the resolution of the time.
type stamp struct {
	info os.FileInfo
	err  string
}

func (s stamp) same(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil && s.err == other.err
	}
	return s.info.ModTime().Equal(other.info.ModTime()) && s.info.Size() == other.info.Size() && os.SameFile(s.info, other.info)
}

// start loads the value for the first time.
func (r *reloading[T]) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.checked = r.stamps(), r.now()
	v, err := r.load()
	if err != nil {
		return fmt.Errorf("%s: %w", r.what, err)
	}
	r.value = v
	return nil
}

// get returns the value, after a look at the files when the last look is old enough.
func (r *reloading[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if age := now.Sub(r.checked); age >= 0 && age < checkEvery {
		return r.value
	}
	r.checked = now
	stamps := r.stamps()
	if r.unchanged(stamps) {
		return r.value
	}
	r.seen = stamps
	v, err := r.load()
	if err != nil {
		r.log.Error("a changed file can't be used; what was read before stays in force", "what", r.what, telemetry.KeyError, err)
		return r.value
	}
	r.value = v
	r.log.Info("read a changed file again", "what", r.what)
	return r.value
}

func (r *reloading[T]) stamps() []stamp {
	out := make([]stamp, 0, len(r.files))
	for _, name := range r.files {
		info, err := os.Stat(name)
		if err != nil {
			out = append(out, stamp{err: err.Error()})
			continue
		}
		out = append(out, stamp{info: info})
	}
	return out
}

func (r *reloading[T]) unchanged(now []stamp) bool {
	for i := range now {
		if !now[i].same(r.seen[i]) {
			return false
		}
	}
	return true
}
