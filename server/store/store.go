package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options configure [New]. Zero values mean the defaults.
type Options struct {
	// Backend to keep everything in. It stays the caller's to close, after the store.
	Backend Backend
	// Logger; nil discards.
	Logger hclog.Logger
	// Now is the wall clock; nil means time.Now. It is never compared with another machine's.
	Now func() time.Time
	// Writers is the most transactions in flight, 16 by default: with 64 writers the slowest take ten times as long.
	Writers int
	// Probe is how often the store is asked whether it still lives and how far it is, 1 s by default.
	Probe time.Duration
	// Stale is after how long without a sign of life the mirror stops to be live, 5 s by default.
	Stale time.Duration
	// Sweep is how often the mirror is compared with the store, 30 s by default: a watch is only a hint.
	Sweep time.Duration
	// Bookmark is how often a subscriber without events is told how far it is, 5 s by default.
	Bookmark time.Duration
	// RingBatches and RingBytes bound the history for slow and returning subscribers, 4096 and 8 MiB by default.
	RingBatches, RingBytes int
	// Replica is the name under which it says that the store went back.
	Replica string
	// SeenFile keeps the highest restore epoch and revision that were seen beyond the life of the process, so that a store
	// that went back meanwhile is noticed. Its folder must exist. Empty: they are kept in memory only.
	SeenFile string
	// Restored is set when the store is known to be one that was made from a backup, and nobody has confirmed it.
	Restored *Restored
}

// Store is the mirror and the transactions of one process. It is safe for concurrent use.
type Store struct {
	opts  Options
	log   hclog.Logger
	hub   *hub
	slots chan struct{}
	heard heard
	life  life
	// last is the last change that was watched; it belongs to the goroutine that watches.
	last Change
	// doubts asks the guard to look at the store at once.
	doubts chan struct{}

	// closing ends everything the store does, commits included.
	closing context.Context
	stop    context.CancelCauseFunc
	loops   sync.WaitGroup

	mu      sync.Mutex
	started bool
	rewatch context.CancelCauseFunc // ends the present watch
}

// New returns a store that is not started: its mirror is empty, but it can commit, fetch and scan.
func New(opts Options) *Store {
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	setDefault(&opts.Writers, 16)
	setDefault(&opts.Probe, time.Second)
	setDefault(&opts.Stale, 5*time.Second)
	setDefault(&opts.Sweep, 30*time.Second)
	setDefault(&opts.Bookmark, 5*time.Second)
	setDefault(&opts.RingBatches, 4096)
	setDefault(&opts.RingBytes, 8<<20)
	s := &Store{
		opts:  opts,
		log:   opts.Logger,
		hub:   newHub(ringLimits{batches: opts.RingBatches, bytes: opts.RingBytes}),
		slots: make(chan struct{}, opts.Writers), doubts: make(chan struct{}, 1),
	}
	s.closing, s.stop = context.WithCancelCause(context.Background())
	s.life.changed = make(chan struct{})
	s.life.sessions, s.life.endSessions = context.WithCancelCause(s.closing)
	return s
}

func setDefault[T int | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// Start lists everything that is mirrored, makes the restore epoch if there is none, and begins to watch. While the
// store can't be reached it tries again until ctx ends. Call it once.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again || s.closing.Err() != nil {
		return fmt.Errorf("start store: started before: %w", ErrClosed)
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	s.recall()
	if err := s.retry(ctx, func() error { return s.relist(ctx) }); err != nil {
		return fmt.Errorf("start store: first list: %w", err)
	}
	if !s.spawn(s.watch) || !s.spawn(s.guard) || s.opts.SeenFile != "" && !s.spawn(s.remember) {
		return fmt.Errorf("start store: %w", ErrClosed)
	}
	// A store without space can't be marked; the guard goes on trying, and this replica only observes meanwhile.
	if err := s.mark(ctx); err != nil {
		s.log.Error("can't tell the other replicas yet", "error", err)
	}
	if err := s.ensureRestoreEpoch(ctx); err != nil {
		return fmt.Errorf("start store: restore epoch: %w", err)
	}
	s.hub.open()
	return nil
}

// Close ends the watch, all subscriptions and the commits under way, whose outcome is then unknown. What was read
// can still be read. Safe to call twice.
func (s *Store) Close() {
	s.mu.Lock()
	s.stop(ErrClosed)
	s.mu.Unlock()
	s.hub.close()
	s.loops.Wait()
}

// spawn runs f in a goroutine that Close waits for; false when the store is closed.
func (s *Store) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	s.loops.Go(f)
	return true
}

// bind returns a context that ends with ctx and with the store.
func (s *Store) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closing, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// retry calls f until it succeeds, pausing longer each time, or until ctx ends: then the error is ctx's and the last
// one of f.
func (s *Store) retry(ctx context.Context, f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil || errors.Is(err, ErrClosed) {
			return err
		}
		if attempt == 0 {
			s.log.Warn("store does not answer, trying again", "error", err)
		}
		if ctx.Err() != nil || !pause(ctx, attempt) {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// Read calls f with the newest picture of the mirror. It takes no lock and may be nested.
func (s *Store) Read(f func(View)) { f(s.hub.current.Load()) }

// WaitRevision waits until the mirror has reached a revision. It returns ctx's error, or ErrClosed.
func (s *Store) WaitRevision(ctx context.Context, revision int64) error {
	if s.hub.current.Load().revision >= revision {
		return nil
	}
	nudge := time.NewTimer(nudgeAfter)
	defer nudge.Stop()
	for s.hub.current.Load().revision < revision {
		if s.closing.Err() != nil {
			return fmt.Errorf("wait for revision %d: %w", revision, ErrClosed)
		}
		select {
		case <-s.hub.wait(revision):
		case <-nudge.C:
			s.nudge(ctx)
			nudge.Reset(nudgeEvery)
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
		}
	}
	return nil
}

// A revision that changed nothing under [Root], in a cluster shared with others, is not seen by the watch. So who
// waits for one asks for a bookmark: not at once, as most revisions are on their way.
const (
	nudgeAfter = 10 * time.Millisecond
	nudgeEvery = 250 * time.Millisecond
)

// progresser is a backend whose watch can be asked for a bookmark.
type progresser interface {
	// RequestProgress asks for a bookmark of all watches, soon.
	RequestProgress(ctx context.Context) error
}

func (s *Store) nudge(ctx context.Context) {
	if p, ok := s.opts.Backend.(progresser); ok {
		if err := p.RequestProgress(ctx); err != nil {
			s.log.Debug("asking for a bookmark", "error", err)
		}
	}
}

// Cursor is the place the mirror has reached.
func (s *Store) Cursor() Cursor {
	s.hub.mu.RLock()
	defer s.hub.mu.RUnlock()
	return Cursor{RestoreEpoch: s.hub.life, Revision: s.hub.current.Load().revision}
}

// RestoreEpoch names the life of the store: later lives sort after earlier ones as text. Empty before Start.
func (s *Store) RestoreEpoch() string { return epochOf(s.hub.current.Load()) }

// ClusterID is the id of the etcd cluster as it was heard last; 0: it was not.
func (s *Store) ClusterID() uint64 {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.answered.cluster
}

// Problems returns the mirrored records that can't be read, in the order of their keys.
func (s *Store) Problems() []Problem {
	var all []Problem
	s.hub.current.Load().problems.ascend("", func(_ string, p Problem) bool {
		all = append(all, p)
		return true
	})
	return all
}
