package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// interrupted runs a scenario; in the moment in which its executor's n-th transaction for the run is about to be
// committed, a human cancels the run elsewhere. It returns the run, its events, and whether there was such a moment.
func interrupted(t *testing.T, s scenario, n int) (run *jv1.Run, events []*jv1.RunEvent, met bool) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = remember()
		r.probes.set("b", 3)
		r.catalog(append(insides(), s.book)...)
		other := r.replica("human", r.backend)
		defer other.kill()
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		f := storetest.NewFaulty(r.backend)
		var count atomic.Int32
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			i := slices.IndexFunc(txn.Then, func(o store.Op) bool { return strings.HasPrefix(o.Key, store.Runs) })
			if i < 0 || int(count.Add(1)) != n {
				return storetest.Fault{}
			}
			name := strings.TrimPrefix(txn.Then[i].Key, store.Runs)
			// A run that is being undone already has nothing to cancel: nothing is said then.
			run, err := other.engine.Cancel(as(r.ctx, "ana"), &jv1.CancelRunRequest{Name: name, Reason: "stop it"})
			met = met || err == nil && run.GetCancelRequested()
			return storetest.Fault{}
		})
		p := r.replica("executor", f)
		defer p.kill()
		d := newDying(r.backend, boundary{})
		s.request(t, r, p, d)
		gw := &gateway{rig: r, name: "gw", queued: 3}
		settle(r, p, d, gw.work)
		time.Sleep(time.Minute)
		synctest.Wait()
		run = r.only()
		batches, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+run.GetName()+"/", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			events = append(events, b.Msg.GetEvents()...)
		}
	})
	return run, events, met
}

// What a human says of a run stands, in whatever moment it is said: the executor's transaction that was decided without it
// does not happen.
func TestWhatAHumanSaysIsNeverOverwritten(t *testing.T) {
	moments := 0
	for _, s := range scenarios() {
		for n := 2; n <= 5; n++ { // the first creates the run
			run, events, met := interrupted(t, s, n)
			if !met {
				break
			}
			moments++
			where := fmt.Sprintf("%s, before transaction %d", s.name, n)
			said := slices.IndexFunc(events, func(e *jv1.RunEvent) bool {
				return e.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED
			})
			if said < 0 || !run.GetCancelRequested() {
				t.Errorf("%s: the cancel is lost: %v", where, events)
				continue
			}
			for i, e := range events {
				if e.GetSequence() != int64(i+1) {
					t.Errorf("%s: event %d stands at %d", where, e.GetSequence(), i+1)
				}
			}
			if run.GetState() != jv1.RunState_RUN_STATE_CANCELED && run.GetState() != failed {
				t.Errorf("%s: the run ended %v", where, run.GetState())
			}
		}
	}
	if moments < 10 {
		t.Errorf("only %d moments", moments)
	}
}
