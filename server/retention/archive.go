package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxMoveOps and maxMoved bound one moving transaction.
	maxMoveOps = 90
	maxMoved   = 512 << 10
	// maxReading is how many runs are read at once: about as many as fit one transaction.
	maxReading = 16
	// maxBatches bounds what is moved before other work has its turn.
	maxBatches = 200
)

// move is one record on its way into the archive.
type move struct {
	key     string
	mod     int64
	run     *jv1.Run     // one of these
	trigger *jv1.Trigger // two
	ended   time.Time
}

// archive moves ended runs, then ended triggers, out of the mirror until only the recent ones are there.
func (r *Retention) archive(ctx context.Context) error {
	if err := r.moveAll(ctx, "run", r.surplusRuns); err != nil {
		return err
	}
	return r.moveAll(ctx, "trigger", r.surplusTriggers)
}

// moveAll moves what choose gives, a transaction at a time, until it gives nothing.
func (r *Retention) moveAll(ctx context.Context, kind string, choose func(store.View) []move) error {
	for range maxBatches {
		var moves []move
		r.o.Store.Read(func(v store.View) { moves = choose(v) })
		if len(moves) == 0 {
			return nil
		}
		for len(moves) > 0 {
			n, err := r.moveSome(ctx, kind, moves)
			if err != nil {
				return err
			}
			moves = moves[n:]
		}
	}
	return nil
}

// moveSome moves as many records as fit one transaction, and returns how many it tried. One that was changed meanwhile
// keeps all of them where they are; the next choice sees why.
func (r *Retention) moveSome(ctx context.Context, kind string, moves []move) (n int, err error) {
	var txn store.Txn
	size := 0
	moves = moves[:min(len(moves), maxReading)]
	events, err := r.events(ctx, moves)
	if err != nil {
		return 0, fmt.Errorf("read the events of %d runs: %w", len(moves), err)
	}
	for i, m := range moves {
		ops := r.moving(m, events[i])
		for _, op := range ops {
			size += len(op.Value)
		}
		if n > 0 && (len(txn.Then)+len(ops) > maxMoveOps || size > maxMoved) {
			break
		}
		txn.If = append(txn.If, store.Unchanged(m.key, m.mod))
		txn.Then = append(txn.Then, ops...)
		n++
	}
	res, err := r.o.Store.Commit(ctx, txn)
	if err != nil {
		return 0, fmt.Errorf("archive %d %ss: %w", n, kind, err)
	}
	if res.Committed {
		r.metrics.archived.WithLabelValues(kind).Add(float64(n))
	}
	return n, r.o.Store.WaitRevision(ctx, res.Revision)
}

// events reads side by side the events of the runs among the moves, for each read waits for the store. They change only
// with the run, which is compared.
func (r *Retention) events(ctx context.Context, moves []move) ([][]store.Record[*recordv1.RunEvents], error) {
	out, errs := make([][]store.Record[*recordv1.RunEvents], len(moves)), make([]error, len(moves))
	var group sync.WaitGroup
	for i, m := range moves {
		if m.run == nil {
			continue
		}
		group.Go(func() {
			// One more than can be archived: then they stay where they are.
			out[i], _, errs[i] = store.Scan[*recordv1.RunEvents](ctx, r.o.Store, store.RunEventsPrefix+m.run.GetName()+"/", "", archive.MaxRecords+1)
		})
	}
	group.Wait()
	return out, errors.Join(errs...)
}

// moving returns the writes that move a record.
func (r *Retention) moving(m move, events []store.Record[*recordv1.RunEvents]) []store.Op {
	if m.trigger != nil {
		return archive.PutTrigger(&r.compressor, m.trigger)
	}
	return archive.PutRun(&r.compressor, m.run, events)
}

// surplusRuns are the ended runs beyond the recent ones, those that ended first before the others.
func (r *Retention) surplusRuns(v store.View) []move {
	var ended []move
	for _, rec := range store.List[*jv1.Run](v, store.Runs) {
		if runs.Ended(rec.Msg.GetState()) {
			ended = append(ended, move{key: rec.Key, mod: rec.Mod, run: rec.Msg, ended: rec.Msg.GetEndTime().AsTime()})
		}
	}
	return oldest(ended, r.o.Recent)
}

// surplusTriggers are the triggers beyond the recent ones that are over and that nothing decides on any more.
func (r *Retention) surplusTriggers(v store.View) []move {
	var ended []move
	newest := newestEpisodes(v)
	for _, rec := range store.List[*jv1.Trigger](v, store.Triggers) {
		if newest.triggerOver(v, rec.Msg) {
			ended = append(ended, move{key: rec.Key, mod: rec.Mod, trigger: rec.Msg, ended: rec.Msg.GetEndTime().AsTime()})
		}
	}
	return oldest(ended, r.o.Recent)
}

// oldest leaves the keep newest out.
func oldest(all []move, keep int) []move {
	if len(all) <= keep {
		return nil
	}
	slices.SortStableFunc(all, func(a, b move) int { return a.ended.Compare(b.ended) })
	return all[:len(all)-keep]
}
