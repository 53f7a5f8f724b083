package notify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// put is an event that writes a record.
func put(key string, m proto.Message, create, mod int64) store.Event {
	return store.Event{Key: key, Msg: m, CreateRevision: create, ModRevision: mod}
}

func note(name, thread string, kind jv1.NotificationKind) *jv1.Notification {
	return &jv1.Notification{Name: name, Channel: "team", Thread: thread, Kind: kind}
}

func (o *outbox) lineUp(l lane) []string {
	var names []string
	for _, e := range o.lanes[l] {
		names = append(names, e.n.GetName())
	}
	return names
}

func TestLanesAreInOrder(t *testing.T) {
	const (
		opens    = jv1.NotificationKind_NOTIFICATION_KIND_OPEN
		updates  = jv1.NotificationKind_NOTIFICATION_KIND_UPDATE
		resolves = jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE
	)
	later := note("timed-late", "t", opens)
	later.CreateTime = timestamppb.New(time.Unix(2, 0))
	sooner := note("timed-soon", "t", resolves)
	sooner.CreateTime = timestamppb.New(time.Unix(1, 0))
	events := []store.Event{
		put(store.OutboxKey("a"), note("a", "t", resolves), 3, 20), // written first, tried since
		put(store.OutboxKey("r"), note("r", "t", resolves), 5, 5),
		put(store.OutboxKey("notify_10"), note("notify_10", "t", updates), 5, 5),
		put(store.OutboxKey("notify_9"), note("notify_9", "t", updates), 5, 5),
		put(store.OutboxKey("z"), note("z", "t", opens), 5, 5),
		put(store.OutboxKey("timed-late"), later, 6, 6),
		put(store.OutboxKey("timed-soon"), sooner, 6, 6),
		put(store.OutboxKey("last"), note("last", "t", opens), 7, 7),
	}
	want := []string{"a", "z", "notify_9", "notify_10", "r", "timed-soon", "timed-late", "last"}
	for range 20 {
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		o := newOutbox()
		o.apply(store.Update{Reset: true, Events: events, Cursor: store.Cursor{RestoreEpoch: "e", Revision: 20}})
		if got := o.lineUp(lane{channel: "team", thread: "t"}); !slices.Equal(got, want) {
			t.Fatalf("order %q, want %q", got, want)
		}
	}
}

func TestMessagesWithoutThreadStandAlone(t *testing.T) {
	o := newOutbox()
	o.apply(store.Update{Events: []store.Event{
		put(store.OutboxKey("a"), note("a", "", 0), 1, 1),
		put(store.OutboxKey("b"), note("b", "", 0), 2, 2),
		put(store.OutboxKey("c"), note("c", "a", 0), 3, 3), // a thread that is called like a message
	}, Cursor: store.Cursor{Revision: 3}})
	if len(o.lanes) != 3 {
		t.Errorf("lanes %v", o.lanes)
	}
}

func TestOutboxFollowsChanges(t *testing.T) {
	o := newOutbox()
	cursor := func(r int64) store.Cursor { return store.Cursor{RestoreEpoch: "e", Revision: r} }
	key, n := store.OutboxKey("n"), note("n", "t", 0)
	o.apply(store.Update{Reset: true, Cursor: cursor(9), Events: []store.Event{
		put(store.Sessions+"r1/x", &recordv1.Session{}, 2, 2),
		put(store.ChannelKey("team"), &jv1.Channel{Name: "team"}, 3, 3),
		put(key, n, 4, 4),
		put(store.DeliveryKey("n"), &recordv1.Delivery{Owner: &jv1.Owner{Session: "s", Token: 2}}, 4, 4),
	}})
	if o.sessions[store.Sessions+"r1/x"] != 2 || o.channels["team"] == nil || o.claims["n"].mod != 4 || o.counts["team"] != 1 {
		t.Fatalf("%+v", o)
	}
	tried := proto.CloneOf(n)
	tried.Attempts = 1
	o.apply(store.Update{Cursor: cursor(12), Events: []store.Event{put(key, tried, 4, 12)}})
	if e := o.pending[key]; e.mod != 12 || e.n.GetAttempts() != 1 || o.counts["team"] != 1 || len(o.lanes) != 1 {
		t.Fatalf("%+v", e)
	}
	o.apply(store.Update{Cursor: cursor(12), Events: []store.Event{put(key, n, 4, 4)}})
	if o.pending[key].mod != 12 {
		t.Error("an old update was applied again")
	}
	done := proto.CloneOf(n)
	done.State = jv1.DeliveryState_DELIVERY_STATE_DELIVERED
	o.apply(store.Update{Cursor: cursor(15), Events: []store.Event{
		put(key, done, 4, 13),
		{Key: store.DeliveryKey("n"), ModRevision: 13},
		{Key: store.Sessions + "r1/x", ModRevision: 14},
		{Key: store.ChannelKey("team"), ModRevision: 15},
	}})
	if len(o.pending)+len(o.lanes)+len(o.claims)+len(o.sessions)+len(o.channels) != 0 || o.counts["team"] != 0 {
		t.Errorf("left over: %+v", o)
	}
	if _, ok := o.counts["team"]; !ok {
		t.Error("the gauge would never go back to zero")
	}
	o.apply(store.Update{Cursor: cursor(16), Events: []store.Event{put(key, n, 4, 16)}})
	o.apply(store.Update{Cursor: cursor(17), Events: []store.Event{{Key: key, ModRevision: 17}}})
	if len(o.pending)+len(o.lanes) != 0 {
		t.Errorf("left over after a deletion: %+v", o)
	}
	o.apply(store.Update{Reset: true, Cursor: store.Cursor{RestoreEpoch: "restored", Revision: 3}, Events: []store.Event{put(key, n, 3, 3)}})
	if o.pending[key] == nil || o.cursor.Revision != 3 {
		t.Errorf("after a restore: %+v", o)
	}
}

// picture is a view over a few records.
type picture struct {
	revision int64
	events   []store.Event
}

func (p picture) Revision() int64 { return p.revision }

func (p picture) Lookup(key string) (proto.Message, int64, int64, bool) {
	for _, e := range p.events {
		if e.Key == key {
			return e.Msg, e.CreateRevision, e.ModRevision, true
		}
	}
	return nil, 0, 0, false
}

func (p picture) Each(prefix string, f func(string, proto.Message, int64, int64) bool) {
	for _, e := range p.events {
		if len(e.Key) >= len(prefix) && e.Key[:len(prefix)] == prefix && !f(e.Key, e.Msg, e.CreateRevision, e.ModRevision) {
			return
		}
	}
}

func TestReloadIsNeverASetback(t *testing.T) {
	o := newOutbox()
	o.apply(store.Update{Reset: true, Cursor: store.Cursor{RestoreEpoch: "e", Revision: 10}, Events: []store.Event{
		put(store.OutboxKey("n"), note("n", "t", 0), 8, 10),
	}})
	o.reload(picture{revision: 9, events: []store.Event{put(store.OutboxKey("n"), note("n", "t", 0), 8, 8)}})
	if o.pending[store.OutboxKey("n")].mod != 10 {
		t.Error("an older view was taken over")
	}
	o.reload(picture{revision: 12, events: []store.Event{put(store.OutboxKey("m"), note("m", "t", 0), 12, 12)}})
	if o.pending[store.OutboxKey("n")] != nil || o.pending[store.OutboxKey("m")] == nil {
		t.Errorf("after a reload: %+v", o.pending)
	}
	o.apply(store.Update{Cursor: store.Cursor{RestoreEpoch: "e", Revision: 11}, Events: []store.Event{
		put(store.OutboxKey("n"), note("n", "t", 0), 8, 11),
	}})
	if o.pending[store.OutboxKey("n")] != nil {
		t.Error("an update from before the reload was applied")
	}
}

func TestExpired(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var p picture
	add := func(name string, state jv1.DeliveryState, endedAgo time.Duration) {
		n := note(name, "t", 0)
		n.State = state
		if ended(n) {
			n.EndTime = timestamppb.New(now.Add(-endedAgo))
		}
		p.events = append(p.events, put(store.OutboxKey(name), n, 1, int64(len(p.events)+1)))
	}
	add("waiting", jv1.DeliveryState_DELIVERY_STATE_PENDING, 0)
	add("old", jv1.DeliveryState_DELIVERY_STATE_DELIVERED, time.Hour)
	add("old-dead", jv1.DeliveryState_DELIVERY_STATE_DEAD, 2*time.Hour)
	for i := range 5 {
		add(fmt.Sprintf("n-%d", i), jv1.DeliveryState_DELIVERY_STATE_DELIVERED, time.Duration(i)*time.Minute)
	}
	p.events = append(p.events,
		put(store.DeliveryKey("waiting"), &recordv1.Delivery{}, 1, 50), put(store.DeliveryKey("nothing"), &recordv1.Delivery{}, 1, 51))
	got := expired(p, Retention{Age: time.Hour, Count: 3}, now)
	want := []victim{
		{store.OutboxKey("old"), 2},
		{store.OutboxKey("old-dead"), 3},
		{store.OutboxKey("n-4"), 8},
		{store.OutboxKey("n-3"), 7},
		{store.DeliveryKey("nothing"), 51},
	}
	if !slices.Equal(got, want) {
		t.Errorf("expired %v, want %v", got, want)
	}
}
