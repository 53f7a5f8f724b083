package store_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// start returns a started store on the backend; both end with the test.
func start(t testing.TB, b store.Backend) *store.Store {
	t.Helper()
	s := store.New(store.Options{Backend: b})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func provider(name string) *jurymastv1.Provider { return &jurymastv1.Provider{Name: name} }

// put commits a provider and returns the revision.
func put(t testing.TB, s *store.Store, name string) int64 {
	t.Helper()
	res, err := s.Commit(context.Background(), store.Txn{Then: []store.Op{store.Put(store.ProviderKey(name), provider(name))}})
	if err != nil || !res.Committed {
		t.Fatalf("put %s: %+v, %v", name, res, err)
	}
	return res.Revision
}

func TestStoreMirrorsWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := start(t, m)
		defer s.Close()
		sub := s.Subscribe([]string{store.Providers}, store.Cursor{})
		defer sub.Close()
		first, err := sub.Next(t.Context())
		if err != nil || !first.Reset || len(first.Events) != 0 {
			t.Fatalf("first update %+v, %v", first, err)
		}
		put(t, s, "a")
		rev := put(t, s, "b")
		if err := s.WaitRevision(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		s.Read(func(v store.View) {
			if got := store.List[*jurymastv1.Provider](v, store.Providers); len(got) != 2 || got[1].Msg.GetName() != "b" || got[1].Mod != rev {
				t.Errorf("mirrored %v", got)
			}
		})
		var seen []string
		for len(seen) < 2 {
			u, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range u.Events {
				seen = append(seen, e.Key)
			}
		}
		if seen[0] != store.ProviderKey("a") || seen[1] != store.ProviderKey("b") {
			t.Errorf("subscriber saw %v", seen)
		}
		if f := s.Freshness(); !f.Live || f.AsOf.IsZero() {
			t.Errorf("freshness %+v", f)
		}
		got, err := store.Fetch[*jurymastv1.Provider](t.Context(), s, store.ProviderKey("a"))
		if err != nil || got.Msg.GetName() != "a" {
			t.Errorf("fetched %+v, %v", got, err)
		}
		time.Sleep(time.Hour) // virtual: sweeps and probes leave a healthy mirror alone
		if !s.Freshness().Live || len(s.Problems()) != 0 {
			t.Errorf("after an hour: %+v, %v", s.Freshness(), s.Problems())
		}
	})
}
