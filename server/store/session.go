package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// SessionOptions say whose session it is.
type SessionOptions struct {
	// Replica is the name of the replica, a DNS label.
	Replica string
	// Version of its binary.
	Version string
	// TTL is how long the session outlives its replica, 10 s by default. Below 5 s a slow disk ends sessions.
	TTL time.Duration
	// DeletePredecessors ends all other sessions of the replica first, so that what they own can be taken over at once.
	// Only the holder of the replica's data-directory lock may do that: nobody else knows that they are dead.
	DeletePredecessors bool
}

// Session is the proof that a replica lives: a leased key that is created once. Its create revision is the fencing
// token of everything the replica writes. Safe for concurrent use.
type Session struct {
	// Key of the session.
	Key string
	// Token is the key's create revision.
	Token int64
	// Lease of the key; other keys that shall end with the session may use it.
	Lease LeaseID

	store    *Store
	ttl      time.Duration
	ctx      context.Context // ends with the session
	end      context.CancelCauseFunc
	watchdog *time.Timer
	stopped  chan struct{} // closed when nothing renews it any more
}

// OpenSession makes a session with a key of its own. ctx bounds only the opening: the session lives until it is closed
// or lost, or the store is closed.
func (s *Store) OpenSession(ctx context.Context, opts SessionOptions) (*Session, error) {
	if opts.TTL <= 0 {
		opts.TTL = 10 * time.Second
	}
	if opts.DeletePredecessors {
		if err := s.deleteSessions(ctx, opts.Replica); err != nil {
			return nil, fmt.Errorf("open session of %q: delete predecessors: %w", opts.Replica, err)
		}
	}
	asked := time.Now()
	lease, err := s.opts.Backend.Leases().Grant(ctx, opts.TTL)
	if err != nil {
		return nil, fmt.Errorf("open session of %q: lease: %w", opts.Replica, err)
	}
	session, err := s.createSession(ctx, opts, lease)
	if err == nil && !session.renewed(asked) {
		err = fmt.Errorf("opening took longer than %v: %w", opts.TTL, ErrLeaseLost)
	}
	if err == nil && !s.spawn(session.run) {
		err = ErrClosed
	}
	if err != nil {
		if session != nil {
			session.end(err)
			session.watchdog.Stop()
		}
		s.revokeSoon(ctx, lease)
		return nil, fmt.Errorf("open session of %q: %w", opts.Replica, err)
	}
	return session, nil
}

func (s *Store) createSession(ctx context.Context, opts SessionOptions, lease LeaseID) (*Session, error) {
	var chance [8]byte
	_, _ = rand.Read(chance[:]) // never fails, see crypto/rand
	op := PutLeased(key(Sessions, opts.Replica, hex.EncodeToString(chance[:])), &recordv1.Session{
		Replica: opts.Replica, Version: opts.Version, StartTime: timestamppb.New(s.opts.Now()),
	}, lease)
	result, err := s.Commit(ctx, Txn{
		If:      []Compare{Absent(op.Key)},
		Then:    []Op{op},
		Witness: op.Key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, op.Value) },
	})
	if err != nil {
		return nil, err
	}
	if !result.Committed {
		return nil, fmt.Errorf("key %q exists: %w", op.Key, ErrInvalid)
	}
	x := &Session{Key: op.Key, Token: result.Revision, Lease: lease, store: s, ttl: opts.TTL, stopped: make(chan struct{})}
	x.ctx, x.end = context.WithCancelCause(s.sessionContext())
	x.watchdog = time.AfterFunc(opts.TTL, func() { x.end(errAssumedLost) })
	return x, nil
}

// errAssumedLost ends a session that could not be renewed in time.
var errAssumedLost = fmt.Errorf("not renewed in time, assumed: %w", ErrLeaseLost)

// Done is closed when the session is over: closed, known to be lost, or not renewed for so long that it must be
// assumed to be lost. That is before the store lets it go, as far as clocks can be trusted, so it is no proof that
// nobody else owns what the session owned; only Fence is.
func (x *Session) Done() <-chan struct{} { return x.ctx.Done() }

// Err tells why the session is over: ErrLeaseLost or ErrClosed, wrapped. Nil while it lives.
func (x *Session) Err() error { return context.Cause(x.ctx) }

// Fence is the compare that makes a transaction happen only while the session lives.
func (x *Session) Fence() Compare {
	return Compare{Key: x.Key, Field: CreateRevision, Relation: Equal, Revision: x.Token}
}

// Close ends the session and revokes its lease, so that others can take over at once. It tries until ctx ends; then
// the lease runs out by itself. Safe to call twice.
func (x *Session) Close(ctx context.Context) error {
	x.end(fmt.Errorf("session %q: %w", x.Key, ErrClosed))
	<-x.stopped
	return x.store.revoke(ctx, x.Lease)
}

// margin is the part of the TTL by which a session is given up early.
func (x *Session) margin() time.Duration { return x.ttl / 20 }

// renewed notes that a renewal that was asked for at that time has succeeded: the lease lives at least a TTL longer
// than that. False when that time is over already.
func (x *Session) renewed(asked time.Time) bool {
	left := time.Until(asked.Add(x.ttl - x.margin()))
	if left <= 0 || !x.watchdog.Stop() {
		x.end(errAssumedLost)
		return false
	}
	x.watchdog.Reset(left)
	return true
}

// run keeps the session until it is over.
func (x *Session) run() {
	defer close(x.stopped)
	defer x.watchdog.Stop()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		x.watchKey()
	}()
	x.keepAlive()
	<-watching
}

// keepAlive renews the lease three times in each TTL, more often while that fails.
func (x *Session) keepAlive() {
	interval := x.ttl / 3
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-timer.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(x.ctx, interval)
		err := x.store.opts.Backend.Leases().KeepAlive(ctx, x.Lease)
		cancel()
		switch {
		case err == nil && x.renewed(asked):
			timer.Reset(interval)
		case errors.Is(err, ErrLeaseLost):
			x.end(err)
		default:
			timer.Reset(x.ttl / 20)
		}
	}
}

// watchKey ends the session as soon as its key is seen to be gone: a keepalive would tell only later, or never when
// somebody deleted just the key.
func (x *Session) watchKey() {
	sub := x.store.Subscribe([]string{x.Key}, Cursor{RestoreEpoch: x.store.Cursor().RestoreEpoch, Revision: x.Token})
	defer sub.Close()
	for {
		update, err := sub.Next(x.ctx)
		if err != nil {
			return
		}
		present := !update.Reset
		for _, e := range update.Events {
			present = e.Msg != nil && e.CreateRevision == x.Token
		}
		if !present {
			x.end(fmt.Errorf("session key %q is gone: %w", x.Key, ErrLeaseLost))
			return
		}
	}
}

// deleteSessions ends all sessions of a replica.
func (s *Store) deleteSessions(ctx context.Context, replica string) error {
	page, err := s.opts.Backend.Range(ctx, Query{Prefix: key(Sessions, replica) + "/"})
	if err != nil {
		return err
	}
	for _, e := range page.Entries {
		if e.Lease != 0 {
			if err := s.revoke(ctx, e.Lease); err != nil {
				return err
			}
		}
		// The key is gone with its lease, unless it had none. If not, nobody but its dead owner writes it.
		if _, err := s.Commit(ctx, Txn{If: []Compare{Unchanged(e.Key, e.ModRevision)}, Then: []Op{Delete(e.Key)}}); err != nil {
			return err
		}
	}
	return nil
}

// revoke ends a lease, trying until it is known to be gone or ctx ends.
func (s *Store) revoke(ctx context.Context, lease LeaseID) error {
	err := s.retry(ctx, func() error {
		err := s.opts.Backend.Leases().Revoke(ctx, lease)
		if errors.Is(err, ErrLeaseLost) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke lease %x: %w", lease, err)
	}
	return nil
}

// revokeSoon ends a lease that nobody needs; if that fails, it runs out by itself.
func (s *Store) revokeSoon(ctx context.Context, lease LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.revoke(ctx, lease); err != nil {
		s.log.Debug("lease is left to run out", "error", err)
	}
}
