package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
	"github.com/jurymast/jurymast/server/telemetry"
)

// sessionTTL of the replicas in these tests.
const sessionTTL = 10 * time.Second

// network carries requests to handlers by host name, without sockets, so that it works in virtual time.
type network map[string]http.HandlerFunc

// RoundTrip implements http.RoundTripper. A handler that panics with http.ErrAbortHandler resets the connection.
func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, ok := n[r.URL.Host]
	if !ok {
		return nil, errors.New("no such host")
	}
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
			}
		}()
		recorder := httptest.NewRecorder()
		handler(recorder, r)
		answers <- recorder.Result()
	}()
	select {
	case res, ok := <-answers:
		if !ok {
			return nil, errors.New("connection reset")
		}
		return res, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// mailbox is a receiver of webhooks.
type mailbox struct {
	mu     sync.Mutex
	ids    []string
	times  []time.Time
	answer http.HandlerFunc // called after the message was noted; nil: 200
}

func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event struct {
		ID string `json:"id"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil || event.ID != r.Header.Get("Idempotency-Key") || event.ID != r.Header.Get("webhook-id") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.ids = append(m.ids, event.ID)
	m.times = append(m.times, time.Now())
	answer := m.answer
	m.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

func (m *mailbox) got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ids)
}

func (m *mailbox) at() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.times)
}

func (m *mailbox) setAnswer(h http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = h
}

// cluster is a store without replicas.
type cluster struct {
	t       *testing.T
	memory  *store.Memory // nil when the store is etcd
	backend store.Backend
	base    *store.Store // to write with
	// options of the replicas' stores
	options store.Options
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	memory := store.NewMemory(store.MemoryOptions{})
	c := newClusterOn(t, memory)
	c.memory = memory
	return c
}

// newClusterOn closes the backend when the test ends.
func newClusterOn(t *testing.T, b store.Backend) *cluster {
	t.Helper()
	c := &cluster{t: t, backend: b, base: startStore(t, b)}
	t.Cleanup(func() {
		c.base.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func startStore(t *testing.T, b store.Backend) *store.Store {
	t.Helper()
	return startStoreWith(t, store.Options{Backend: b})
}

func startStoreWith(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s := store.New(o)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// write commits and waits until the base sees it.
func (c *cluster) write(ops ...store.Op) {
	c.t.Helper()
	result, err := c.base.Commit(c.t.Context(), store.Txn{Then: ops})
	if err == nil {
		err = c.base.WaitRevision(c.t.Context(), result.Revision)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// channel applies a webhook channel to a host of the network.
func (c *cluster) channel(name string) {
	c.t.Helper()
	c.write(store.Put(store.ChannelKey(name), &jv1.Channel{
		Name: name, Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "http://" + name + "/hook"}},
	}))
}

// enqueue writes notifications as steps do: born claimed by the owner, or by nobody when there is none.
func (c *cluster) enqueue(owner *store.Session, ns ...*jv1.Notification) {
	c.t.Helper()
	var ops []store.Op
	for _, n := range ns {
		if n.GetCreateTime() == nil {
			n.CreateTime = timestamppb.Now()
		}
		n.State, n.NextAttempt = pending, n.GetCreateTime()
		ops = append(ops, store.Put(store.OutboxKey(n.GetName()), n))
		if owner != nil {
			ops = append(ops, store.Put(store.DeliveryKey(n.GetName()), &recordv1.Delivery{
				Owner: &jv1.Owner{Session: owner.Key, Token: owner.Token},
			}))
		}
	}
	c.write(ops...)
}

// stored returns the notification as the backend has it, and whether there is a claim on it.
func (c *cluster) stored(name string) (n *jv1.Notification, claimed bool) {
	c.t.Helper()
	n = &jv1.Notification{}
	if !c.fetch(store.OutboxKey(name), n) {
		return nil, false
	}
	return n, c.fetch(store.DeliveryKey(name), nil)
}

func (c *cluster) fetch(key string, m proto.Message) bool {
	c.t.Helper()
	page, err := c.backend.Range(context.Background(), store.Query{Prefix: key, Before: key + "\x00"})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(page.Entries) == 0 {
		return false
	}
	if m != nil {
		if err := store.Open(page.Entries[0].Value, m); err != nil {
			c.t.Fatal(err)
		}
	}
	return true
}

// wantState fails unless the notification has the state, and no claim when it has ended.
func (c *cluster) wantState(name string, state jv1.DeliveryState) *jv1.Notification {
	c.t.Helper()
	n, claimed := c.stored(name)
	if n.GetState() != state {
		c.t.Fatalf("%s is %v, want %v; last error %q", name, n.GetState(), state, n.GetLastError())
	}
	if pending := state == jv1.DeliveryState_DELIVERY_STATE_PENDING; !pending && (claimed || n.GetEndTime() == nil) {
		c.t.Errorf("%s has ended: claim %t, end time %v", name, claimed, n.GetEndTime())
	}
	return n
}

const (
	pending   = jv1.DeliveryState_DELIVERY_STATE_PENDING
	delivered = jv1.DeliveryState_DELIVERY_STATE_DELIVERED
	dead      = jv1.DeliveryState_DELIVERY_STATE_DEAD
)

// replica is a process with a session and a deliverer.
type replica struct {
	t       *testing.T
	backend *storetest.Faulty
	store   *store.Store
	keeper  *store.Keeper
	log     *syncBuffer
	stops   []func()
}

// replica starts one. The options are completed.
func (c *cluster) replica(name string, o notify.Options) *replica {
	c.t.Helper()
	r := &replica{t: c.t, backend: storetest.NewFaulty(c.backend), log: &syncBuffer{}}
	options := c.options
	options.Backend = r.backend
	r.store = startStoreWith(c.t, options)
	r.keeper = store.NewKeeper(r.store, store.SessionOptions{Replica: name, TTL: sessionTTL})
	r.run(r.keeper.Run)
	if _, err := r.keeper.Wait(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	o.Store, o.Sessions = r.store, r.keeper
	o.Logger = telemetry.NewLogger(telemetry.Options{Level: hclog.Trace, Output: r.log})
	d, err := notify.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	r.run(d.Run)
	c.t.Cleanup(r.stop)
	return r
}

// run starts a part of the replica, to be stopped before those that were started earlier.
func (r *replica) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := f(ctx); err != nil && !errors.Is(err, store.ErrClosed) {
			r.t.Error(err)
		}
	}()
	r.stops = append(r.stops, func() { cancel(); <-ended })
}

// stop ends the replica in good order. Safe to call twice.
func (r *replica) stop() {
	for _, stop := range slices.Backward(r.stops) {
		stop()
	}
	r.stops = nil
	r.store.Close()
}

// crash cuts the replica off from the store for good: nothing it does is stored any more, and its session runs out.
func (r *replica) crash() { r.backend.SetDown(true) }

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// message is a notification of a thread to a channel.
func message(name, channel, thread string, kind jv1.NotificationKind) *jv1.Notification {
	return &jv1.Notification{Name: name, Channel: channel, Thread: thread, Kind: kind, Title: name, Run: "r-1", Step: "notify_1"}
}

const (
	open    = jv1.NotificationKind_NOTIFICATION_KIND_OPEN
	update  = jv1.NotificationKind_NOTIFICATION_KIND_UPDATE
	resolve = jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE
)
