package notify_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

func TestOwnEntryIsSentAtOnceAndCostsOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		synctest.Wait()
		began, revision := time.Now(), c.memory.Revision()
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		synctest.Wait()
		n := c.wantState("n-1", delivered)
		if n.GetAttempts() != 1 || n.GetReceipt() != "200 OK" || n.GetLastError() != "" || n.GetNextAttempt() != nil {
			t.Errorf("stored %v", n)
		}
		if got := box.got(); !slices.Equal(got, []string{"n-1"}) {
			t.Errorf("received %q", got)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %s", took)
		}
		if spent := c.memory.Revision() - revision; spent != 2 {
			t.Errorf("%d transactions, want 2: the outbox entry and the receipt", spent)
		}
	})
}

func TestUnclaimedEntryIsClaimedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		synctest.Wait()
		revision := c.memory.Revision()
		c.enqueue(nil, message("n-1", "team", "t", open))
		synctest.Wait()
		c.wantState("n-1", delivered)
		if spent := c.memory.Revision() - revision; spent != 3 {
			t.Errorf("%d transactions, want 3: the entry, the claim and the receipt", spent)
		}
	})
}

func TestFailedAttemptsAreRepeatedWithGrowingDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{answer: status(500)}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(time.Hour)
		n := c.wantState("n-1", pending)
		if n.GetLastError() != "the receiver answered 500 Internal Server Error: no" || n.GetEndTime() != nil {
			t.Errorf("stored %v", n)
		}
		times := box.at()
		if int(n.GetAttempts()) != len(times) || len(times) < 15 || len(times) > 40 {
			t.Errorf("%d attempts recorded, %d made in an hour", n.GetAttempts(), len(times))
		}
		for i := 1; i < len(times); i++ {
			longest := min(time.Second<<(i-1), 5*time.Minute)
			if gap := times[i].Sub(times[i-1]); gap < longest/2 || gap > longest+time.Second {
				t.Errorf("delay %d is %s, want %s to %s", i, gap, longest/2, longest)
			}
		}
		box.setAnswer(nil)
		time.Sleep(5 * time.Minute)
		if n := c.wantState("n-1", delivered); int(n.GetAttempts()) != len(times)+1 {
			t.Errorf("%d attempts, want %d", n.GetAttempts(), len(times)+1)
		}
		if ids := slices.Compact(box.got()); len(ids) != 1 {
			t.Errorf("the ids differ: %q", ids)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{answer: status(429, "Retry-After", "120")}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(119 * time.Second)
		box.setAnswer(nil)
		if got := box.got(); len(got) != 1 {
			t.Fatalf("%d attempts before the receiver was ready", len(got))
		}
		time.Sleep(2 * time.Second)
		c.wantState("n-1", delivered)
	})
}

func TestRefusedForGoodIsDeadAndTheThreadGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{answer: status(400)}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		synctest.Wait()
		n := c.wantState("n-1", dead)
		if n.GetAttempts() != 1 || n.GetLastError() != "the receiver answered 400 Bad Request: no" {
			t.Errorf("stored %v", n)
		}
		if !strings.Contains(r.log.String(), "notification given up") {
			t.Errorf("nothing in the log: %s", r.log)
		}
		box.setAnswer(nil)
		c.enqueue(r.keeper.Current(), message("n-2", "team", "t", resolve))
		synctest.Wait()
		c.wantState("n-2", delivered)
	})
}

func TestGivenUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{answer: status(503)}
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open), message("n-2", "team", "t", resolve))
		time.Sleep(24*time.Hour - time.Second)
		c.wantState("n-1", pending)
		time.Sleep(5*time.Minute + time.Second)
		n := c.wantState("n-1", dead)
		if n.GetAttempts() < 200 || n.GetAttempts() > 700 || !strings.Contains(n.GetLastError(), "503") {
			t.Errorf("%d attempts, last error %q", n.GetAttempts(), n.GetLastError())
		}
	})
}

func TestOldEntryThatWasNeverTriedIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		n := message("n-1", "team", "t", open)
		n.CreateTime = timestamppb.New(time.Now().Add(-48 * time.Hour))
		c.enqueue(nil, n)
		c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		synctest.Wait()
		c.wantState("n-1", delivered)
	})
}

func TestOrderWithinThreadAndChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, team, oncall := newCluster(t), &mailbox{}, &mailbox{}
		team.setAnswer(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("webhook-id") == "n-1" && len(team.got()) < 4 {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		c.channel("team")
		c.channel("oncall")
		r := c.replica("r1", notify.Options{Transport: network{"team": team.ServeHTTP, "oncall": oncall.ServeHTTP}})
		session := r.keeper.Current()
		c.enqueue(session, message("n-1", "team", "t", open))
		c.enqueue(session, message("n-2", "team", "t", update))
		// One transaction, written in the wrong order.
		c.enqueue(session, message("n-3-c", "team", "t", resolve), message("n-3-a", "team", "t", update), message("n-3-b", "team", "t", open))
		c.enqueue(session, message("m-1", "team", "other", update), message("m-2", "oncall", "t", update), message("m-3", "team", "", update))
		synctest.Wait()
		for _, name := range []string{"m-1", "m-2", "m-3"} {
			c.wantState(name, delivered) // other threads and channels don't wait
		}
		c.wantState("n-2", pending)
		time.Sleep(time.Minute)
		got := slices.DeleteFunc(team.got(), func(id string) bool { return strings.HasPrefix(id, "m-") })
		if want := []string{"n-1", "n-1", "n-2", "n-3-b", "n-3-a", "n-3-c"}; !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
		c.wantState("n-3-c", delivered)
	})
}

func TestHangingChannelHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, slow, fast := newCluster(t), &mailbox{}, &mailbox{}
		slow.setAnswer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c.channel("slow")
		c.channel("fast")
		r := c.replica("r1", notify.Options{
			Transport: network{"slow": slow.ServeHTTP, "fast": fast.ServeHTTP}, PerChannel: 3, Timeout: 10 * time.Second,
		})
		began := time.Now()
		for i := range 20 {
			c.enqueue(r.keeper.Current(),
				message(fmt.Sprintf("s-%02d", i), "slow", fmt.Sprintf("s-%d", i), open), message(fmt.Sprintf("f-%02d", i), "fast", fmt.Sprintf("f-%d", i), open))
		}
		synctest.Wait()
		if got := fast.got(); len(got) != 20 || time.Since(began) != 0 {
			t.Errorf("the fast channel got %d of 20 after %s", len(got), time.Since(began))
		}
		if got := slow.got(); !slices.Equal(sorted(got), []string{"s-00", "s-01", "s-02"}) {
			t.Errorf("the slow channel is sent %q at a time, want the oldest 3", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n, _ := c.stored("s-00"); n.GetAttempts() != 1 || n.GetLastError() != "no answer within 10s" {
			t.Errorf("stored %v", n)
		}
	})
}

// TestMessageThatChangesWhileItWaits touches the record of a message for which its channel has no room: it is on the
// agenda several times then, and must be sent once.
func TestMessageThatChangesWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		box.setAnswer(func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) })
		c.channel("team")
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}, PerChannel: 2})
		session := r.keeper.Current()
		c.enqueue(session, message("a", "team", "", open), message("b", "team", "", open))
		n := message("n", "team", "", open)
		c.enqueue(session, n)
		for range 3 {
			synctest.Wait()
			n.Details = map[string]string{"touched": time.Now().String()}
			c.write(store.Put(store.OutboxKey("n"), n))
			synctest.Wait()
			c.write(store.Put(store.DeliveryKey("n"), &recordv1.Delivery{Owner: &jv1.Owner{Session: session.Key, Token: session.Token}}))
		}
		time.Sleep(time.Minute)
		c.wantState("n", delivered)
		if got := sorted(box.got()); !slices.Equal(got, []string{"a", "b", "n"}) {
			t.Errorf("received %q", got)
		}
	})
}

// shySessions shows its session only when it is told to.
type shySessions struct {
	*store.Keeper
	shown chan struct{}
}

func (s *shySessions) Current() *store.Session {
	select {
	case <-s.shown:
		return s.Keeper.Current()
	default:
		return nil
	}
}

func (s *shySessions) Wait(ctx context.Context) (*store.Session, error) {
	select {
	case <-s.shown:
		return s.Keeper.Wait(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestSessionIsNoticedAtOnce lets the store show a session before its keeper does: what was left for want of a session
// does not wait for the next sweep.
func TestSessionIsNoticedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		keeper := store.NewKeeper(c.base, store.SessionOptions{Replica: "r1", TTL: sessionTTL})
		sessions := &shySessions{Keeper: keeper, shown: make(chan struct{})}
		d, err := notify.New(notify.Options{Store: c.base, Sessions: sessions, Transport: network{"team": box.ServeHTTP}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { _ = keeper.Run(ctx) })
		parts.Go(func() { _ = d.Run(ctx) })
		defer parts.Wait()
		defer cancel()
		c.enqueue(nil, message("n-1", "team", "t", open))
		time.Sleep(100 * time.Millisecond)
		c.wantState("n-1", pending)
		close(sessions.shown)
		synctest.Wait()
		c.wantState("n-1", delivered)
	})
}

func TestMissingChannelIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}})
		c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open))
		time.Sleep(10 * time.Minute)
		if n := c.wantState("n-1", pending); n.GetLastError() != `there is no channel "team"` {
			t.Errorf("last error %q", n.GetLastError())
		}
		c.channel("team")
		time.Sleep(6 * time.Minute)
		c.wantState("n-1", delivered)
	})
}

func TestStopLetsAttemptsEnd(t *testing.T) {
	for _, test := range []struct {
		name  string
		takes time.Duration
		want  jv1.DeliveryState
	}{
		{"within the grace period", 2 * time.Second, delivered},
		{"not longer", 20 * time.Second, pending},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, box := newCluster(t), &mailbox{}
				box.setAnswer(func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(test.takes):
					case <-r.Context().Done():
					}
				})
				c.channel("team")
				r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}, Timeout: time.Minute})
				c.enqueue(r.keeper.Current(), message("n-1", "team", "t", open), message("n-2", "team", "t", resolve))
				synctest.Wait()
				began := time.Now()
				r.stop()
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("stopping took %s", took)
				}
				if n := c.wantState("n-1", test.want); test.want == pending && n.GetAttempts() != 0 {
					t.Errorf("our own end counts as a failure of the receiver: %v", n)
				}
				if strings.Contains(r.log.String(), "not delivered") {
					t.Errorf("our own end is told as a failure: %s", r.log)
				}
				if len(box.got()) != 1 {
					t.Errorf("received %q: something new was begun", box.got())
				}
			})
		})
	}
}

func TestClosedStoreEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		r := c.replica("r1", notify.Options{Transport: network{}})
		synctest.Wait()
		r.store.Close()
		synctest.Wait()
		r.stop() // hangs when Run did not return
	})
}

func TestOptionsAreRequired(t *testing.T) {
	if _, err := notify.New(notify.Options{}); err == nil {
		t.Error("a deliverer without a store")
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		box.setAnswer(func(w http.ResponseWriter, r *http.Request) {
			switch r.Header.Get("webhook-id") {
			case "bad":
				w.WriteHeader(http.StatusBadRequest)
			case "late":
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		c.channel("team")
		registry := prometheus.NewPedanticRegistry()
		r := c.replica("r1", notify.Options{Transport: network{"team": box.ServeHTTP}, Registry: registry})
		c.enqueue(r.keeper.Current(), message("good", "team", "", open), message("bad", "team", "", open), message("late", "team", "", open))
		synctest.Wait()
		want := map[string]float64{
			"jurymast_notify_dead_total[team]":             1,
			"jurymast_notify_delivered_total[team]":        1,
			"jurymast_notify_delivery_seconds[team]":       1,
			"jurymast_notify_failures_total[refused team]": 1,
			"jurymast_notify_failures_total[server team]":  1,
			"jurymast_notify_pending[team]":                1,
		}
		if got := gathered(t, registry); !maps.Equal(got, want) {
			t.Errorf("metrics %v, want %v", got, want)
		}
		if _, err := notify.New(notify.Options{Store: c.base, Sessions: r.keeper, Registry: registry}); err == nil {
			t.Error("two deliverers share their metrics")
		}
	})
}

func TestRetentionOfEndedNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, box := newCluster(t), &mailbox{}
		c.channel("team")
		r := c.replica("r1", notify.Options{
			Transport: network{"team": box.ServeHTTP}, Retention: notify.Retention{Age: 24 * time.Hour, Count: 150},
		})
		for i := range 400 {
			c.enqueue(r.keeper.Current(), message(fmt.Sprintf("n-%03d", i), "team", "", open))
			time.Sleep(time.Second)
		}
		c.enqueue(nil, message("unsent", "nowhere", "", open))
		c.write(store.Delete(store.OutboxKey("n-399"))) // leaves nothing: it was delivered
		c.enqueue(r.keeper.Current(), message("cut", "nowhere", "", open))
		c.write(store.Delete(store.OutboxKey("cut"))) // leaves its claim
		time.Sleep(2 * time.Hour)
		if n, _ := c.stored("n-248"); n != nil {
			t.Error("more than the newest 150 are kept")
		}
		if n, _ := c.stored("n-249"); n == nil {
			t.Error("one of the newest 150 is gone")
		}
		c.wantState("unsent", pending)
		if c.fetch(store.DeliveryKey("cut"), nil) {
			t.Error("a claim beside nothing is kept")
		}
		time.Sleep(23 * time.Hour)
		if n, _ := c.stored("n-398"); n != nil {
			t.Error("kept for more than a day")
		}
	})
}

// TestPruningSparesWhatChanged changes a record between the look and the deletion.
func TestPruningSparesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		old := message("n-1", "team", "", open)
		old.State, old.EndTime = delivered, timestamppb.Now()
		c.write(store.Put(store.OutboxKey("n-1"), old))
		r := c.replica("r1", notify.Options{Retention: notify.Retention{Age: time.Minute, Interval: time.Hour}})
		change := sync.OnceFunc(func() {
			old.Receipt = "changed"
			c.write(store.Put(store.OutboxKey("n-1"), old))
		})
		r.backend.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if slices.ContainsFunc(txn.Then, func(op store.Op) bool { return op.Delete && op.Key == store.OutboxKey("n-1") }) {
				change()
			}
			return storetest.Fault{}
		})
		time.Sleep(10 * time.Minute)
		if n, _ := c.stored("n-1"); n.GetReceipt() != "changed" {
			t.Fatalf("deleted although it had changed, or never looked at: %v", n)
		}
		time.Sleep(time.Hour)
		if n, _ := c.stored("n-1"); n != nil {
			t.Errorf("the next round left %v", n)
		}
	})
}

// gathered returns the values of counters and gauges, and the counts of histograms, by name and label values.
func gathered(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[fmt.Sprint(family.GetName(), labels)] =
				m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
