package retention

import (
	"context"
	"fmt"
	"slices"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxForgotten bounds one deleting transaction.
	maxForgotten = 90
	// reportGrace is how long a report of epochs in force is shown as gone before it is forgotten.
	reportGrace = time.Hour
)

// victim is a key to be deleted as it was seen.
type victim struct {
	kind string
	key  string
	mod  int64
}

// forget deletes what is mirrored and past its time. Deletions compare what was read, and one that was changed meanwhile
// keeps its transaction back until the next time.
func (r *Retention) forget(ctx context.Context) error {
	var old []string
	var victims []victim
	r.o.Store.Read(func(v store.View) {
		old = r.oldRuns(v)
		victims = r.victims(v)
	})
	for _, name := range old {
		if err := r.forgetRun(ctx, name); err != nil {
			return err
		}
	}
	return r.deleteAll(ctx, victims)
}

// deleteAll deletes victims, as many at a time as fit one transaction.
func (r *Retention) deleteAll(ctx context.Context, victims []victim) error {
	for some := range slices.Chunk(victims, maxForgotten) {
		if err := r.delete(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (r *Retention) delete(ctx context.Context, victims []victim) error {
	var txn store.Txn
	for _, x := range victims {
		txn.If = append(txn.If, store.Unchanged(x.key, x.mod))
		txn.Then = append(txn.Then, store.Delete(x.key))
	}
	res, err := r.o.Store.Commit(ctx, txn)
	if err != nil {
		return fmt.Errorf("delete %d records: %w", len(victims), err)
	}
	if res.Committed {
		for _, x := range victims {
			r.metrics.deleted.WithLabelValues(x.kind).Inc()
		}
	}
	return nil
}

// oldRuns are the mirrored runs whose time is up.
func (r *Retention) oldRuns(v store.View) (names []string) {
	limit := r.o.Now().Add(-r.o.Age)
	for _, rec := range store.List[*jv1.Run](v, store.Runs) {
		if runs.Ended(rec.Msg.GetState()) && rec.Msg.GetEndTime().AsTime().Before(limit) {
			names = append(names, rec.Msg.GetName())
		}
	}
	return names
}

// forgetRun deletes a run with its events. The events go first: nobody would find those of a run that is gone.
func (r *Retention) forgetRun(ctx context.Context, name string) error {
	for {
		keys, err := store.Keys(ctx, r.o.Store, store.RunEventsPrefix+name+"/", maxForgotten)
		if err != nil {
			return err
		}
		var txn store.Txn
		for _, key := range keys {
			txn.Then = append(txn.Then, store.Delete(key))
		}
		last := len(keys) < maxForgotten
		if last {
			txn.Then = append(txn.Then, store.Delete(store.RunKey(name)), store.Delete(store.ArchivedRunKey(name)))
		}
		if _, err := r.o.Store.Commit(ctx, txn); err != nil {
			return fmt.Errorf("delete run %s: %w", name, err)
		}
		if last {
			r.metrics.deleted.WithLabelValues("run").Inc()
			return nil
		}
	}
}

// victims are the other mirrored records whose time is up.
func (r *Retention) victims(v store.View) (out []victim) {
	now := r.o.Now()
	limit := now.Add(-r.o.Age)
	add := func(kind, key string, mod int64, over bool) {
		if over {
			out = append(out, victim{kind, key, mod})
		}
	}
	newest := newestEpisodes(v)
	for _, t := range store.List[*jv1.Trigger](v, store.Triggers) {
		add("trigger", t.Key, t.Mod, newest.triggerOver(v, t.Msg) && t.Msg.GetEndTime().AsTime().Before(limit))
	}
	for _, c := range store.List[*recordv1.Cooldown](v, store.Cooldowns) {
		add("cooldown", c.Key, c.Mod, c.Msg.GetUntil().AsTime().Before(now) && c.Msg.GetForgetTime().AsTime().Before(now))
	}
	for _, s := range store.List[*recordv1.SwitchSlot](v, store.SwitchSlots) {
		add("switch_slot", s.Key, s.Mod, s.Msg.GetExpireTime().AsTime().Before(limit))
	}
	for _, f := range store.List[*recordv1.InForceReport](v, store.InForce) {
		add("in_force", f.Key, f.Mod, f.Msg.GetValidUntil().AsTime().Before(now.Add(-reportGrace)))
	}
	for _, i := range store.List[*jv1.Incident](v, store.Incidents) {
		add("incident", i.Key, i.Mod, i.Msg.GetResolveTime() != nil && i.Msg.GetResolveTime().AsTime().Before(now.Add(-r.o.AuditAge)))
	}
	for _, e := range store.List[*recordv1.Episode](v, store.Episodes) {
		add("episode", e.Key, e.Mod, newest.markOver(v, e))
	}
	return append(out, r.oldRevisions(v)...)
}

// oldRevisions are the revisions of runbooks beyond the newest ones that no live run needs.
func (r *Retention) oldRevisions(v store.View) (out []victim) {
	needed := map[string]bool{}
	for _, rec := range store.List[*jv1.Run](v, store.Runs) {
		if runs.Ended(rec.Msg.GetState()) {
			continue
		}
		needed[store.RunbookRevisionKey(rec.Msg.GetRunbook(), rec.Msg.GetRunbookVersion())] = true
		for name, version := range rec.Msg.GetIncluded() {
			needed[store.RunbookRevisionKey(name, version)] = true
		}
	}
	byName := map[string][]store.Record[*jv1.Runbook]{}
	for _, rec := range store.List[*jv1.Runbook](v, store.RunbookRevisions) {
		byName[rec.Msg.GetName()] = append(byName[rec.Msg.GetName()], rec)
	}
	for _, revisions := range byName {
		// In the order of their keys, which is that of their versions.
		for _, rec := range revisions[:max(0, len(revisions)-r.o.Revisions)] {
			if !needed[rec.Key] {
				out = append(out, victim{"runbook_revision", rec.Key, rec.Mod})
			}
		}
	}
	return out
}
