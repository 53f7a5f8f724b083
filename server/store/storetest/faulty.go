package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

// Kind is what happens to a transaction.
type Kind int

// What can happen to a transaction.
const (
	// None lets it pass.
	None Kind = iota
	// Executed commits it and reports ErrUnknown: the acknowledgement is lost.
	Executed
	// Dropped doesn't commit it and reports ErrUnknown: the request is lost.
	Dropped
	// Delayed reports ErrUnknown at once and commits it later: an immediate read doesn't find it.
	Delayed
	// Unavailable doesn't commit it and reports ErrUnavailable.
	Unavailable
	// NoSpace doesn't commit it and reports ErrNoSpace.
	NoSpace
	// NoSpaceExecuted commits it and reports ErrNoSpace, as etcd does when the transaction itself fills the quota.
	NoSpaceExecuted
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"None", "Executed", "Dropped", "Delayed", "Unavailable", "NoSpace", "NoSpaceExecuted"}[k]
}

// Fault is what happens to one transaction.
type Fault struct {
	Kind Kind
	// Delay is after how long a Delayed transaction is tried. With a Release it is tried when that is closed instead.
	Delay   time.Duration
	Release <-chan struct{}
}

// CommitHook decides about each transaction; it may block. It is called by several goroutines.
type CommitHook func(ctx context.Context, txn store.Txn) Fault

// Faulty is a backend with faults around another one, which it leaves untouched: several of them around one Memory are
// replicas with their own troubles. Without hooks it is transparent. Safe for concurrent use.
type Faulty struct {
	mu       sync.Mutex
	wrapped  store.Backend
	onCommit CommitHook
	onRange  func(context.Context, store.Query) error
	onLease  func(context.Context, store.LeaseID) error
	down     bool
	broken   chan struct{} // closed to break the watches
	filter   func(store.Batch) (store.Batch, bool)
	leases   map[store.LeaseID]struct{}
	closed   chan struct{}
	late     sync.WaitGroup
}

// NewFaulty wraps a backend.
func NewFaulty(b store.Backend) *Faulty {
	return &Faulty{
		wrapped: b, broken: make(chan struct{}), closed: make(chan struct{}),
		leases: map[store.LeaseID]struct{}{},
	}
}

// OnCommit sets the hook for transactions; nil removes it.
func (f *Faulty) OnCommit(hook CommitHook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onCommit = hook
}

// OnRange sets a hook whose error fails a read; nil removes it.
func (f *Faulty) OnRange(hook func(context.Context, store.Query) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onRange = hook
}

// OnLease sets a hook whose error fails a lease operation (id 0: a grant); nil removes it.
func (f *Faulty) OnLease(hook func(context.Context, store.LeaseID) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onLease = hook
}

// FilterWatch lets a hook change the batches of the watch, or swallow them (false); nil removes it.
func (f *Faulty) FilterWatch(hook func(store.Batch) (store.Batch, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = hook
}

// SetDown makes everything ErrUnavailable, and breaks the watches, until it is called with false.
func (f *Faulty) SetDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
	if down {
		f.BreakWatch()
	}
}

// Replace puts another backend in the place of the wrapped one and breaks the watches: what a client sees when a
// cluster is restored from a backup.
func (f *Faulty) Replace(b store.Backend) {
	f.mu.Lock()
	f.wrapped = b
	f.mu.Unlock()
	f.BreakWatch()
}

func (f *Faulty) backend() store.Backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrapped
}

// BreakWatch ends the present watches with ErrUnavailable.
func (f *Faulty) BreakWatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.broken)
	f.broken = make(chan struct{})
}

// LoseLeases ends all leases that were granted through f.
func (f *Faulty) LoseLeases(ctx context.Context) error {
	f.mu.Lock()
	leases := f.leases
	f.leases = map[store.LeaseID]struct{}{}
	f.mu.Unlock()
	for id := range leases {
		if err := f.backend().Leases().Revoke(ctx, id); err != nil && !errors.Is(err, store.ErrLeaseLost) {
			return fmt.Errorf("lose lease %x: %w", id, err)
		}
	}
	return nil
}

// Settle waits until all delayed transactions were tried.
func (f *Faulty) Settle() { f.late.Wait() }

// Commit implements [store.Backend].
func (f *Faulty) Commit(ctx context.Context, txn store.Txn) (store.Result, error) {
	f.mu.Lock()
	hook := f.onCommit
	f.mu.Unlock()
	fault := Fault{}
	if hook != nil {
		fault = hook(ctx, txn)
	}
	if err := f.unavailable(); err != nil {
		return store.Result{}, err
	}
	switch fault.Kind {
	case Executed, NoSpaceExecuted:
		result, err := f.backend().Commit(ctx, txn)
		if err != nil || !result.Committed {
			return result, err
		}
		if fault.Kind == NoSpaceExecuted {
			return store.Result{}, fmt.Errorf("injected: %w", store.ErrNoSpace)
		}
		return store.Result{}, fmt.Errorf("injected, executed: %w", store.ErrUnknown)
	case Dropped:
		return store.Result{}, fmt.Errorf("injected, dropped: %w", store.ErrUnknown)
	case Delayed:
		f.late.Go(func() { f.commitLater(context.WithoutCancel(ctx), fault, txn) })
		return store.Result{}, fmt.Errorf("injected, delayed: %w", store.ErrUnknown)
	case Unavailable:
		return store.Result{}, fmt.Errorf("injected: %w", store.ErrUnavailable)
	case NoSpace:
		return store.Result{}, fmt.Errorf("injected: %w", store.ErrNoSpace)
	default:
		return f.backend().Commit(ctx, txn)
	}
}

// commitLater does what nobody waits for any more; its outcome is of no interest.
func (f *Faulty) commitLater(ctx context.Context, fault Fault, txn store.Txn) {
	release := fault.Release
	if release == nil {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.closed:
			return
		}
	} else {
		select {
		case <-release:
		case <-f.closed:
			return
		}
	}
	_, _ = f.backend().Commit(ctx, txn)
}

func (f *Faulty) unavailable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return fmt.Errorf("injected: %w", store.ErrUnavailable)
	}
	return nil
}

// Range implements [store.Backend].
func (f *Faulty) Range(ctx context.Context, query store.Query) (store.Page, error) {
	f.mu.Lock()
	hook := f.onRange
	f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, query); err != nil {
			return store.Page{}, err
		}
	}
	if err := f.unavailable(); err != nil {
		return store.Page{}, err
	}
	return f.backend().Range(ctx, query)
}

// Watch implements [store.Backend].
func (f *Faulty) Watch(ctx context.Context, prefix string, after int64, deliver func(store.Batch)) error {
	f.mu.Lock()
	broken := f.broken
	f.mu.Unlock()
	if err := f.unavailable(); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-broken:
			cancel()
		case <-stop:
		}
	}()
	err := f.backend().Watch(watching, prefix, after, func(b store.Batch) {
		f.mu.Lock()
		filter := f.filter
		f.mu.Unlock()
		if filter != nil {
			var ok bool
			if b, ok = filter(b); !ok {
				return
			}
		}
		deliver(b)
	})
	if watching.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("injected, watch broken: %w", store.ErrUnavailable)
	}
	return err
}

// Leases implements [store.Backend].
func (f *Faulty) Leases() store.Leases { return faultyLeases{f} }

type faultyLeases struct{ f *Faulty }

func (l faultyLeases) before(ctx context.Context, id store.LeaseID) error {
	l.f.mu.Lock()
	hook := l.f.onLease
	l.f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, id); err != nil {
			return err
		}
	}
	return l.f.unavailable()
}

// Grant implements [store.Leases].
func (l faultyLeases) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	if err := l.before(ctx, 0); err != nil {
		return 0, err
	}
	id, err := l.f.backend().Leases().Grant(ctx, ttl)
	if err == nil {
		l.f.mu.Lock()
		l.f.leases[id] = struct{}{}
		l.f.mu.Unlock()
	}
	return id, err
}

// KeepAlive implements [store.Leases].
func (l faultyLeases) KeepAlive(ctx context.Context, id store.LeaseID) error {
	if err := l.before(ctx, id); err != nil {
		return err
	}
	return l.f.backend().Leases().KeepAlive(ctx, id)
}

// Revoke implements [store.Leases].
func (l faultyLeases) Revoke(ctx context.Context, id store.LeaseID) error {
	if err := l.before(ctx, id); err != nil {
		return err
	}
	return l.f.backend().Leases().Revoke(ctx, id)
}

// Close implements [store.Backend]: what was delayed is given up, and the wrapped backend stays open.
func (f *Faulty) Close() error {
	f.mu.Lock()
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	f.mu.Unlock()
	f.late.Wait()
	return nil
}
