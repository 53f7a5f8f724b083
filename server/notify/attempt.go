package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// commitTime is how long one transaction is tried before the session is looked at again.
	commitTime = 10 * time.Second
	// storePause is the pause after the store could not be reached.
	storePause = time.Second
	// shortPause is the pause after a compare failed: what made it fail may not be visible everywhere yet.
	shortPause = 100 * time.Millisecond
)

// job is one attempt: what it is about, as the outbox showed it.
type job struct {
	entry     *entry
	claim     claim
	session   *store.Session
	mustClaim bool
	channel   *jv1.Channel // nil when there is none of that name
}

// outcome is what the loop has to know when an attempt ended.
type outcome struct {
	key  string
	lane lane
	// revision that the outbox must have reached before the entry is looked at again.
	revision int64
	// until when the entry is left alone.
	until time.Time
	// reload says that the entry was not what the outbox showed.
	reload bool
}

func ownerOf(s *store.Session) *jv1.Owner {
	if s == nil {
		return nil
	}
	return &jv1.Owner{Session: s.Key, Token: s.Token}
}

// attempt claims the entry where that is needed, sends it and records what became of it.
func (d *Deliverer) attempt(ctx context.Context, j job) outcome {
	o := outcome{key: j.entry.key, lane: laneOf(j.entry.n)}
	claimed := j.claim.mod
	if j.mustClaim {
		result, err := d.take(ctx, j)
		if err != nil {
			d.log.Warn("can't claim a notification", telemetry.KeyError, err, keyNotification, j.entry.n.GetName())
			o.until = d.opts.Now().Add(storePause)
			return o
		}
		if !result.Committed {
			return d.reloaded(ctx, o, result.Revision)
		}
		claimed = result.Revision
	}
	select {
	case <-j.session.Done():
		// Another replica may have taken it over, and it was not sent: it is theirs.
		return d.reloaded(ctx, o, 0)
	case <-ctx.Done():
		return o
	default:
	}
	receipt, failure := d.send(ctx, j)
	if failure != nil && ctx.Err() != nil {
		return o // we were told to stop, which says nothing about the receiver
	}
	next := after(j.entry.n, receipt, failure, d.opts.Now(), chance())
	d.tell(next, failure)
	result, ok := d.record(ctx, j, claimed, next)
	switch {
	case !ok:
		return o
	case !result.Committed:
		return d.reloaded(ctx, o, result.Revision)
	}
	d.metrics.count(next, failure)
	o.revision = result.Revision
	return o
}

// reloaded is the outcome of an attempt that met something else than the outbox showed.
func (d *Deliverer) reloaded(ctx context.Context, o outcome, revision int64) outcome {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	pause := shortPause
	if err := d.opts.Store.WaitRevision(ctx, revision); err != nil {
		pause = storePause
	}
	o.reload, o.until = true, d.opts.Now().Add(pause)
	return o
}

// take claims the entry: as it was seen, for a session that lives, from nobody or from a session that is gone.
func (d *Deliverer) take(ctx context.Context, j job) (store.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	key := store.DeliveryKey(j.entry.n.GetName())
	mine := store.Put(key, &recordv1.Delivery{Owner: ownerOf(j.session)})
	txn := store.Txn{
		If: []store.Compare{
			j.session.Fence(), store.Unchanged(j.entry.key, j.entry.mod), store.Unchanged(key, j.claim.mod),
		},
		Then:    []store.Op{mine},
		Witness: key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, mine.Value) },
	}
	if owner := j.claim.delivery.GetOwner(); owner != nil {
		txn.If = append(txn.If, store.Compare{
			Key: owner.GetSession(), Field: store.CreateRevision, Relation: store.NotEqual, Revision: owner.GetToken(),
		})
	}
	result, err := d.opts.Store.Commit(ctx, txn)
	if err != nil {
		return result, fmt.Errorf("claim: %w", err)
	}
	return result, nil
}

// send makes the attempt through the channel's sender.
func (d *Deliverer) send(ctx context.Context, j job) (receipt string, f *Failure) {
	if j.channel == nil {
		// It may be on its way to be applied again, so this is no reason to give up.
		return "", &Failure{Cause: CauseChannel, Err: fmt.Errorf("there is no channel %q", j.entry.n.GetChannel())}
	}
	sender, err := NewSender(j.channel, d.senders)
	if err != nil {
		return "", failureOf(err)
	}
	receipt, err = sender.Send(ctx, j.entry.n)
	if err != nil {
		return "", failureOf(err)
	}
	return receipt, nil
}

// record stores what became of the entry, unless somebody else claimed it meanwhile. It tries until it knows or ctx
// ends (ok is false): the receiver has the message already, and without the record it would get it again. A session
// that was lost since the claim is no hindrance, as long as nobody else took the entry over.
func (d *Deliverer) record(ctx context.Context, j job, claimed int64, next *jv1.Notification) (result store.Result, ok bool) {
	delivery := store.DeliveryKey(next.GetName())
	put := store.Put(j.entry.key, next)
	txn := store.Txn{
		Then: []store.Op{put}, Witness: j.entry.key,
		Mine: func(value []byte) bool { return bytes.Equal(value, put.Value) },
	}
	if ended(next) {
		txn.Then = append(txn.Then, store.Delete(delivery))
	}
	for {
		session, err := d.opts.Sessions.Wait(ctx)
		if err != nil {
			return store.Result{}, false
		}
		txn.If = []store.Compare{
			session.Fence(), store.Unchanged(j.entry.key, j.entry.mod), store.Unchanged(delivery, claimed),
		}
		result, err = d.commit(ctx, txn)
		switch {
		case err != nil:
			d.log.Warn("can't record a delivery, trying again", telemetry.KeyError, err, keyNotification, next.GetName())
			if errors.Is(err, store.ErrClosed) {
				return store.Result{}, false
			}
		case result.Committed || !d.stillClaimed(ctx, j, claimed, result.Revision):
			return result, true
		}
		// The store is away, or only the fence failed: then a new session is on its way.
		if !pause(ctx, storePause) {
			return store.Result{}, false
		}
	}
}

// stillClaimed tells whether at some revision from the given one on the entry and its claim are what they were.
func (d *Deliverer) stillClaimed(ctx context.Context, j job, claimed, revision int64) (same bool) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	if err := d.opts.Store.WaitRevision(ctx, revision); err != nil {
		return true // not known: the next try will tell
	}
	d.opts.Store.Read(func(v store.View) {
		_, _, entry, _ := v.Lookup(j.entry.key)
		_, _, delivery, _ := v.Lookup(store.DeliveryKey(j.entry.n.GetName()))
		same = entry == j.entry.mod && delivery == claimed
	})
	return same
}

func (d *Deliverer) commit(ctx context.Context, txn store.Txn) (store.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	return d.opts.Store.Commit(ctx, txn)
}

// tell writes to the log what went wrong; what went well is for those who look closely.
func (d *Deliverer) tell(n *jv1.Notification, f *Failure) {
	args := []any{keyNotification, n.GetName(), telemetry.KeyChannel, n.GetChannel(), "attempts", n.GetAttempts()}
	if f == nil {
		d.log.Debug("notification delivered", append(args, "receipt", n.GetReceipt())...)
		return
	}
	args = append(args, telemetry.KeyReason, string(f.Cause), telemetry.KeyError, f)
	if n.GetState() == jv1.DeliveryState_DELIVERY_STATE_DEAD {
		d.log.Error("notification given up", args...)
		return
	}
	d.log.Warn("notification not delivered, trying again", append(args, "next", n.GetNextAttempt().AsTime().Format(time.RFC3339))...)
}

const keyNotification = "notification"

// pause waits; false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
