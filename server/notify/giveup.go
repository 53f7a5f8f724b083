package notify

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Restored is the outbox of a store that was restored from a backup.
type Restored struct {
	// Store that was restored; nothing is written to it but under a human's review.
	Store *store.Store
	// Now is the clock.
	Now func() time.Time
}

// GiveUp gives everything up that is to be sent, and says why: what stands in a backup as to be sent may have been sent
// after it was taken. It returns the names of those it gave up now. Called again it goes on where it stopped.
func (r Restored) GiveUp(ctx context.Context, why string) (names []string, err error) {
	var pending []store.Record[*jv1.Notification]
	r.Store.Read(func(v store.View) {
		for _, n := range store.List[*jv1.Notification](v, store.Outbox) {
			switch n.Msg.GetState() {
			case jv1.DeliveryState_DELIVERY_STATE_DELIVERED, jv1.DeliveryState_DELIVERY_STATE_DEAD:
			default:
				pending = append(pending, n)
			}
		}
	})
	for _, n := range pending {
		next := proto.CloneOf(n.Msg)
		next.State, next.NextAttempt = jv1.DeliveryState_DELIVERY_STATE_DEAD, nil
		next.LastError, next.EndTime = why, timestamppb.New(r.Now())
		op := store.Put(n.Key, next)
		res, err := r.Store.CommitUnderReview(ctx, store.Txn{
			If: []store.Compare{store.Unchanged(n.Key, n.Mod)}, Then: []store.Op{op}, Witness: n.Key,
			Mine: func(value []byte) bool { return string(value) == string(op.Value) },
		})
		if err != nil {
			return names, fmt.Errorf("give up notification %s: %w", n.Msg.GetName(), err)
		}
		if err := r.Store.WaitRevision(ctx, res.Revision); err != nil {
			return names, err
		}
		if res.Committed {
			names = append(names, n.Msg.GetName())
		}
	}
	return names, nil
}
