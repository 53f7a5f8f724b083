package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// A run whose record is seen before its creator knows that it was created is not mistaken for one whose executor was
// lost: its first call is made, and its outcome is known.
func TestARunIsNotAdoptedWhileItIsBeingCreated(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(post("call", once))))
		dying := r.replica("dying", r.backend)
		if err := dying.keeper.Current().Close(r.ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		faulty := storetest.NewFaulty(r.backend)
		p := r.replica("creator", faulty)
		defer func() { p.kill(); dying.kill() }()
		other := dying.keeper.Current()
		for other == nil {
			time.Sleep(10 * time.Millisecond)
			other = dying.keeper.Current()
		}
		var created atomic.Bool
		faulty.OnCommit(func(ctx context.Context, txn store.Txn) storetest.Fault {
			for _, op := range txn.Then {
				if strings.HasPrefix(op.Key, store.Runs) && !created.Swap(true) {
					go func() {
						time.Sleep(time.Millisecond)
						_ = other.Close(ctx)
					}()
					return storetest.Fault{Kind: storetest.Executed}
				}
			}
			return storetest.Fault{}
		})
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// What changes between the moment a run is created and the moment its creator hears of it is not missed.
func TestARunSeesWhatChangedWhileItWasBeingCreated(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		wait := &jv1.Step{Id: "wait", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Until: `health["b"] == "FAILING"`}}}
		r.catalog(book("s", doing(wait)))
		faulty := storetest.NewFaulty(r.backend)
		p := r.replica("creator", faulty)
		defer p.kill()
		var created atomic.Bool
		faulty.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			for _, op := range txn.Then {
				if strings.HasPrefix(op.Key, store.Runs) && !created.Swap(true) {
					time.AfterFunc(time.Millisecond, func() { r.fails("b", 0) })
					return storetest.Fault{Kind: storetest.Executed}
				}
			}
			return storetest.Fault{}
		})
		if _, err := p.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}
