package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Keeper keeps a session open for the life of a replica, with a new key after each loss. Safe for concurrent use.
type Keeper struct {
	store *Store
	opts  SessionOptions

	mu      sync.Mutex
	current *Session
	changed chan struct{}
}

// NewKeeper returns a keeper that has no session until it runs.
func NewKeeper(s *Store, opts SessionOptions) *Keeper {
	return &Keeper{store: s, opts: opts, changed: make(chan struct{})}
}

// Run opens a session and opens another one whenever it is lost, with growing, jittered pauses: after a pause of the
// store all replicas lose theirs at once. It returns nil when ctx ends, after it has closed the session, and ErrClosed
// when the store is closed.
func (k *Keeper) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		session, err := k.store.OpenSession(ctx, k.opts)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil //nolint:nilerr // to be told to stop is no error
		case errors.Is(err, ErrClosed):
			return fmt.Errorf("keep session: %w", err)
		case err != nil:
			k.store.log.Warn("can't open a session, trying again", "replica", k.opts.Replica, "error", err)
		default:
			k.store.log.Info("session opened", "replica", k.opts.Replica, "key", session.Key, "revision", session.Token)
			began := time.Now()
			if ended := k.hold(ctx, session); ended {
				return nil
			}
			if time.Since(began) > longPause {
				attempt = 0
			}
		}
		if !pause(ctx, attempt) {
			return nil
		}
	}
}

// hold shows the session to everybody while it lives; afterwards its error hides it. True when ctx ended.
func (k *Keeper) hold(ctx context.Context, session *Session) bool {
	k.set(session)
	ended := false
	select {
	case <-ctx.Done():
		ended = true
	case <-session.Done():
		k.store.log.Warn("session lost", "replica", k.opts.Replica, "key", session.Key, "error", session.Err())
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second+rand.N(time.Second))
	defer cancel()
	if err := session.Close(closing); err != nil {
		k.store.log.Debug("session is left to run out", "key", session.Key, "error", err)
	}
	return ended
}

func (k *Keeper) set(session *Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = session
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *Keeper) get() (*Session, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || k.current.Err() != nil {
		return nil, k.changed
	}
	return k.current, k.changed
}

// Current returns the session; nil while there is none.
func (k *Keeper) Current() *Session {
	session, _ := k.get()
	return session
}

// Acting shows a keeper's session only while the replica may act: to who starts, executes and sends there is none while
// replicas only observe. Safe for concurrent use.
type Acting struct{ keeper *Keeper }

// Acting returns the keeper as those see it who act.
func (k *Keeper) Acting() *Acting { return &Acting{keeper: k} }

// Current returns the session; nil while there is none, or while the replica only observes.
func (a *Acting) Current() *Session {
	if observing, _ := a.keeper.store.modeChanged(); observing {
		return nil
	}
	return a.keeper.Current()
}

// Wait returns the session as soon as there is one and the replica may act. It returns ctx's error.
func (a *Acting) Wait(ctx context.Context) (*Session, error) {
	for {
		observing, changed := a.keeper.store.modeChanged()
		if !observing {
			session, err := a.keeper.Wait(ctx)
			if still, _ := a.keeper.store.modeChanged(); err != nil || !still {
				return session, err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a human to confirm the restore: %w", ctx.Err())
		}
	}
}

// Wait returns the session as soon as there is one. It returns ctx's error.
func (k *Keeper) Wait(ctx context.Context) (*Session, error) {
	for {
		session, changed := k.get()
		if session != nil {
			return session, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a session: %w", ctx.Err())
		}
	}
}
