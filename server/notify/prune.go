package notify

import (
	"context"
	"slices"
	"strings"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// Retention says how long notifications are kept after their end. The zero value means the defaults.
type Retention struct {
	// Age is how long after its end a notification is kept. 0: 30 days.
	Age time.Duration
	// Count is how many ended notifications are kept at most, the newest ones. 0: 1000.
	Count int
	// Interval is how often it is looked after; the first time after a tenth of it. 0: 1 min.
	Interval time.Duration
}

func (r Retention) withDefaults() Retention {
	if r.Age <= 0 {
		r.Age = 30 * 24 * time.Hour
	}
	if r.Count <= 0 {
		r.Count = 1000
	}
	if r.Interval <= 0 {
		r.Interval = time.Minute
	}
	return r
}

// victim is a key to be deleted as it was seen.
type victim struct {
	key string
	mod int64
}

// expired returns what the retention no longer keeps: ended notifications that are too old or too many, and claims
// that were left beside nothing.
func expired(v store.View, r Retention, now time.Time) []victim {
	var kept []store.Record[*jv1.Notification]
	var victims []victim
	for _, n := range store.List[*jv1.Notification](v, store.Outbox) {
		switch {
		case !ended(n.Msg):
		case now.Sub(n.Msg.GetEndTime().AsTime()) >= r.Age:
			victims = append(victims, victim{n.Key, n.Mod})
		default:
			kept = append(kept, n)
		}
	}
	if tooMany := len(kept) - r.Count; tooMany > 0 {
		slices.SortStableFunc(kept, func(a, b store.Record[*jv1.Notification]) int {
			return a.Msg.GetEndTime().AsTime().Compare(b.Msg.GetEndTime().AsTime())
		})
		for _, n := range kept[:tooMany] {
			victims = append(victims, victim{n.Key, n.Mod})
		}
	}
	for _, d := range store.List[*recordv1.Delivery](v, store.Deliveries) {
		if _, _, _, ok := v.Lookup(store.OutboxKey(strings.TrimPrefix(d.Key, store.Deliveries))); !ok {
			victims = append(victims, victim{d.Key, d.Mod})
		}
	}
	return victims
}

// pruneAll keeps the retention until ctx ends.
func (d *Deliverer) pruneAll(ctx context.Context) {
	for wait := d.opts.Retention.Interval / 10; pause(ctx, wait); wait = d.opts.Retention.Interval {
		d.prune(ctx)
	}
}

// prune deletes once what is too old. Two replicas that do so at the same time do no harm: what one deleted makes a
// compare of the other fail, and the next round finds the rest.
func (d *Deliverer) prune(ctx context.Context) {
	session := d.opts.Sessions.Current()
	if session == nil {
		return
	}
	var victims []victim
	d.opts.Store.Read(func(v store.View) { victims = expired(v, d.opts.Retention, d.opts.Now()) })
	deleted := 0
	for part := range slices.Chunk(victims, store.MaxOps-1) {
		txn := store.Txn{If: []store.Compare{session.Fence()}}
		for _, v := range part {
			txn.If = append(txn.If, store.Unchanged(v.key, v.mod))
			txn.Then = append(txn.Then, store.Delete(v.key))
		}
		result, err := d.commit(ctx, txn)
		if err != nil {
			d.log.Warn("can't prune notifications", telemetry.KeyError, err)
			return
		}
		if result.Committed {
			deleted += len(part)
		}
	}
	if deleted > 0 {
		d.log.Debug("pruned notifications", telemetry.KeyCount, deleted)
	}
}
