package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// An ended run past its retention goes with all its events, also when the first try does not get through.
func TestAnOldRunGoesWithItsEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog()
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		r.commit(
			store.Put(store.RunKey("r-old"), &jv1.Run{
				Name: "r-old", Service: "chat", State: succeeded, EndTime: timestamppb.New(time.Now().Add(-31 * 24 * time.Hour)),
			}),
			store.Put(store.RunEventsKey("r-old", 1), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Run: "r-old", Sequence: 1}}}),
		)
		faulty := storetest.NewFaulty(r.backend)
		var refused atomic.Bool
		faulty.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if len(txn.Then) > 0 && strings.HasPrefix(txn.Then[0].Key, store.RunEventsPrefix) && !refused.Swap(true) {
				return storetest.Fault{Kind: storetest.NoSpace}
			}
			return storetest.Fault{}
		})
		p := r.replica("two", faulty)
		defer p.kill()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !refused.Load() {
			t.Error("nothing was refused")
		}
		if all := r.runs(); len(all) != 0 {
			t.Errorf("runs %v", all)
		}
		events, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix, "", 0)
		if err != nil || len(events) != 0 {
			t.Errorf("events %v, %v", events, err)
		}
	})
}
