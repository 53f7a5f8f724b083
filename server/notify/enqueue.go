package notify

import (
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Enqueue returns the writes that put a notification into the outbox, to be added to the transaction of what it tells
// of. The owner is the session of the replica that commits them, so that it sends at once without a claim of its own;
// nil leaves it to whoever comes first. Name, channel and create time must be set; the messages of one thread and
// channel that one transaction writes are sent in the order of their create times, then opening ones first and
// resolving ones last, then by name. The notification is not changed.
func Enqueue(n *jv1.Notification, owner *jv1.Owner) []store.Op {
	entry := clone(n)
	entry.State = jv1.DeliveryState_DELIVERY_STATE_PENDING
	ops := []store.Op{store.Put(store.OutboxKey(n.GetName()), entry)}
	if owner != nil {
		ops = append(ops, store.Put(store.DeliveryKey(n.GetName()), &recordv1.Delivery{Owner: owner}))
	}
	return ops
}

func clone(n *jv1.Notification) *jv1.Notification {
	return proto.CloneOf(n)
}
