package retention

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// pageSize is how much of a family that is not mirrored is looked at at once.
	pageSize = 500
	// maxPages bounds how many pages in a row are gone through because something in them was past its time.
	maxPages = 20
	// counting is how often families are counted.
	counting = time.Minute
)

// round goes on through the families that are not mirrored, a page of each, and deletes what is past its time. At the
// end of a family it begins anew.
func (r *Retention) round(ctx context.Context) error {
	now := r.o.Now()
	if err := roundOf(ctx, r, "request", store.Requests, func(q *recordv1.Request) bool { return q.GetExpireTime().AsTime().Before(now) }); err != nil {
		return err
	}
	limit := now.Add(-r.o.Age)
	if err := roundOf(ctx, r, "trigger", store.ArchivedTriggers, func(t *jv1.Trigger) bool { return t.GetEndTime().AsTime().Before(limit) }); err != nil {
		return err
	}
	if err := roundOf(ctx, r, "audit", store.Audit, func(a *jv1.AuditEvent) bool {
		return a.GetTime().AsTime().Before(now.Add(-r.o.AuditAge))
	}); err != nil {
		return err
	}
	return r.roundOfRuns(ctx, limit)
}

// roundOf looks at the next page of a family; after one in which something was past its time, at once at the one after.
func roundOf[M proto.Message](ctx context.Context, r *Retention, kind, prefix string, over func(M) bool) error {
	for range maxPages {
		page, more, err := store.Scan[M](ctx, r.o.Store, prefix, r.rounds[prefix], pageSize)
		if err != nil {
			return fmt.Errorf("look through %s: %w", prefix, err)
		}
		var victims []victim
		r.rounds[prefix] = ""
		for _, rec := range page {
			if more {
				r.rounds[prefix] = rec.Key + "\x00"
			}
			if over(rec.Msg) {
				victims = append(victims, victim{kind, rec.Key, rec.Mod})
			}
		}
		found := len(victims) > 0
		if err := r.deleteAll(ctx, victims); err != nil {
			return err
		}
		if !found || !more {
			return nil
		}
	}
	return nil
}

// roundOfRuns is [roundOf] for archived runs, which go with their events.
func (r *Retention) roundOfRuns(ctx context.Context, limit time.Time) error {
	page, more, err := store.Scan[*recordv1.ArchivedRun](ctx, r.o.Store, store.ArchivedRuns, r.rounds[store.ArchivedRuns], pageSize)
	if err != nil {
		return fmt.Errorf("look through the archived runs: %w", err)
	}
	r.rounds[store.ArchivedRuns] = ""
	for _, rec := range page {
		if more {
			r.rounds[store.ArchivedRuns] = rec.Key + "\x00"
		}
		if run := rec.Msg.GetRun(); run.GetEndTime().AsTime().Before(limit) {
			if err := r.forgetRun(ctx, run.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

// reduce brings the families that are not mirrored back to the number that may be kept, the oldest first: ids sort by
// time.
func (r *Retention) reduce(ctx context.Context) error {
	now := r.o.Now()
	if now.Before(r.surplus) {
		return nil
	}
	r.surplus = now.Add(counting)
	for _, f := range []struct {
		kind, prefix string
		keep         int
	}{{"run", store.ArchivedRuns, r.o.Archived}, {"trigger", store.ArchivedTriggers, r.o.Archived}, {"audit", store.Audit, r.o.AuditCount}} {
		n, err := store.Count(ctx, r.o.Store, f.prefix)
		if err != nil {
			return err
		}
		if err := r.deleteOldest(ctx, f.kind, f.prefix, n-f.keep); err != nil {
			return err
		}
	}
	return nil
}

// deleteOldest deletes the first n keys of a family.
func (r *Retention) deleteOldest(ctx context.Context, kind, prefix string, n int) error {
	for n > 0 {
		keys, err := store.Keys(ctx, r.o.Store, prefix, min(n, maxForgotten))
		if err != nil || len(keys) == 0 {
			return err
		}
		n -= len(keys)
		if prefix == store.ArchivedRuns {
			for _, key := range keys {
				if err := r.forgetRun(ctx, key[len(prefix):]); err != nil {
					return err
				}
			}
			continue
		}
		var txn store.Txn
		for _, key := range keys {
			txn.Then = append(txn.Then, store.Delete(key))
		}
		if _, err := r.o.Store.Commit(ctx, txn); err != nil {
			return fmt.Errorf("delete %d of %s: %w", len(keys), prefix, err)
		}
		r.metrics.deleted.WithLabelValues(kind).Add(float64(len(keys)))
	}
	return nil
}
