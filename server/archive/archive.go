// Package archive knows how runs and triggers are kept once they have ended and left the mirror.
//
// An archived run is one compressed record with all its events, unless there are too many of them: then those stay where
// they were. What is read here comes from the store itself, linearizable.
//
// It never moves or deletes anything by itself: package retention does, in transactions of its own.
package archive

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxEvents is the most bytes of events that are archived within their run.
	maxEvents = 256 << 10
	// pageOfEvents is how many records of events are read at once.
	pageOfEvents = 500
)

// MaxRecords is the most records of events that are archived within their run.
const MaxRecords = 80

// PutRun returns the writes that archive a run that has ended, given all records of its events: the run's archived record,
// and the deletions of what it replaces, [MaxRecords] + 2 at most.
func PutRun(c *store.Compressor, run *jv1.Run, events []store.Record[*recordv1.RunEvents]) []store.Op {
	archived := &recordv1.ArchivedRun{Run: run}
	ops := []store.Op{store.Delete(store.RunKey(run.GetName()))}
	size := 0
	for _, e := range events {
		size += proto.Size(e.Msg)
	}
	if archived.WithEvents = size <= maxEvents && len(events) <= MaxRecords; archived.WithEvents {
		for _, e := range events {
			archived.Events = append(archived.Events, e.Msg.GetEvents()...)
			ops = append(ops, store.Delete(e.Key))
		}
	}
	return append(ops, c.Put(store.ArchivedRunKey(run.GetName()), archived))
}

// PutTrigger returns the writes that archive a trigger that is over.
func PutTrigger(c *store.Compressor, t *jv1.Trigger) []store.Op {
	return []store.Op{store.Delete(store.TriggerKey(t.GetName())), c.Put(store.ArchivedTriggerKey(t.GetName()), t)}
}

// Run returns an archived run; a zero Record with its key (nil message) when there is none of that name. Errors are those
// of [store.Fetch].
func Run(ctx context.Context, s *store.Store, name string) (store.Record[*jv1.Run], error) {
	rec, err := store.Fetch[*recordv1.ArchivedRun](ctx, s, store.ArchivedRunKey(name))
	return runOf(rec), err
}

// Runs returns archived runs against the order of their names, at most limit, of those below the name before (all when
// empty). More tells that there are more. Errors are those of [store.ScanDescending].
func Runs(ctx context.Context, s *store.Store, before string, limit int) (runs []store.Record[*jv1.Run], more bool, err error) {
	page, more, err := store.ScanDescending[*recordv1.ArchivedRun](ctx, s, store.ArchivedRuns, below(store.ArchivedRuns, before), limit)
	for _, rec := range page {
		runs = append(runs, runOf(rec))
	}
	return runs, more, err
}

// Trigger returns an archived trigger; a zero Record with its key (nil message) when there is none of that name.
func Trigger(ctx context.Context, s *store.Store, name string) (store.Record[*jv1.Trigger], error) {
	return store.Fetch[*jv1.Trigger](ctx, s, store.ArchivedTriggerKey(name))
}

// Triggers is [Runs] for triggers.
func Triggers(ctx context.Context, s *store.Store, before string, limit int) ([]store.Record[*jv1.Trigger], bool, error) {
	return store.ScanDescending[*jv1.Trigger](ctx, s, store.ArchivedTriggers, below(store.ArchivedTriggers, before), limit)
}

// Events returns the events of a run after a sequence number, in their order, at most limit, wherever they stand. More
// tells that there are more. A run that is nowhere has none.
func Events(ctx context.Context, s *store.Store, run string, after int64, limit int) (events []*jv1.RunEvent, more bool, err error) {
	rec, err := store.Fetch[*recordv1.ArchivedRun](ctx, s, store.ArchivedRunKey(run))
	if err != nil {
		return nil, false, fmt.Errorf("events of run %s: %w", run, err)
	}
	take := func(all []*jv1.RunEvent) bool {
		for _, e := range all {
			switch {
			case e.GetSequence() <= after:
			case len(events) == limit:
				more = true
				return false
			default:
				events = append(events, e)
			}
		}
		return true
	}
	if rec.Msg.GetWithEvents() {
		take(rec.Msg.GetEvents())
		return events, more, nil
	}
	prefix := store.RunEventsPrefix + run + "/"
	for from := ""; ; {
		page, morePages, err := store.Scan[*recordv1.RunEvents](ctx, s, prefix, from, pageOfEvents)
		if err != nil {
			return nil, false, fmt.Errorf("events of run %s: %w", run, err)
		}
		for _, p := range page {
			if !take(p.Msg.GetEvents()) {
				return events, more, nil
			}
		}
		if !morePages || len(page) == 0 {
			return events, more, nil
		}
		from = page[len(page)-1].Key + "\x00"
	}
}

func runOf(rec store.Record[*recordv1.ArchivedRun]) store.Record[*jv1.Run] {
	return store.Record[*jv1.Run]{Key: rec.Key, Msg: rec.Msg.GetRun(), Create: rec.Create, Mod: rec.Mod}
}

func below(prefix, name string) string {
	if name == "" {
		return ""
	}
	return prefix + name
}
