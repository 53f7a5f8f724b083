package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// TestCrashBetweenSendAndReceipt cuts a replica off in the moment the receiver has the message. Its successor sends
// the message again under the same id, and it is delivered once.
func TestCrashBetweenSendAndReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		var victim atomic.Pointer[replica]
		box.setAnswer(func(http.ResponseWriter, *http.Request) {
			if r := victim.Swap(nil); r != nil {
				r.crash()
			}
		})
		first := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		victim.Store(first)
		c.enqueue(first.keeper.Current(), message("n-1", "team", "t", open), message("n-2", "team", "t", resolve))
		synctest.Wait()
		if n, claimed := c.stored("n-1"); n.GetState() != pending || !claimed || len(box.got()) != 1 {
			t.Fatalf("before the take-over: %v, claimed %t, received %q", n, claimed, box.got())
		}
		c.replica("r2", notify.Options{Transport: network{"team": box.ServeHTTP}})
		synctest.Wait()
		if got := box.got(); len(got) != 1 {
			t.Fatalf("received %q while the first replica may still live", got)
		}
		began := time.Now()
		for len(box.got()) < 3 && time.Since(began) < time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > sessionTTL+time.Second {
			t.Errorf("the take-over took %s", took)
		}
		time.Sleep(time.Minute) // long enough for whatever the first replica still tries
		if got := box.got(); !slices.Equal(got, []string{"n-1", "n-1", "n-2"}) {
			t.Errorf("received %q, want n-1 twice, then n-2", got)
		}
		if n := c.wantState("n-1", delivered); n.GetAttempts() != 1 {
			t.Errorf("%d attempts are recorded, want the one that was", n.GetAttempts())
		}
		c.wantState("n-2", delivered)
	})
}

// TestRestartOfTheOnlyReplica starts a successor that ends its predecessor's session first, so it need not wait.
func TestRestartOfTheOnlyReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{answer: status(500)}
		c.channel("team")
		first := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(first.keeper.Current(), message("n-1", "team", "t", open))
		synctest.Wait()
		first.crash()
		if n := c.wantState("n-1", pending); n.GetAttempts() != 1 {
			t.Fatalf("%v", n)
		}
		box.setAnswer(nil)
		s := startStore(t, c.memory)
		defer s.Close()
		session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1", TTL: sessionTTL, DeletePredecessors: true})
		if err != nil {
			t.Fatal(err)
		}
		c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		time.Sleep(time.Second)
		if n := c.wantState("n-1", delivered); n.GetAttempts() != 2 {
			t.Errorf("%d attempts", n.GetAttempts())
		}
		if err := session.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestReplicasSendEachNotificationOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 200
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		replicas := []*replica{nil, nil, nil} // the first writer is nobody
		for i := 1; i < len(replicas); i++ {
			replicas[i] = c.replica(fmt.Sprintf("r%d", i), notify.Options{Transport: network{"team": box.ServeHTTP}})
		}
		for i := range messages {
			var session *store.Session
			if r := replicas[i%len(replicas)]; r != nil {
				session = r.keeper.Current()
			}
			c.enqueue(session, message(fmt.Sprintf("n-%03d", i), "team", fmt.Sprintf("t-%d", i%7), update))
		}
		time.Sleep(5 * time.Second)
		got := box.got()
		if len(got) != messages || len(slices.Compact(sorted(slices.Clone(got)))) != messages {
			t.Errorf("%d messages arrived for %d", len(got), messages)
		}
		for thread := range 7 {
			var ids []string
			for _, id := range got {
				var i int
				if _, err := fmt.Sscanf(id, "n-%d", &i); err != nil {
					t.Fatal(err)
				}
				if i%7 == thread {
					ids = append(ids, id)
				}
			}
			if !slices.IsSorted(ids) {
				t.Errorf("thread %d arrived as %q", thread, ids)
			}
		}
		for i := range messages {
			c.wantState(fmt.Sprintf("n-%03d", i), delivered)
		}
	})
}

func TestEntryOfALiveReplicaIsLeftToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		session, err := c.base.OpenSession(t.Context(), store.SessionOptions{Replica: "silent", TTL: sessionTTL})
		if err != nil {
			t.Fatal(err)
		}
		c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(session, message("n-1", "team", "t", open))
		time.Sleep(10 * time.Minute)
		c.wantState("n-1", pending)
		if err := session.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.wantState("n-1", delivered)
	})
}

// TestSessionLostWhileSending takes the session away while the receiver has the message: the receipt is recorded under
// the next session, and nothing is sent twice.
func TestSessionLostWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		box.setAnswer(func(http.ResponseWriter, *http.Request) { time.Sleep(3 * time.Second) })
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		lost := r.keeper.Current()
		c.enqueue(lost, message("n-1", "team", "t", open))
		time.Sleep(time.Second)
		if err := r.backend.LoseLeases(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if now := r.keeper.Current(); now == nil || now.Key == lost.Key {
			t.Fatal("the session was not lost")
		}
		c.wantState("n-1", delivered)
		if got := box.got(); !slices.Equal(got, []string{"n-1"}) {
			t.Errorf("received %q", got)
		}
	})
}

// TestSessionLostAndTakenOver is the same with a replica that is quicker: the message comes twice, as it must, and the
// first replica's late receipt changes nothing.
func TestSessionLostAndTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, slow, quick := newCluster(t), &mailbox{}, &mailbox{}
		slow.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			w.WriteHeader(http.StatusTeapot)
		})
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": slow.ServeHTTP}})
		c.replica("r2", notify.Options{Transport: network{"team": quick.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(time.Second)
		if err := r.backend.LoseLeases(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := c.wantState("n-1", delivered); n.GetAttempts() != 1 || n.GetLastError() != "" {
			t.Errorf("the late record of the first replica shows: %v", n)
		}
		if len(slow.got()) != 1 || len(quick.got()) != 1 {
			t.Errorf("received %q and %q", slow.got(), quick.got())
		}
	})
}

// TestSessionLostInTheMomentOfTheReceipt lets the store forget the session before the replica knows.
func TestSessionLostInTheMomentOfTheReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		lose := sync.OnceFunc(func() {
			if err := r.backend.LoseLeases(context.Background()); err != nil {
				t.Error(err)
			}
		})
		r.backend.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if slices.ContainsFunc(txn.Then, func(op store.Op) bool { return strings.HasPrefix(op.Key, store.Outbox) }) {
				lose()
			}
			return storetest.Fault{}
		})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(10 * time.Second)
		c.wantState("n-1", delivered)
		if got := box.got(); !slices.Equal(got, []string{"n-1"}) {
			t.Errorf("received %q", got)
		}
	})
}

// TestLateRecordDoesNotDisturbASuccessor lets a replica come to its end with a message that another one is sending.
func TestLateRecordDoesNotDisturbASuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, first, second := newCluster(t), &mailbox{}, &mailbox{}
		first.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			w.WriteHeader(http.StatusTeapot)
		})
		second.setAnswer(func(http.ResponseWriter, *http.Request) { time.Sleep(9 * time.Second) })
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": first.ServeHTTP}})
		c.replica("r2", notify.Options{Transport: network{"team": second.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(time.Second)
		if err := r.backend.LoseLeases(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if n := c.wantState("n-1", pending); n.GetAttempts() != 0 {
			t.Errorf("who owns it no longer wrote to it: %v", n)
		}
		time.Sleep(10 * time.Second)
		c.wantState("n-1", delivered)
		if len(first.got()) != 1 || len(second.got()) != 1 {
			t.Errorf("received %q and %q", first.got(), second.got())
		}
	})
}

// TestReceiptsOfUnknownOutcome lets the store lose requests and acknowledgements of the deliverer's transactions.
func TestReceiptsOfUnknownOutcome(t *testing.T) {
	for _, kind := range []storetest.Kind{storetest.Executed, storetest.Dropped, storetest.Delayed, storetest.Unavailable} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, box := newCluster(t), &mailbox{}
				c.channel("team")
				r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
				var met sync.Map // claims and receipts alike, each once
				r.backend.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
					ours := strings.HasPrefix(txn.Witness, store.Outbox) || strings.HasPrefix(txn.Witness, store.Deliveries)
					if _, again := met.LoadOrStore(txn.Witness, true); ours && !again {
						return storetest.Fault{Kind: kind, Delay: 20 * time.Millisecond}
					}
					return storetest.Fault{}
				})
				for i := range 20 {
					c.enqueue(nil, message(fmt.Sprintf("n-%02d", i), "team", "t", update))
				}
				time.Sleep(5 * time.Minute)
				for i := range 20 {
					c.wantState(fmt.Sprintf("n-%02d", i), delivered)
				}
				if got := box.got(); len(got) != 20 || !slices.IsSorted(got) {
					t.Errorf("received %q, want 20 in order", got)
				}
				for i := range 20 {
					_, claim := met.Load(store.DeliveryKey(fmt.Sprintf("n-%02d", i)))
					_, receipt := met.Load(store.OutboxKey(fmt.Sprintf("n-%02d", i)))
					if !claim || !receipt {
						t.Errorf("message %d met no fault: claim %t, receipt %t", i, claim, receipt)
					}
				}
				r.backend.Settle()
			})
		})
	}
}

// TestStoreAwayAfterSending keeps the result of an attempt until the store is back.
func TestStoreAwayAfterSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		var down atomic.Pointer[storetest.Faulty]
		box.setAnswer(func(http.ResponseWriter, *http.Request) { down.Load().SetDown(true) })
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		down.Store(r.backend)
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(time.Minute)
		c.wantState("n-1", pending)
		r.backend.SetDown(false)
		time.Sleep(10 * time.Second)
		c.wantState("n-1", delivered)
		if got := box.got(); len(got) != 1 {
			t.Errorf("received %q", got)
		}
	})
}

// TestWatchThatSwallowsChanges proves the sweep: without any event, a notification is late and not lost.
func TestWatchThatSwallowsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		synctest.Wait()
		r.backend.FilterWatch(func(b store.Batch) (store.Batch, bool) {
			b.Changes = slices.DeleteFunc(slices.Clone(b.Changes), func(ch store.Change) bool { return strings.HasPrefix(ch.Key, store.Outbox) })
			return b, true
		})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(2 * time.Minute)
		c.wantState("n-1", delivered)
	})
}

// TestNoSecretIsLogged fails in every way, with everything in the log.
func TestNoSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		t.Setenv("JURYMAST_TEST_SLACK", "http://hidden-host/services/T0SECRET00/B0SECRET00")
		t.Setenv("JURYMAST_TEST_KEY", "SECRETkey0123456789")
		t.Setenv("JURYMAST_TEST_WHSEC", "whsec_U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU")
		for name, ch := range map[string]*jv1.Channel{
			"slack":     {Kind: &jv1.Channel_Slack{Slack: &jv1.SlackChannel{Url: "env:JURYMAST_TEST_SLACK"}}},
			"pagerduty": {Kind: &jv1.Channel_Pagerduty{Pagerduty: &jv1.PagerDutyChannel{Url: "http://pd", RoutingKey: "env:JURYMAST_TEST_KEY"}}},
			"webhook":   {Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "http://hook/x?token=SECRETtoken", Secret: "env:JURYMAST_TEST_WHSEC"}}},
		} {
			ch.Name = name
			c.write(store.Put(store.ChannelKey(name), ch))
		}
		tell := func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprint(w, r.URL, " ", r.Header)
		}
		r := c.replica("r1", notify.Options{Transport: network{"pd": tell, "hook": tell}}) // and no hidden-host
		c.enqueue(r.keeper.Current(), message("n-1", "slack", "t", open), message("n-2", "pagerduty", "t", open), message("n-3", "webhook", "t", open))
		time.Sleep(10 * time.Minute)
		log := r.log.String()
		if strings.Count(log, "notification not delivered") < 3 {
			t.Fatalf("the log says too little to prove anything: %s", log)
		}
		for _, n := range []string{"n-1", "n-2", "n-3"} {
			stored := c.wantState(n, pending)
			log += stored.String()
		}
		for _, secret := range []string{"SECRET", "hidden-host", "U0VDUkVU", "whsec_"} {
			if strings.Contains(log, secret) {
				t.Errorf("%q shows in the log or in a record", secret)
			}
		}
	})
}
