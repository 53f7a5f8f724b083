package detect

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// writesVotes tells whether a transaction writes votes.
func writesVotes(txn store.Txn) bool {
	return len(txn.Then) > 0 && strings.HasPrefix(txn.Then[0].Key, store.VotesPrefix)
}

// TestVotesEndWithTheSession: a replica that dies says nothing any more, and one that lost its session says it again.
func TestVotesEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		f := storetest.NewFaulty(m)
		defer f.Close()
		r1, r2 := start(t, f, "r1", over(world)), start(t, m, "r2", over(world))
		r2.put(append(chat(nil), detector(everySecond("probe")))...)
		time.Sleep(2 * time.Second)
		votes := func(replica string) *recordv1.Votes {
			return get[*recordv1.Votes](r2, store.VotesKey("chat", replica))
		}
		if len(votes("r1").GetSignals()) != 2 || len(votes("r2").GetSignals()) != 2 {
			t.Fatalf("votes %v and %v", votes("r1"), votes("r2"))
		}
		if err := f.LoseLeases(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if len(votes("r1").GetSignals()) != 2 {
			t.Errorf("votes after the session was lost: %v", votes("r1"))
		}
		lease := r1.keeper.Current().Lease
		r1.stop()
		time.Sleep(time.Second)
		if votes("r1") != nil || lease == 0 {
			t.Errorf("votes of a replica that has stopped: %v", votes("r1"))
		}
		r2.wantHealth("openai", healthy, EvidenceOK)
	})
}

// TestVotesWithoutAStore: while the store is away probes go on, and what is written when it is back is the newest.
func TestVotesWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1", over(world))
		r.put(append(chat(nil), detector(everySecond("probe")))...)
		time.Sleep(2 * time.Second)
		f.SetDown(true)
		world.set("openai.example", answers(500, ``))
		time.Sleep(time.Minute)
		f.SetDown(false)
		time.Sleep(5 * time.Second)
		r.wantVotes("chat", "azure by probe: ok", "openai by probe: failing")
		r.wantHealth("openai", suspect, OneClassFailing)
	})
}

// TestLateVoteDoesNotOverwriteANewerOne: a write whose outcome is unknown arrives after the next one.
func TestLateVoteDoesNotOverwriteANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1", over(world))
		r.put(append(chat(nil), detector(everySecond("probe")))...)
		time.Sleep(2 * time.Second)
		var delayed atomic.Int32
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if writesVotes(txn) && delayed.Add(1) == 1 {
				return storetest.Fault{Kind: storetest.Delayed, Delay: 7 * time.Second}
			}
			return storetest.Fault{}
		})
		world.set("openai.example", answers(500, ``))
		time.Sleep(2500 * time.Millisecond)
		world.set("openai.example", answers(401, ``))
		time.Sleep(4 * time.Second)
		r.wantVotes("chat", "azure by probe: ok", "openai by probe: ok")
		f.Settle()
		time.Sleep(100 * time.Millisecond)
		r.wantVotes("chat", "azure by probe: ok", "openai by probe: ok")
		if delayed.Load() < 2 {
			t.Error("nothing was delayed")
		}
	})
}

func TestValidity(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 20 * time.Second,
		5 * time.Second:        20 * time.Second,
		15 * time.Second:       45 * time.Second,
		time.Hour:              3 * time.Hour,
	} {
		r := kinds()[0].rhythm(&jv1.Detector{Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{Interval: durationpb.New(interval)}}})
		if r.validity() != want || r.timeout != min(interval, 5*time.Second) {
			t.Errorf("every %v: counts for %v, timeout %v", interval, r.validity(), r.timeout)
		}
	}
}

// TestVotesThatCouldNotBeWrittenAreWrittenSoon: nobody waits for the next probe.
func TestVotesThatCouldNotBeWrittenAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1", over(world))
		var left atomic.Int32
		left.Store(5)
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if writesVotes(txn) && left.Add(-1) >= 0 {
				return storetest.Fault{Kind: storetest.Unavailable}
			}
			return storetest.Fault{}
		})
		r.put(append(chat(nil), detector(probing4(time.Hour, &jv1.Detector{Name: "probe", Service: "chat"})))...)
		time.Sleep(5 * time.Second)
		r.wantVotes("chat", "azure by probe: ok", "openai by probe: ok")
		if left.Load() >= 0 {
			t.Error("nothing failed")
		}
	})
}

// TestWhatCanNotBeSeenRenewsNothing: a vote runs out while the probe can't tell.
func TestWhatCanNotBeSeenRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		r := start(t, m, "r1", over(world))
		d := everySecond("probe")
		d.GetHttp().Failures = 100 // so that the signal stays ok
		r.put(append(chat(nil), detector(d))...)
		time.Sleep(2 * time.Second)
		r.wantHealth("openai", healthy, EvidenceOK)
		world.set("openai.example", fails(syscall.EMFILE))
		time.Sleep(minValidity + time.Second)
		r.wantHealth("openai", unknown, NoEvidence)
		r.wantHealth("azure", healthy, EvidenceOK)
	})
}
