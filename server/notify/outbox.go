package notify

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// outbox is what is still to be delivered and what decides about it, kept from the changes of the store. It is no
// truth of its own: what it holds names the revisions that a transaction compares.
type outbox struct {
	cursor   store.Cursor
	pending  map[string]*entry // by key
	lanes    map[lane][]*entry // in the order they are to be sent
	counts   map[string]int    // pending entries by channel
	claims   map[string]claim  // by notification
	sessions map[string]int64  // token by key
	channels map[string]*jv1.Channel

	// What changed since takeChanged was called: some lanes, or what concerns all of them.
	changed    map[lane]struct{}
	allChanged bool
}

// prefixes are the families the outbox follows.
func (o *outbox) prefixes() []string {
	return []string{store.Outbox, store.Deliveries, store.Sessions, store.Channels}
}

// entry is a notification that is neither delivered nor dead.
type entry struct {
	key    string
	n      *jv1.Notification
	create int64
	mod    int64
}

// claim is the record beside a notification.
type claim struct {
	delivery *recordv1.Delivery
	mod      int64
}

// lane is what must stay in order: the messages of a thread on a channel. A message without a thread is alone.
type lane struct{ channel, thread, alone string }

func laneOf(n *jv1.Notification) lane {
	if n.GetThread() == "" {
		return lane{channel: n.GetChannel(), alone: n.GetName()}
	}
	return lane{channel: n.GetChannel(), thread: n.GetThread()}
}

func newOutbox() *outbox {
	o := &outbox{counts: map[string]int{}}
	o.clear()
	return o
}

func (o *outbox) clear() {
	o.pending, o.lanes, o.claims = map[string]*entry{}, map[lane][]*entry{}, map[string]claim{}
	o.sessions, o.channels = map[string]int64{}, map[string]*jv1.Channel{}
	o.changed, o.allChanged = map[lane]struct{}{}, true
	for channel := range o.counts {
		o.counts[channel] = 0 // kept, so that a gauge goes back to zero
	}
}

// apply follows an update. One that is older than what was reloaded since is passed over.
func (o *outbox) apply(u store.Update) {
	if u.Cursor.RestoreEpoch == o.cursor.RestoreEpoch && u.Cursor.Revision <= o.cursor.Revision {
		return
	}
	if u.Reset {
		o.clear()
	}
	for _, e := range u.Events {
		o.put(e.Key, e.Msg, e.CreateRevision, e.ModRevision)
	}
	o.cursor = u.Cursor
}

// reload takes everything from a view, unless more is known already.
func (o *outbox) reload(v store.View) {
	if v.Revision() < o.cursor.Revision {
		return
	}
	o.clear()
	for _, prefix := range o.prefixes() {
		v.Each(prefix, func(key string, msg proto.Message, create, mod int64) bool {
			o.put(key, msg, create, mod)
			return true
		})
	}
	o.cursor.Revision = v.Revision()
}

// put takes one record over; a nil message is a deletion.
func (o *outbox) put(key string, msg proto.Message, create, mod int64) {
	switch {
	case strings.HasPrefix(key, store.Outbox):
		n, _ := msg.(*jv1.Notification)
		o.putEntry(key, n, create, mod)
	case strings.HasPrefix(key, store.Deliveries):
		name := strings.TrimPrefix(key, store.Deliveries)
		if d, ok := msg.(*recordv1.Delivery); ok {
			o.claims[name] = claim{delivery: d, mod: mod}
		} else {
			delete(o.claims, name)
		}
		if e, ok := o.pending[store.OutboxKey(name)]; ok {
			o.changed[laneOf(e.n)] = struct{}{}
		}
	case strings.HasPrefix(key, store.Sessions):
		o.allChanged = true
		if msg != nil {
			o.sessions[key] = create
		} else {
			delete(o.sessions, key)
		}
	case strings.HasPrefix(key, store.Channels):
		name := strings.TrimPrefix(key, store.Channels)
		if ch, ok := msg.(*jv1.Channel); ok {
			o.channels[name] = ch
		} else {
			delete(o.channels, name)
		}
	}
}

func (o *outbox) putEntry(key string, n *jv1.Notification, create, mod int64) {
	if old, ok := o.pending[key]; ok {
		l := laneOf(old.n)
		o.changed[l] = struct{}{}
		delete(o.pending, key)
		o.counts[l.channel]--
		o.lanes[l] = slices.DeleteFunc(o.lanes[l], func(e *entry) bool { return e == old })
		if len(o.lanes[l]) == 0 {
			delete(o.lanes, l)
		}
	}
	if n == nil || ended(n) {
		return
	}
	e, l := &entry{key: key, n: n, create: create, mod: mod}, laneOf(n)
	o.changed[l] = struct{}{}
	o.pending[key] = e
	o.counts[l.channel]++
	at, _ := slices.BinarySearchFunc(o.lanes[l], e, inOrder)
	o.lanes[l] = slices.Insert(o.lanes[l], at, e)
}

// takeChanged returns the lanes to look at again; all tells that these are all there are.
func (o *outbox) takeChanged() (lanes iter.Seq[lane], all bool) {
	if o.allChanged {
		o.allChanged = false
		clear(o.changed)
		return maps.Keys(o.lanes), true
	}
	changed := o.changed
	o.changed = map[lane]struct{}{}
	return maps.Keys(changed), false
}

// head is the entry of a lane whose turn it is; nil when the lane is empty.
func (o *outbox) head(l lane) *entry {
	if entries := o.lanes[l]; len(entries) > 0 {
		return entries[0]
	}
	return nil
}

// ended tells whether nothing is to be done about a notification any more.
func ended(n *jv1.Notification) bool {
	return n.GetState() == jv1.DeliveryState_DELIVERY_STATE_DELIVERED || n.GetState() == jv1.DeliveryState_DELIVERY_STATE_DEAD
}

// inOrder compares two entries of a lane. The revision they were written at is the order of facts. What one transaction
// wrote is in the order of its create times, then opening messages come first and resolving ones last, then by name.
func inOrder(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(a.create, b.create),
		a.n.GetCreateTime().AsTime().Compare(b.n.GetCreateTime().AsTime()),
		cmp.Compare(turn(a.n), turn(b.n)),
		cmp.Compare(len(a.key), len(b.key)), // step 2 before step 10
		cmp.Compare(a.key, b.key),
	)
}

func turn(n *jv1.Notification) int {
	switch n.GetKind() {
	case jv1.NotificationKind_NOTIFICATION_KIND_OPEN:
		return 0
	case jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE:
		return 2
	default:
		return 1
	}
}
