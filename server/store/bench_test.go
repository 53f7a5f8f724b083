package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// durable returns a started store on an embedded member that syncs its writes, and its backend.
func durable(b *testing.B) (*store.Store, store.Backend) {
	b.Helper()
	backend := store.NewEtcd(store.EtcdOptions{Client: etcdtest.StartSingle(b, etcdtest.WithFsync()).Client()})
	b.Cleanup(func() { _ = backend.Close() })
	return start(b, backend), backend
}

// BenchmarkFloor measures T, and what the store adds to it: a commit through the store, and until the mirror shows it.
func BenchmarkFloor(b *testing.B) {
	s, backend := durable(b)
	t := storetest.MeasureT(b, backend)
	var commits, mirrored []time.Duration
	revision := int64(0)
	for b.Loop() {
		began := time.Now()
		result, err := s.Commit(b.Context(), claim("a", "1", revision))
		commits = append(commits, time.Since(began))
		if err != nil || !result.Committed {
			b.Fatalf("commit: %+v, %v", result, err)
		}
		revision = result.Revision
		if err := s.WaitRevision(b.Context(), revision); err != nil {
			b.Fatal(err)
		}
		mirrored = append(mirrored, time.Since(began))
	}
	b.ReportMetric(float64(t)/float64(time.Millisecond), "T-ms")
	storetest.ReportRatio(b, "commit", storetest.Median(commits), t)
	storetest.ReportRatio(b, "mirrored", storetest.Median(mirrored), t)
}

// BenchmarkWriters measures throughput with as many writers as a replica has, and more who wait for their turn.
func BenchmarkWriters(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, backend := durable(b)
			t := storetest.MeasureT(b, backend)
			var left atomic.Int64
			left.Store(int64(b.N))
			times := make([][]time.Duration, writers)
			var wait sync.WaitGroup
			b.ResetTimer()
			began := time.Now()
			for w := range writers {
				wait.Go(func() {
					for revision := int64(0); left.Add(-1) >= 0; {
						began := time.Now()
						result, err := s.Commit(b.Context(), claim(fmt.Sprint(w), "1", revision))
						if err != nil || !result.Committed {
							b.Errorf("commit: %+v, %v", result, err)
							return
						}
						revision = result.Revision
						times[w] = append(times[w], time.Since(began))
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "txn/s")
			var all []time.Duration
			for _, part := range times {
				all = append(all, part...)
			}
			storetest.ReportRatio(b, "commit", storetest.Median(all), t)
		})
	}
}

// BenchmarkFanout measures how long it takes from the start of a commit until the last of 10 000 subscribers has it.
// The goal is a median of at most 30 ms.
func BenchmarkFanout(b *testing.B) {
	const subscribers = 10_000
	s, backend := durable(b)
	t := storetest.MeasureT(b, backend)
	ctx, cancel := context.WithCancel(context.Background())
	var seen, subscribed sync.WaitGroup
	var ended sync.WaitGroup
	b.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	subscribed.Add(subscribers)
	for range subscribers {
		ended.Go(func() {
			ctx, cancel := context.WithCancel(ctx) // as every stream has its own
			defer cancel()
			sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
			defer sub.Close()
			if _, err := sub.Next(ctx); err != nil {
				b.Error(err)
			}
			subscribed.Done()
			for {
				u, err := sub.Next(ctx)
				if err != nil {
					return
				}
				for range u.Events {
					seen.Done()
				}
			}
		})
	}
	subscribed.Wait()
	var times []time.Duration
	for b.Loop() {
		seen.Add(subscribers)
		began := time.Now()
		put(b, s, "a")
		seen.Wait()
		times = append(times, time.Since(began))
	}
	storetest.ReportRatio(b, "last-of-10000", storetest.Median(times), t)
}

// BenchmarkPublish measures what a change costs when there are 10 000 subscribers of other keys.
func BenchmarkPublish(b *testing.B) {
	m := store.NewMemory(store.MemoryOptions{Retain: 1000})
	defer m.Close()
	s := start(b, m)
	for i := range 10_000 {
		b.Cleanup(s.Subscribe([]string{store.ContinuityKey(fmt.Sprint(i))}, store.Cursor{}).Close)
	}
	for b.Loop() {
		if err := s.WaitRevision(b.Context(), put(b, s, "a")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead measures reads of a mirror with 20 000 records.
func BenchmarkRead(b *testing.B) {
	m := store.NewMemory(store.MemoryOptions{Retain: 1})
	defer m.Close()
	for i := range 200 {
		var txn store.Txn
		for j := range store.MaxOps {
			name := fmt.Sprintf("%03d/%03d", i, j)
			txn.Then = append(txn.Then, store.Put(store.ProviderKey(name), provider(name)))
		}
		if _, err := m.Commit(b.Context(), txn); err != nil {
			b.Fatal(err)
		}
	}
	s := start(b, m)
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			s.Read(func(v store.View) {
				if store.Get[*jurymastv1.Provider](v, store.ProviderKey("123/045")).Mod == 0 {
					b.Fatal("not there")
				}
			})
		}
	})
	b.Run("list-100", func(b *testing.B) {
		for b.Loop() {
			s.Read(func(v store.View) {
				if n := len(store.List[*jurymastv1.Provider](v, store.Providers+"123/")); n != 100 {
					b.Fatal(n)
				}
			})
		}
	})
}
