package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
)

// TestAWatchMovesBetweenReplicas: a watch that moves from replica to replica of a three-member cluster by its cursor sees
// every revision once and in order, while several write through both and the cluster forgets its history all the time.
func TestAWatchMovesBetweenReplicas(t *testing.T) {
	const writers, writes = 4, 120
	cluster := etcdtest.StartCluster(t, 3)
	var replicas []*store.Store
	for range 2 {
		s := store.New(store.Options{Backend: dial(t, cluster.Endpoints()...)})
		t.Cleanup(s.Close)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var background sync.WaitGroup
	defer background.Wait()
	defer close(stop)
	client := cluster.Client()
	background.Go(func() { compactAlways(ctx, client, stop) })

	var mu sync.Mutex
	committed := map[int64]string{} // key by revision
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			s := replicas[w%len(replicas)]
			for i := range writes {
				op := store.Put(store.ProviderKey(fmt.Sprintf("w%d-%d", w, i%7)), provider(fmt.Sprint(i)))
				result, err := s.Commit(ctx, store.Txn{Then: []store.Op{op}})
				if err != nil || !result.Committed {
					t.Errorf("write: %+v, %v", result, err)
					return
				}
				mu.Lock()
				committed[result.Revision] = op.Key
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writing.Wait()
		close(done)
	}()

	seen := map[int64]string{}
	first := replicas[0].Subscribe([]string{store.Providers}, store.Cursor{})
	u, err := first.Next(ctx)
	if err != nil || !u.Reset {
		t.Fatalf("beginning: %+v, %v", u, err)
	}
	first.Close()
	cursor, last, moves := u.Cursor, int64(0), 0
	for _, e := range u.Events {
		seen[e.ModRevision], last = e.Key, max(last, e.ModRevision)
	}
	for over := false; !over; moves++ {
		sub := replicas[moves%2].Subscribe([]string{store.Providers}, cursor)
		for range 1 + rand.IntN(3) {
			select {
			case <-done:
				over = cursor.Revision >= newest(&mu, committed)
			default:
			}
			if over {
				break
			}
			soon, giveUp := context.WithTimeout(ctx, time.Second)
			u, err := sub.Next(soon)
			giveUp()
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				break // nothing new: look whether all was seen, from the other replica
			}
			if err != nil {
				t.Fatalf("after %d moves, %d of %d seen: %v", moves, len(seen), len(committed), err)
			}
			if u.Reset {
				t.Fatalf("after %d moves: begins again at %+v", moves, u.Cursor)
			}
			for _, e := range u.Events {
				if e.ModRevision <= last {
					t.Fatalf("revision %d after %d: repeated or out of order", e.ModRevision, last)
				}
				seen[e.ModRevision], last = e.Key, e.ModRevision
			}
			cursor = u.Cursor
		}
		sub.Close()
	}
	if moves < 10 {
		t.Errorf("only %d moves: this proves little", moves)
	}
	// Where the history was gone before a replica had heard it, a list bridges the gap: it tells the newest of each key.
	final := map[string]int64{}
	for revision, key := range committed {
		final[key] = max(final[key], revision)
	}
	for key, revision := range final {
		if revision > u.Cursor.Revision && seen[revision] != key {
			t.Errorf("revision %d of %s was lost", revision, key)
		}
	}
	foreign := replicas[1].Subscribe([]string{store.Providers}, store.Cursor{RestoreEpoch: "000000000000001-abcd", Revision: cursor.Revision})
	defer foreign.Close()
	if u, err := foreign.Next(ctx); err != nil || !u.Reset {
		t.Errorf("a cursor of another life goes on: %+v, %v", u, err)
	}
}

// newest is the newest of the revisions that were committed so far.
func newest(mu *sync.Mutex, committed map[int64]string) (revision int64) {
	mu.Lock()
	defer mu.Unlock()
	for r := range committed {
		revision = max(revision, r)
	}
	return revision
}

// compactAlways forgets the history up to the newest revision, until it is stopped.
func compactAlways(ctx context.Context, client *clientv3.Client, stop <-chan struct{}) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		got, err := client.Get(ctx, "\x00", clientv3.WithCountOnly())
		if err != nil || got.Header.Revision == last {
			continue
		}
		last = got.Header.Revision
		_, _ = client.Compact(ctx, last) // one that fails is made up for by the next
	}
}
