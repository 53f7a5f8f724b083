package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// EtcdOptions configure [NewEtcd]. Zero values mean the defaults.
type EtcdOptions struct {
	// Client to use. It stays the caller's to close, after the backend.
	Client *clientv3.Client
	// RequestTimeout bounds every request, 5 s by default.
	RequestTimeout time.Duration
	// Bookmark is how often a watch that is silent asks for the revision it has reached, 5 s by default.
	Bookmark time.Duration
}

// Etcd is the [Backend] on etcd, embedded or external.
type Etcd struct {
	opts     EtcdOptions
	closing  context.Context
	stop     context.CancelCauseFunc
	watching atomic.Int64
	// closeClient closes a client that the backend owns.
	closeClient func() error
	closeOnce   sync.Once
	closeErr    error
}

// NewEtcd returns a backend that uses the client. The client should retry nothing by itself, as one of [DialEtcd] or
// of an embedded member: a hidden second try would tell a wrong outcome.
func NewEtcd(opts EtcdOptions) *Etcd {
	setDefault(&opts.RequestTimeout, 5*time.Second)
	setDefault(&opts.Bookmark, 5*time.Second)
	e := &Etcd{opts: opts}
	e.closing, e.stop = context.WithCancelCause(context.Background())
	return e
}

// call returns the context of one request. It needs a leader: without one etcd refuses at once instead of keeping the
// request until it times out.
func (e *Etcd) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.opts.RequestTimeout, errNoAnswer)
	ctx, end := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	stop := context.AfterFunc(e.closing, func() { end(ErrClosed) })
	return ctx, func() {
		stop()
		end(nil)
		cancel()
	}
}

// usable says whether a request can be sent at all.
func (e *Etcd) usable(ctx context.Context) error {
	if e.closing.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	return nil
}

// Commit implements [Backend].
func (e *Etcd) Commit(ctx context.Context, txn Txn) (Result, error) {
	if err := txn.checkGated(); err != nil {
		return Result{}, err
	}
	if err := e.usable(ctx); err != nil {
		return Result{}, err
	}
	compares := make([]clientv3.Cmp, len(txn.If))
	for i, c := range txn.If {
		compares[i] = etcdCompare(c)
	}
	ops := make([]clientv3.Op, len(txn.Then))
	for i, op := range txn.Then {
		ops[i] = etcdOp(op)
	}
	ctx, cancel := e.call(ctx)
	defer cancel()
	resp, err := e.opts.Client.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		return Result{}, txnError(ctx, err)
	}
	return Result{Committed: resp.Succeeded, Revision: resp.Header.Revision}, nil
}

func etcdCompare(c Compare) clientv3.Cmp {
	target := clientv3.ModRevision(c.Key)
	if c.Field == CreateRevision {
		target = clientv3.CreateRevision(c.Key)
	}
	cmp := clientv3.Compare(target, [...]string{Equal: "=", NotEqual: "!=", Less: "<"}[c.Relation], c.Revision)
	if c.Prefix {
		cmp = cmp.WithPrefix()
	}
	return cmp
}

func etcdOp(op Op) clientv3.Op {
	switch {
	case op.Delete:
		return clientv3.OpDelete(op.Key)
	case op.Lease != 0:
		return clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
	default:
		return clientv3.OpPut(op.Key, string(op.Value))
	}
}

// Close implements [Backend].
func (e *Etcd) Close() error {
	e.closeOnce.Do(func() {
		e.stop(ErrClosed)
		if e.closeClient != nil {
			e.closeErr = e.closeClient()
		}
	})
	if e.closeErr != nil {
		return fmt.Errorf("close etcd client: %w", e.closeErr)
	}
	return nil
}
