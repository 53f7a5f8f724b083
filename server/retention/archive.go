package retention

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxMoves and maxMoved bound one moving transaction: a move is a compare and two writes.
	maxMoves = 40
	maxMoved = 512 << 10
	// maxBatches bounds what is moved before other work has its turn.
	maxBatches = 200
)

// move is one record on its way into the archive.
type move struct {
	from, to string
	mod      int64
	msg      proto.Message
	ended    time.Time
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
		for batch := range batches(moves) {
			if err := r.moveBatch(ctx, kind, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveBatch moves some records together. One that was changed meanwhile keeps all of them where they are; the next
// choice sees why.
func (r *Retention) moveBatch(ctx context.Context, kind string, batch []move) error {
	var txn store.Txn
	for _, m := range batch {
		txn.If = append(txn.If, store.Unchanged(m.from, m.mod))
		txn.Then = append(txn.Then, store.Delete(m.from), store.Put(m.to, m.msg))
	}
	res, err := r.o.Store.Commit(ctx, txn)
	if err != nil {
		return fmt.Errorf("archive %d %ss: %w", len(batch), kind, err)
	}
	if res.Committed {
		r.metrics.archived.WithLabelValues(kind).Add(float64(len(batch)))
	}
	return r.o.Store.WaitRevision(ctx, res.Revision)
}

// batches parts moves into what fits one transaction each.
func batches(moves []move) func(yield func([]move) bool) {
	return func(yield func([]move) bool) {
		for len(moves) > 0 {
			n, size := 0, 0
			for n < len(moves) && n < maxMoves && (n == 0 || size < maxMoved) {
				size += proto.Size(moves[n].msg)
				n++
			}
			if n > 1 && size >= maxMoved {
				n--
			}
			if !yield(moves[:n]) {
				return
			}
			moves = moves[n:]
		}
	}
}

// surplusRuns are the ended runs beyond the recent ones, those that ended first before the others.
func (r *Retention) surplusRuns(v store.View) []move {
	var ended []move
	for _, rec := range store.List[*jv1.Run](v, store.Runs) {
		if runs.Ended(rec.Msg.GetState()) {
			ended = append(ended, move{
				from: rec.Key, to: store.ArchivedRunKey(rec.Msg.GetName()), mod: rec.Mod, msg: rec.Msg, ended: rec.Msg.GetEndTime().AsTime(),
			})
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
			ended = append(ended, move{
				from: rec.Key, to: store.ArchivedTriggerKey(rec.Msg.GetName()), mod: rec.Mod, msg: rec.Msg, ended: rec.Msg.GetEndTime().AsTime(),
			})
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
