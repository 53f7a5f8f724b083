package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// bubble runs a test in virtual time with a store on a faulty memory.
func bubble(t *testing.T, opts store.Options, test func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		opts.Backend = f
		s := store.New(opts)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, m, f, s)
	})
}

// next takes an update and describes it.
func next(t *testing.T, sub store.Subscription) (store.Update, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	u, err := sub.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if u.Reset {
		out = append(out, "reset")
	}
	for _, e := range u.Events {
		sign := "+"
		if e.Msg == nil {
			sign = "-"
		}
		out = append(out, sign+e.Key[strings.LastIndex(e.Key, "/")+1:])
	}
	return u, strings.Join(out, " ")
}

func want(t *testing.T, sub store.Subscription, want string) store.Update {
	t.Helper()
	u, got := next(t, sub)
	if got != want {
		t.Fatalf("update %q, want %q", got, want)
	}
	return u
}

func TestSlowSubscriberStartsAgain(t *testing.T) {
	bubble(t, store.Options{RingBatches: 4}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		slow := s.Subscribe([]string{store.Providers}, store.Cursor{})
		defer slow.Close()
		want(t, slow, "reset")
		for i := range 3 {
			put(t, s, fmt.Sprint(i))
			synctest.Wait()
		}
		want(t, slow, "+0 +1 +2")
		for i := range 9 {
			put(t, s, fmt.Sprint(i))
			synctest.Wait()
		}
		u := want(t, slow, "reset +0 +1 +2 +3 +4 +5 +6 +7 +8")
		if u.Cursor != s.Cursor() {
			t.Errorf("cursor %+v, store at %+v", u.Cursor, s.Cursor())
		}
		put(t, s, "9")
		want(t, slow, "+9")
	})
}

// TestIdleSubscriberIsNotSlow: what happens elsewhere pushes nobody off the ring who missed nothing.
func TestIdleSubscriberIsNotSlow(t *testing.T) {
	bubble(t, store.Options{RingBatches: 4}, func(t *testing.T, m *store.Memory, _ *storetest.Faulty, s *store.Store) {
		idle := s.Subscribe([]string{store.Channels}, store.Cursor{})
		defer idle.Close()
		want(t, idle, "reset")
		for round := range 3 {
			for i := range 20 {
				put(t, s, fmt.Sprint(i))
				synctest.Wait()
			}
			name := fmt.Sprint("c", round)
			if _, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.ChannelKey(name), provider(name))}}); err != nil {
				t.Fatal(err)
			}
			want(t, idle, "+"+name)
		}
	})
}

func TestRingIsBoundedByBytes(t *testing.T) {
	bubble(t, store.Options{RingBytes: 3000}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
		defer sub.Close()
		cursor := want(t, sub, "reset").Cursor
		for _, name := range []string{"a", "b", "c", "d"} {
			put(t, s, name+strings.Repeat("x", 1000))
			synctest.Wait()
		}
		if _, got := next(t, sub); !strings.HasPrefix(got, "reset") {
			t.Errorf("slow: %.20q", got)
		}
		late := s.Subscribe([]string{store.Providers}, cursor)
		defer late.Close()
		if _, got := next(t, late); !strings.HasPrefix(got, "reset") {
			t.Errorf("late: %.20q", got)
		}
	})
}

func TestCursorResumes(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		first := s.Subscribe([]string{store.Providers}, store.Cursor{})
		put(t, s, "a")
		synctest.Wait()
		cursor := want(t, first, "reset +a").Cursor
		first.Close()
		first.Close()
		if _, err := first.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
		put(t, s, "b")
		put(t, s, "c")
		synctest.Wait()
		second := s.Subscribe([]string{store.Providers}, cursor)
		defer second.Close()
		want(t, second, "+b +c")
		// In the middle of what another replica saw in one go.
		third := s.Subscribe([]string{store.Providers}, store.Cursor{RestoreEpoch: cursor.RestoreEpoch, Revision: cursor.Revision + 1})
		defer third.Close()
		want(t, third, "+c")
	})
}

func TestCursorsThatCanNotResumeStartAgain(t *testing.T) {
	bubble(t, store.Options{RingBatches: 2}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		for i := range 5 {
			put(t, s, fmt.Sprint(i))
			synctest.Wait()
		}
		now := s.Cursor()
		for name, cursor := range map[string]store.Cursor{
			"zero":         {},
			"foreign":      {RestoreEpoch: "000000000000001-abcd", Revision: now.Revision},
			"foreign, far": {RestoreEpoch: "999999999999999-abcd", Revision: now.Revision + 1000},
			"old":          {RestoreEpoch: now.RestoreEpoch, Revision: 1},
		} {
			sub := s.Subscribe([]string{store.Providers}, cursor)
			u, got := next(t, sub)
			if got != "reset +0 +1 +2 +3 +4" || u.Cursor != now {
				t.Errorf("%s: %q at %+v, want a reset at %+v", name, got, u.Cursor, now)
			}
			sub.Close()
		}
	})
}

func TestCursorAheadWaits(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		cursor := s.Cursor()
		f.FilterWatch(func(store.Batch) (store.Batch, bool) { return store.Batch{}, false }) // this replica is behind
		cursor.Revision = put(t, s, "a")
		sub := s.Subscribe([]string{store.Providers}, cursor)
		defer sub.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if u, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("update %+v, %v from a replica that is behind", u, err)
		}
		f.FilterWatch(nil)
		f.BreakWatch()
		if err := s.WaitRevision(t.Context(), cursor.Revision); err != nil {
			t.Fatal(err)
		}
		put(t, s, "b")
		want(t, sub, "+b")
	})
}

func TestBookmarksAdvanceTheCursor(t *testing.T) {
	bubble(t, store.Options{Bookmark: 5 * time.Second}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		sub := s.Subscribe([]string{store.Channels}, store.Cursor{})
		defer sub.Close()
		want(t, sub, "reset")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if u, err := sub.Next(ctx); err == nil {
			t.Fatalf("a bookmark that says nothing new: %+v", u)
		}
		rev := put(t, s, "a")
		began := time.Now()
		if u := want(t, sub, ""); u.Cursor.Revision != rev || u.Reset || time.Since(began) > 5*time.Second {
			t.Errorf("bookmark %+v after %v, want revision %d", u, time.Since(began), rev)
		}
	})
}

func TestSubscriptionsSeeWholePrefixesInOrder(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		all := s.Subscribe([]string{store.ProviderKey("a"), store.Providers, store.Channels, store.Providers}, store.Cursor{})
		one := s.Subscribe([]string{store.ProviderKey("b")}, store.Cursor{})
		defer all.Close()
		defer one.Close()
		want(t, all, "reset")
		want(t, one, "reset")
		commit := func(ops ...store.Op) {
			if _, err := s.Commit(t.Context(), store.Txn{Then: ops}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		commit(store.Put(store.ProviderKey("b"), provider("b")), store.Put(store.ChannelKey("c"), provider("c")), store.Put(store.ProviderKey("a"), provider("a")))
		commit(store.Delete(store.ProviderKey("b")), store.Delete(store.ProviderKey("never")))
		want(t, all, "+b +c +a -b")
		want(t, one, "+b -b")
		fresh := s.Subscribe([]string{store.Providers, store.ProviderKey("a"), store.Channels}, store.Cursor{})
		defer fresh.Close()
		want(t, fresh, "reset +c +a") // by revision, then by key: channels come before providers
	})
}

func TestCloseEndsSubscriptionsAndWaits(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, _ *storetest.Faulty, s *store.Store) {
		ended := make(chan error)
		sub := s.Subscribe([]string{store.Providers}, s.Cursor())
		defer sub.Close()
		go func() {
			_, err := sub.Next(context.Background())
			ended <- err
		}()
		go func() { ended <- s.WaitRevision(context.Background(), 1000) }()
		synctest.Wait()
		s.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, store.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		}
		if _, err := s.Commit(t.Context(), store.Txn{}); !errors.Is(err, store.ErrClosed) {
			t.Errorf("commit: %v", err)
		}
		if err := s.Start(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("start: %v", err)
		}
		if s.Freshness().Live {
			t.Error("live after close")
		}
		s.Close()
	})
}
