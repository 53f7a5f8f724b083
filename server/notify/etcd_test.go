package notify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/store"
)

// TestOverEtcdAndSockets is the calm case with nothing in memory: two replicas, etcd, receivers behind sockets, one of
// which fails at first.
func TestOverEtcdAndSockets(t *testing.T) {
	const messages = 60
	c := newClusterOn(t, store.NewEtcd(store.EtcdOptions{Client: etcdtest.StartSingle(t).Client()}))
	steady, shaky := &mailbox{}, &mailbox{}
	var resets atomic.Int32
	shaky.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
		if resets.Add(1) <= 3 {
			reset(w, nil)
		}
	})
	for name, box := range map[string]*mailbox{"steady": steady, "shaky": shaky} {
		server := httptest.NewServer(http.HandlerFunc(box.ServeHTTP))
		t.Cleanup(server.Close)
		ch := webhookTo(server.URL)
		ch.Name = name
		c.write(store.Put(store.ChannelKey(name), ch))
	}
	transport := notify.NewTransport()
	defer transport.CloseIdleConnections()
	one, two := c.replica("r1", notify.Options{Transport: transport}), c.replica("r2", notify.Options{Transport: transport})
	sessions := []*store.Session{nil, one.keeper.Current(), two.keeper.Current()}
	for i := range messages {
		thread := fmt.Sprintf("t-%d", i%5)
		c.enqueue(sessions[i%len(sessions)],
			message(fmt.Sprintf("a-%02d", i), "steady", thread, update), message(fmt.Sprintf("b-%02d", i), "shaky", thread, update))
	}
	eventually(t, "the last delivery", func() bool {
		for i := range messages {
			a, _ := c.stored(fmt.Sprintf("a-%02d", i))
			b, _ := c.stored(fmt.Sprintf("b-%02d", i))
			if a.GetState() != delivered || b.GetState() != delivered {
				return false
			}
		}
		return true
	})
	if got := steady.got(); len(got) != messages || len(slices.Compact(sorted(got))) != messages {
		t.Errorf("%d messages arrived for %d", len(got), messages)
	}
	if got := shaky.got(); len(got) != messages+3 || len(slices.Compact(sorted(got))) != messages {
		t.Errorf("%d messages arrived for %d and 3 resets", len(got), messages)
	}
	one.stop()
	began := time.Now()
	c.enqueue(sessions[1], message("late", "steady", "t", update)) // owned by a session that is gone
	eventually(t, "the take-over", func() bool { n, _ := c.stored("late"); return n.GetState() == delivered })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("what belongs to nobody was left for %s", took)
	}
}
