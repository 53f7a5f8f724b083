package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// pruneBatch bounds one clearing transaction.
const pruneBatch = 50

// sweep looks at everything at an interval, so that a change that was not seen costs only time: watches are hints.
func (e *Engine) sweep(ctx context.Context) {
	t := time.NewTicker(e.o.Sweep)
	defer t.Stop()
	for {
		e.adopt()
		e.wakeAll() // a wake may have been lost, or the clock have jumped under a timer
		for s := range e.allServices() {
			e.pokeTriggers(s)
		}
		if err := e.prune(ctx); err != nil {
			e.trouble(ctx, "sweep", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// prune removes what is past its retention: ended runs with their events and episodes, settled triggers, expired
// cooldowns, reports of epochs in force, and remembered requests. Every removal compares what was read, so that
// several replicas may try.
func (e *Engine) prune(ctx context.Context) error {
	var old []store.Op
	var compares []store.Compare
	now := e.o.Now()
	limit := now.Add(-e.o.Retention)
	drop := func(key string, mod int64) {
		if len(old) < pruneBatch {
			compares = append(compares, store.Unchanged(key, mod))
			old = append(old, store.Delete(key))
		}
	}
	var gone []string
	e.o.Store.Read(func(v store.View) {
		for _, r := range store.List[*jv1.Run](v, store.Runs) {
			if runs.Ended(r.Msg.GetState()) && r.Msg.GetEndTime().AsTime().Before(limit) && len(gone) < pruneBatch/2 {
				gone = append(gone, r.Msg.GetName())
				drop(r.Key, r.Mod)
			}
		}
		for _, t := range store.List[*jv1.Trigger](v, store.Triggers) {
			if t.Msg.GetState() != tsPending && t.Msg.GetEndTime().AsTime().Before(limit) {
				drop(t.Key, t.Mod)
			}
		}
		for _, c := range store.List[*recordv1.Cooldown](v, store.Cooldowns) {
			if c.Msg.GetUntil().AsTime().Before(now) {
				drop(c.Key, c.Mod)
			}
		}
		for _, r := range store.List[*recordv1.InForceReport](v, store.InForce) {
			if r.Msg.GetValidUntil().AsTime().Before(now.Add(-time.Hour)) {
				drop(r.Key, r.Mod)
			}
		}
		for _, ep := range store.List[*recordv1.Episode](v, store.Episodes) {
			if store.Get[*jv1.Run](v, store.RunKey(ep.Msg.GetRun())).Msg == nil {
				drop(ep.Key, ep.Mod)
			}
		}
	})
	// The events go first: nobody would find those of a run that is gone.
	for _, run := range gone {
		if err := e.pruneEvents(ctx, run); err != nil {
			return err
		}
	}
	if len(old) > 0 {
		if _, err := e.o.Store.Commit(ctx, store.Txn{If: compares, Then: old}); err != nil && !errors.Is(err, store.ErrUnknown) {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return e.pruneRequests(ctx, now)
}

func (e *Engine) pruneEvents(ctx context.Context, run string) error {
	for {
		page, more, err := store.Scan[*recordv1.RunEvents](ctx, e.o.Store, store.RunEventsPrefix+run+"/", "", pruneBatch)
		if err != nil || len(page) == 0 {
			return err
		}
		var txn store.Txn
		for _, p := range page {
			txn.Then = append(txn.Then, store.Delete(p.Key))
		}
		if _, err := e.o.Store.Commit(ctx, txn); err != nil {
			return fmt.Errorf("prune events of run %s: %w", run, err)
		}
		if !more {
			return nil
		}
	}
}

// pruneRequests forgets remembered requests whose time is up, a page at a sweep.
func (e *Engine) pruneRequests(ctx context.Context, now time.Time) error {
	page, _, err := store.Scan[*recordv1.Request](ctx, e.o.Store, store.Requests, e.requestsFrom, 500)
	if err != nil {
		return fmt.Errorf("prune requests: %w", err)
	}
	var txn store.Txn
	e.requestsFrom = ""
	for _, p := range page {
		e.requestsFrom = p.Key + "\x00"
		if len(txn.Then) < pruneBatch && p.Msg.GetExpireTime().AsTime().Before(now) {
			txn.If = append(txn.If, store.Unchanged(p.Key, p.Mod))
			txn.Then = append(txn.Then, store.Delete(p.Key))
		}
	}
	if len(page) < 500 {
		e.requestsFrom = ""
	}
	if len(txn.Then) == 0 {
		return nil
	}
	if _, err := e.o.Store.Commit(ctx, txn); err != nil {
		return fmt.Errorf("prune requests: %w", err)
	}
	return nil
}
