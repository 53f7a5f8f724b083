package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

func TestCompactionIsBridgedByAList(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := store.NewMemory(store.MemoryOptions{})
			defer m.Close()
			bridgeCompaction(t, m, m.Compact)
		})
	})
	t.Run("etcd", func(t *testing.T) {
		client := etcdtest.StartSingle(t).Client()
		e := store.NewEtcd(store.EtcdOptions{Client: client})
		defer e.Close()
		bridgeCompaction(t, e, func(revision int64) error {
			_, err := client.Compact(t.Context(), revision)
			return err
		})
	})
}

func bridgeCompaction(t *testing.T, b store.Backend, compact func(int64) error) {
	f := storetest.NewFaulty(b)
	defer f.Close()
	s := store.New(store.Options{Backend: f})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last int64
	for _, name := range []string{"changed", "deleted", "same", "recreated"} {
		last = put(t, s, name)
	}
	if err := s.WaitRevision(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
	defer sub.Close()
	want(t, sub, "reset +changed +deleted +same +recreated")
	f.SetDown(true)
	for _, op := range []store.Op{
		store.Delete(store.ProviderKey("recreated")), store.Put(store.ProviderKey("recreated"), provider("recreated")),
		store.Put(store.ProviderKey("changed"), provider("new")), store.Put(store.ProviderKey("added"), provider("added")),
		store.Put(store.ProviderKey("unseen"), provider("unseen")), store.Delete(store.ProviderKey("unseen")),
		store.Delete(store.ProviderKey("deleted")),
	} {
		result, err := b.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
		if err != nil {
			t.Fatal(err)
		}
		last = result.Revision
	}
	if err := compact(last); err != nil {
		t.Fatal(err)
	}
	f.SetDown(false)
	if u := want(t, sub, "+recreated +changed +added -deleted"); u.Cursor != s.Cursor() || u.Cursor.Revision != last {
		t.Errorf("cursor %+v, store at %d", u.Cursor, last)
	}
	put(t, s, "later")
	want(t, sub, "+later")
}

// TestForeignRevisionsAreReached: in a cluster that is shared with others, the mirror gets past what they do.
func TestForeignRevisionsAreReached(t *testing.T) {
	client := etcdtest.StartSingle(t).Client()
	e := store.NewEtcd(store.EtcdOptions{Client: client})
	defer e.Close()
	s := start(t, e)
	for range 3 {
		resp, err := client.Put(t.Context(), "/foreign/key", "x")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.WaitRevision(t.Context(), resp.Header.Revision); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 4*time.Second { // by itself the watch would ask after 5 s
			t.Errorf("reached after %v", took)
		}
	}
	s.Close()
}

// TestSweepFindsWhatTheWatchLost: an event that never comes costs latency, not correctness.
func TestSweepFindsWhatTheWatchLost(t *testing.T) {
	for name, lost := range map[string]store.Op{
		"change":   store.Put(store.ProviderKey("a"), provider("lost")),
		"addition": store.Put(store.ProviderKey("lost"), provider("lost")),
		"deletion": store.Delete(store.ProviderKey("a")),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
				defer sub.Close()
				put(t, s, "a")
				synctest.Wait()
				want(t, sub, "reset +a")
				f.FilterWatch(func(b store.Batch) (store.Batch, bool) {
					b.Changes = nil
					return b, true
				})
				if _, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{lost}}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				f.FilterWatch(nil)
				time.Sleep(31 * time.Second)
				s.Read(func(v store.View) {
					if d := mirroredPicture(v, store.Providers).diff(stored(t, m, 0, store.Providers)); d != "" {
						t.Error(d)
					}
				})
				if u, _ := next(t, sub); !u.Reset {
					t.Errorf("subscriber was told %+v, want a reset", u)
				}
			})
		})
	}
}

// silentFirst is a backend whose first watch never says anything.
type silentFirst struct {
	store.Backend
	watches atomic.Int64
}

func (b *silentFirst) Watch(ctx context.Context, prefix string, after int64, deliver func(store.Batch)) error {
	if b.watches.Add(1) > 1 {
		return b.Backend.Watch(ctx, prefix, after, deliver)
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestSilentWatchIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		op := store.Put(store.RestoreEpochKey(), store.NewRestoreEpoch(nil, 1)) // Start need not watch to make one
		if _, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{op}}); err != nil {
			t.Fatal(err)
		}
		b := &silentFirst{Backend: m}
		s := start(t, b)
		defer s.Close()
		time.Sleep(time.Minute)
		if n := b.watches.Load(); n != 1 {
			t.Errorf("%d watches while there was nothing to say", n)
		}
		began := time.Now()
		if err := s.WaitRevision(t.Context(), put(t, s, "a")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second || b.watches.Load() != 2 {
			t.Errorf("%d watches, the second one told after %v", b.watches.Load(), took)
		}
	})
}

func TestFreshnessTellsAboutTheStore(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		time.Sleep(time.Minute)
		if now := s.Freshness(); !now.Live || time.Since(now.AsOf) > 2*time.Second {
			t.Errorf("idle store: %+v", now)
		}
		lost := time.Now()
		f.SetDown(true)
		time.Sleep(3 * time.Second)
		if !s.Freshness().Live {
			t.Error("not live after a short silence")
		}
		time.Sleep(time.Minute)
		if now := s.Freshness(); now.Live || now.AsOf.After(lost) || lost.Sub(now.AsOf) > 2*time.Second {
			t.Errorf("a minute after the store was lost: %+v", now)
		}
		s.Read(func(v store.View) {
			if v.Revision() == 0 {
				t.Error("the last picture is gone")
			}
		})
		f.SetDown(false)
		time.Sleep(3 * time.Second)
		if now := s.Freshness(); !now.Live || time.Since(now.AsOf) > 2*time.Second {
			t.Errorf("when it is back: %+v", now)
		}
	})
}

func TestStartWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		f.SetDown(true)
		s := store.New(store.Options{Backend: f})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Start(ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("start without a store: %v", err)
		}
		if s.Freshness().Live {
			t.Error("live without a store")
		}
		later := store.New(store.Options{Backend: f})
		defer later.Close()
		time.AfterFunc(time.Hour, func() { f.SetDown(false) })
		if err := later.Start(t.Context()); err != nil || later.RestoreEpoch() == "" {
			t.Errorf("start: %v, epoch %q", err, later.RestoreEpoch())
		}
	})
}

func TestReplicasAgreeOnTheRestoreEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		epochs := make(chan string)
		for i := range 8 {
			f := storetest.NewFaulty(m)
			t.Cleanup(func() { _ = f.Close() })
			first := true
			f.OnCommit(func(context.Context, store.Txn) storetest.Fault {
				if !first {
					return storetest.Fault{}
				}
				first = false
				return storetest.Fault{Kind: storetest.Kind(i % 4), Delay: 30 * time.Millisecond}
			})
			s := store.New(store.Options{Backend: f})
			t.Cleanup(s.Close)
			go func() {
				if err := s.Start(t.Context()); err != nil {
					t.Error(err)
				}
				epochs <- s.RestoreEpoch()
			}()
		}
		first := <-epochs
		for range 7 {
			if epoch := <-epochs; epoch != first || epoch == "" {
				t.Errorf("epochs %q and %q", first, epoch)
			}
		}
		time.Sleep(time.Minute)
		again := start(t, m)
		defer again.Close()
		if again.RestoreEpoch() != first {
			t.Errorf("epoch %q, before %q", again.RestoreEpoch(), first)
		}
	})
}

func TestRestoreEpochGrows(t *testing.T) {
	first := store.NewRestoreEpoch(nil, 1_763_000_000_000)
	if first.GetNumber() != 1_763_000_000_000 || len(first.GetSuffix()) != 8 {
		t.Errorf("first %v", first)
	}
	// The clock went back, and the same backup was restored twice.
	second, twin := store.NewRestoreEpoch(first, 5), store.NewRestoreEpoch(first, 5)
	if second.GetNumber() != first.GetNumber()+1 || proto.Equal(second, twin) {
		t.Errorf("second %v, twin %v", second, twin)
	}
}

// TestNewRestoreEpochVoidsWhatWasSeen: after a restore everybody starts again, whatever the revisions are.
func TestNewRestoreEpochVoidsWhatWasSeen(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, _ *storetest.Faulty, s *store.Store) {
		sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
		defer sub.Close()
		put(t, s, "a")
		synctest.Wait()
		before := want(t, sub, "reset +a").Cursor
		epoch := store.NewRestoreEpoch(&recordv1.RestoreEpoch{Number: time.Now().UnixMilli()}, 0)
		if _, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.RestoreEpochKey(), epoch)}}); err != nil {
			t.Fatal(err)
		}
		after := want(t, sub, "reset +a").Cursor
		if after.RestoreEpoch <= before.RestoreEpoch || s.RestoreEpoch() != after.RestoreEpoch {
			t.Errorf("epoch %q after %q", after.RestoreEpoch, before.RestoreEpoch)
		}
		old := s.Subscribe([]string{store.Providers}, before)
		defer old.Close()
		want(t, old, "reset +a")
	})
}

// TestStoreThatWentBackIsListedAgain: the revisions of a restored backup are smaller than those seen before.
func TestStoreThatWentBackIsListedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		young, old := store.NewMemory(store.MemoryOptions{}), store.NewMemory(store.MemoryOptions{})
		defer young.Close()
		defer old.Close()
		f := storetest.NewFaulty(young)
		defer f.Close()
		s := start(t, f)
		defer s.Close()
		sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
		defer sub.Close()
		for _, name := range []string{"a", "b", "c", "d"} {
			put(t, s, name)
		}
		synctest.Wait()
		want(t, sub, "reset +a +b +c +d")
		backup := []store.Op{
			store.Put(store.ProviderKey("a"), provider("a")),
			store.Put(store.RestoreEpochKey(), store.NewRestoreEpoch(nil, time.Now().Add(time.Hour).UnixMilli())),
		}
		if _, err := old.Commit(t.Context(), store.Txn{Then: backup}); err != nil {
			t.Fatal(err)
		}
		f.Replace(old)
		u := want(t, sub, "reset +a")
		if u.Cursor.Revision != old.Revision() || u.Cursor.RestoreEpoch != s.RestoreEpoch() {
			t.Errorf("cursor %+v, store at %d", u.Cursor, old.Revision())
		}
	})
}

// What the watch delivers late must not make an old picture look live: a link, or a process, that was held up for a while
// hears first what was said long ago.
func TestOldNewsDoesNotMakeAPictureLive(t *testing.T) {
	bubble(t, store.Options{Probe: time.Second, Stale: 5 * time.Second}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
		rev := put(t, s, "a")
		// As after a pause: nothing is answered for long, then the watch delivers what it had kept, and is slow about it.
		f.OnRange(func(ctx context.Context, _ store.Query) error {
			<-ctx.Done()
			return fmt.Errorf("held up: %w", store.ErrUnavailable)
		})
		f.FilterWatch(func(b store.Batch) (store.Batch, bool) {
			time.Sleep(20 * time.Second)
			return b, true
		})
		for range 10 {
			op := store.Op{Key: store.ProviderKey("a"), Value: store.Seal(provider("b"))}
			result, err := m.Commit(t.Context(), store.Txn{If: []store.Compare{store.Unchanged(op.Key, rev)}, Then: []store.Op{op}})
			if err != nil || !result.Committed {
				t.Fatalf("commit: %+v, %v", result, err)
			}
			rev = result.Revision
			time.Sleep(time.Second)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			s.Read(func(v store.View) {
				if s.Freshness().Live && v.Revision() < rev {
					t.Fatalf("live at revision %d, while %d has been stored for seconds", v.Revision(), rev)
				}
			})
		}
	})
}
