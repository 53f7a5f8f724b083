package client_test

import (
	"sync/atomic"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

	"github.com/jurymast/jurymast/client"
	"github.com/jurymast/jurymast/client/clienttest"
)

// TestAQueueIsReportedWithTheEpoch sees what the application has queued, and hears of it again and again while it drains.
func TestAQueueIsReportedWithTheEpoch(t *testing.T) {
	server := clienttest.New(t)
	st := state("chat", "primary", 1)
	server.Put(st)
	var queued, asked atomic.Int64
	queued.Store(40)
	start(t, client.Options{
		Addresses: []string{server.Address()}, Subscriber: "gw",
		Queues: func() map[string]*jv1.QueueStatus {
			asked.Add(1)
			return map[string]*jv1.QueueStatus{"chat": {Queued: queued.Load()}, "nobody's": {Queued: 1}, "video": nil}
		},
	})
	reported := func() int64 { return server.Queues()["gw"]["chat"].GetQueued() }
	eventually(t, "the queue is reported", func() bool { return reported() == 40 })
	if q := server.Queues()["gw"]; len(q) != 1 || server.Lives()["gw"] != "1000-a" {
		t.Errorf("queues %v of life %q", q, server.Lives()["gw"])
	}
	before := asked.Load()
	st = state("chat", "primary", 2)
	st.Drain = &jv1.Drain{StartRate: "1/s"}
	server.Put(st)
	eventually(t, "the new epoch is reported", func() bool { epochs, _ := server.Reports(); return epochs["gw"]["chat"] == 2 })
	queued.Store(3)
	eventually(t, "what is left while it drains is reported", func() bool { return reported() == 3 })
	if _, calls := server.Reports(); calls > 5 || asked.Load() == before {
		t.Errorf("%d reports, asked %d times", calls, asked.Load())
	}
}
