package engine

import (
	"context"
	"fmt"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// Review puts every live run before a human, after the store was restored: what a run has done since the backup is not
// known, neither to it nor to us. A call that was under way when the backup was taken has an unknown outcome. A run that
// was undoing ends as failed: going on could undo what was put right since. It returns the runs' names, those that
// wait for a human anyway included, and works only while replicas observe: nobody else changes a run meanwhile. Called
// again it goes on where it stopped.
func (e *Engine) Review(ctx context.Context, why string) (names []string, err error) {
	var live []store.Record[*jv1.Run]
	e.o.Store.Read(func(v store.View) {
		for _, r := range store.List[*jv1.Run](v, store.Runs) {
			if !runs.Ended(r.Msg.GetState()) {
				live = append(live, r)
			}
		}
	})
	for _, r := range live {
		if err := e.review(ctx, r, why); err != nil {
			return names, fmt.Errorf("run %s: %w", r.Msg.GetName(), err)
		}
		names = append(names, r.Msg.GetName())
	}
	return names, nil
}

func (e *Engine) review(ctx context.Context, r store.Record[*jv1.Run], why string) error {
	now := e.o.Now()
	var tree *runbooks.Tree
	e.o.Store.Read(func(v store.View) { tree = treeOf(v, r.Msg) })
	events := reviewed(r.Msg, tree != nil, why)
	for i := range events {
		events[i].Time, events[i].Actor = now, audit.From(ctx).Principal
	}
	if len(events) == 0 {
		return nil
	}
	next, stored, err := runs.Fold(r.Msg, tree, events...)
	if err != nil {
		return err
	}
	txn := store.Txn{If: []store.Compare{store.Unchanged(r.Key, r.Mod)}}
	putRun(&txn, next, stored, now)
	if runs.Ended(next.GetState()) {
		e.o.Store.Read(func(v store.View) {
			desk := continuity.Open(v, next.GetService(), now)
			if isLive(next) {
				desk.Confirm() // nobody is left who would
			}
			release(desk, next)
			compares, ops := desk.Txn()
			txn.If, txn.Then = append(txn.If, compares...), append(txn.Then, ops...)
		})
	}
	res, err := e.o.Store.CommitUnderReview(ctx, txn)
	if err != nil {
		return err
	}
	if err := e.o.Store.WaitRevision(ctx, res.Revision); err != nil {
		return err
	}
	if !res.Committed {
		return fmt.Errorf("changed under the review; confirm again: %w", ErrRevision)
	}
	return nil
}

// reviewed decides what happens to a live run after a restore. One whose runbook is not known here, because a newer
// version wrote it, is held, and its steps are left to that version.
func reviewed(run *jv1.Run, known bool, why string) []runs.Event {
	if run.GetState() == jv1.RunState_RUN_STATE_COMPENSATING {
		return []runs.Event{{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_ENDED, State: jv1.RunState_RUN_STATE_FAILED,
			Message: why + " while it was undoing: look which steps are not undone, and undo them by hand",
		}}
	}
	hold := runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_WAITING, Wait: jv1.RunWait_RUN_WAIT_RESUME,
		Message: why + ": look at what the run has done and at what is true now, then resume or cancel it",
	}
	if run.GetWait() == hold.Wait && run.GetWaitText() == hold.Message {
		return nil
	}
	events := []runs.Event{{Kind: jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED, Message: why}}
	for _, s := range run.GetSteps() {
		if known && !runs.StepEnded(s.GetState()) && runs.InFlight(s) {
			events = append(events, runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN, Step: s.GetId(),
				Message: why + " while a call was under way: find out what became of it",
				Error:   "the outcome of the call is not known: " + why,
			})
		}
	}
	return append(events, hold)
}
