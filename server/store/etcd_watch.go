package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// Watch implements [Backend].
func (e *Etcd) Watch(ctx context.Context, prefix string, after int64, deliver func(Batch)) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	defer cancel(nil)
	defer context.AfterFunc(e.closing, func() { cancel(ErrClosed) })()
	if err := e.watchConnection(ctx, cancel); err != nil {
		return e.watchEnd(ctx, err)
	}
	responses := e.opts.Client.Watch(ctx, prefix,
		clientv3.WithPrefix(), clientv3.WithRev(after+1),
		// A revision may be larger than a message; the client puts the fragments together again.
		clientv3.WithFragment(), clientv3.WithProgressNotify())
	e.watching.Add(1)
	defer e.watching.Add(-1)
	bookmark := time.NewTicker(e.opts.Bookmark)
	defer bookmark.Stop()
	for {
		select {
		case <-ctx.Done():
			return e.watchEnd(ctx, nil)
		case <-bookmark.C:
			// etcd tells the revision by itself only every ten minutes.
			if err := e.RequestProgress(ctx); err != nil {
				return e.watchEnd(ctx, err)
			}
		case resp, ok := <-responses:
			if !ok {
				return e.watchEnd(ctx, fmt.Errorf("watch ended: %w", ErrUnavailable))
			}
			if err := resp.Err(); err != nil {
				return e.watchEnd(ctx, fmt.Errorf("watch after revision %d: %w", after, readError(ctx, err)))
			}
			if batch, ok := etcdBatch(&resp); ok {
				deliver(batch)
			}
		}
	}
}

// errDisconnected ends a watch whose connection was lost. The client would go on with the next connection by itself, and
// nobody would ask whether it leads to the same life of the store.
var errDisconnected = fmt.Errorf("connection lost: %w", ErrUnavailable)

// watchConnection ends the watch when there is no connection to any member any more. In process there is none to lose.
func (e *Etcd) watchConnection(ctx context.Context, end context.CancelCauseFunc) error {
	conn := e.opts.Client.ActiveConnection()
	if conn == nil {
		return nil
	}
	state := conn.GetState()
	for state == connectivity.Idle || state == connectivity.Connecting {
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
		state = conn.GetState()
	}
	if state != connectivity.Ready {
		return errDisconnected
	}
	go func() {
		if conn.WaitForStateChange(ctx, connectivity.Ready) {
			end(errDisconnected)
		}
	}()
	return nil
}

// watchEnd tells why a watch ended. When it was told to end, chance decides what is noticed first.
func (e *Etcd) watchEnd(ctx context.Context, err error) error {
	switch {
	case e.closing.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return err
	}
}

// etcdBatch translates a response; ok is false when it says nothing.
func etcdBatch(resp *clientv3.WatchResponse) (batch Batch, ok bool) {
	if resp.IsProgressNotify() {
		return Batch{Revision: resp.Header.Revision}, true
	}
	if len(resp.Events) == 0 {
		return Batch{}, false
	}
	batch.Changes = make([]Change, 0, len(resp.Events))
	for _, ev := range resp.Events {
		if ev.Type == clientv3.EventTypeDelete {
			batch.Changes = append(batch.Changes, Change{
				Entry: Entry{Key: string(ev.Kv.Key), ModRevision: ev.Kv.ModRevision}, Deleted: true,
			})
			continue
		}
		batch.Changes = append(batch.Changes, Change{Entry: etcdEntry(ev.Kv, false)})
	}
	// Not the header's revision: that is how far the member was, and the events in between may follow.
	batch.Revision = batch.Changes[len(batch.Changes)-1].ModRevision
	return batch, true
}

// RequestProgress asks for a bookmark of the watches under way.
func (e *Etcd) RequestProgress(ctx context.Context) error {
	if e.watching.Load() == 0 {
		return nil
	}
	ctx, cancel := e.call(ctx)
	defer cancel()
	if err := e.opts.Client.RequestProgress(ctx); err != nil {
		return readError(ctx, err)
	}
	return nil
}
