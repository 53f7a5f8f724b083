package store_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// picture is what is stored in the mirrored families, by key: value and both revisions.
type picture map[string]string

func describe(msg proto.Message, create, mod int64) string {
	return fmt.Sprintf("%x@%d,%d", store.Seal(msg), create, mod)
}

// stored reads the picture of a revision from the backend itself.
func stored(t rapid.TB, m *store.Memory, revision int64, prefixes ...string) picture {
	p := picture{}
	for _, prefix := range prefixes {
		page, err := m.Range(context.Background(), store.Query{Prefix: prefix, Revision: revision})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			msg := new(jurymastv1.Provider)
			if err := store.Open(e.Value, msg); err != nil {
				continue
			}
			p[e.Key] = describe(msg, e.CreateRevision, e.ModRevision)
		}
	}
	return p
}

// mirroredPicture reads the same from a view.
func mirroredPicture(v store.View, prefixes ...string) picture {
	p := picture{}
	for _, prefix := range prefixes {
		v.Each(prefix, func(key string, msg proto.Message, create, mod int64) bool {
			p[key] = describe(msg, create, mod)
			return true
		})
	}
	return p
}

func (p picture) diff(want picture) string {
	for key, v := range want {
		if p[key] != v {
			return fmt.Sprintf("%s: %q, want %q", key, p[key], v)
		}
	}
	for key, v := range p {
		if want[key] == "" {
			return fmt.Sprintf("%s: %q, want nothing", key, v)
		}
	}
	return ""
}

// follower applies a subscription's updates, and checks after each one that it knows exactly what was stored at the
// revision of its cursor.
type follower struct {
	sub      store.Subscription
	prefixes []string
	known    picture
	cursor   store.Cursor
	resets   int
}

func follow(s *store.Store, from store.Cursor, prefixes ...string) *follower {
	return &follower{sub: s.Subscribe(prefixes, from), prefixes: prefixes, known: picture{}, cursor: from}
}

// upTo takes updates until the cursor has reached a revision.
func (f *follower) upTo(t rapid.TB, m *store.Memory, revision int64) {
	for f.cursor.Revision < revision {
		u, err := f.sub.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		f.apply(t, u)
		if want := stored(t, m, u.Cursor.Revision, f.prefixes...); f.known.diff(want) != "" {
			t.Fatalf("at %+v: %s", u.Cursor, f.known.diff(want))
		}
	}
}

func (f *follower) apply(t rapid.TB, u store.Update) {
	switch {
	case u.Reset:
		f.known, f.resets = picture{}, f.resets+1
	case u.Cursor.Revision < f.cursor.Revision:
		t.Fatalf("cursor went back from %+v to %+v", f.cursor, u.Cursor)
	}
	f.cursor = u.Cursor
	last := int64(0)
	for _, e := range u.Events {
		if e.ModRevision < last {
			t.Fatalf("events out of order: %d after %d", e.ModRevision, last)
		}
		last = e.ModRevision
		if e.Msg == nil {
			delete(f.known, e.Key)
			continue
		}
		f.known[e.Key] = describe(e.Msg, e.CreateRevision, e.ModRevision)
	}
}

// TestMirrorFollowsTheStore does random things to the store and to the watch, and checks the mirror, a subscriber that
// stays and one that comes back with its cursor.
func TestMirrorFollowsTheStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := store.NewMemory(store.MemoryOptions{})
			defer m.Close()
			f := storetest.NewFaulty(m)
			defer f.Close()
			s := store.New(store.Options{Backend: f, RingBatches: 4, Sweep: 24 * time.Hour})
			if err := s.Start(t.Context()); err != nil {
				rt.Fatal(err)
			}
			defer s.Close()
			stays := follow(s, store.Cursor{}, store.Providers, store.Channels)
			defer stays.sub.Close()
			returns := follow(s, store.Cursor{}, store.Providers)
			compacted := false
			for range rapid.IntRange(10, 80).Draw(rt, "steps") {
				compacted = step(t, rt, m, f) || compacted
				if rapid.IntRange(0, 3).Draw(rt, "look") > 0 {
					continue
				}
				f.SetDown(false)
				if !compacted { // then every revision can still be read
					stays.upTo(rt, m, m.Revision())
					returns.upTo(rt, m, m.Revision())
					returns.sub.Close()
					returns.sub = s.Subscribe(returns.prefixes, returns.cursor)
				}
			}
			returns.sub.Close()
			f.SetDown(false)
			if err := s.WaitRevision(t.Context(), m.Revision()); err != nil {
				rt.Fatal(err)
			}
			now := m.Revision()
			s.Read(func(v store.View) {
				if v.Revision() != now {
					rt.Fatalf("mirror at %d, store at %d", v.Revision(), now)
				}
				all := []string{store.Providers, store.Channels}
				if d := mirroredPicture(v, all...).diff(stored(rt, m, 0, all...)); d != "" {
					rt.Fatal(d)
				}
			})
			for stays.cursor.Revision < now {
				u, err := stays.sub.Next(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				stays.apply(rt, u)
			}
			if d := stays.known.diff(stored(rt, m, 0, stays.prefixes...)); d != "" {
				rt.Fatal(d)
			}
		})
	})
}

// step does one random thing, behind the mirror's back; it tells whether history was forgotten.
func step(t *testing.T, rt *rapid.T, m *store.Memory, f *storetest.Faulty) (compacted bool) {
	switch rapid.IntRange(0, 9).Draw(rt, "step") {
	case 0:
		f.BreakWatch()
	case 1:
		f.SetDown(true)
	case 2:
		f.SetDown(false)
	case 3:
		time.Sleep(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
	case 4:
		if rapid.Bool().Draw(rt, "compact") && m.Compact(m.Revision()) == nil {
			return true
		}
	case 5:
		synctest.Wait() // everybody has seen everything
	default:
		var ops []store.Op
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID[string]).Draw(rt, "names") {
			key := rapid.SampledFrom([]string{store.Providers, store.Channels, store.Audit}).Draw(rt, "family") + name
			switch rapid.IntRange(0, 3).Draw(rt, "op") {
			case 0:
				ops = append(ops, store.Delete(key))
			case 1:
				ops = append(ops, store.Op{Key: key, Value: []byte("rubbish")})
			default:
				ops = append(ops, store.Put(key, provider(rapid.StringN(0, 3, 9).Draw(rt, "content"))))
			}
		}
		if _, err := m.Commit(t.Context(), store.Txn{Then: ops}); err != nil {
			rt.Fatal(err)
		}
	}
	return false
}

func TestProblemsAreSkippedReportedAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		good := store.Seal(provider("a"))
		corrupt := bytes.Clone(good)
		corrupt[len(corrupt)-1] ^= 1
		values := map[string][]byte{
			store.ProviderKey("corrupt"): corrupt,
			store.ProviderKey("foreign"): {99, 1, 2, 3, 4, 5},
			store.ProviderKey("short"):   {1},
			store.ProviderKey("empty"):   {},
			store.Root + "newer/x":       good,
			store.Meta + "newer":         good,
		}
		txn := store.Txn{Then: []store.Op{{Key: store.ProviderKey("good"), Value: good}}}
		for key, value := range values {
			txn.Then = append(txn.Then, store.Op{Key: key, Value: value})
		}
		if _, err := m.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
		s := start(t, m)
		defer s.Close()
		problems := s.Problems()
		if len(problems) != len(values) {
			t.Errorf("problems %v", problems)
		}
		for _, p := range problems {
			if _, ok := values[p.Key]; !ok || p.Err == nil || p.ModRevision == 0 {
				t.Errorf("problem %+v", p)
			}
		}
		s.Read(func(v store.View) {
			if all := store.List[*jurymastv1.Provider](v, store.Providers); len(all) != 1 {
				t.Errorf("mirrored %v", all)
			}
			if r := store.Get[*jurymastv1.Provider](v, store.ProviderKey("corrupt")); r.Mod != 0 || r.Msg != nil {
				t.Errorf("corrupt record shown: %+v", r)
			}
		})
		time.Sleep(time.Hour)
		for key, want := range values {
			page, err := m.Range(t.Context(), store.Query{Prefix: key})
			if err != nil || !bytes.Equal(page.Entries[0].Value, want) || page.Entries[0].ModRevision != 2 {
				t.Errorf("%s was touched: %+v, %v", key, page, err)
			}
		}
	})
}

// TestRecordThatBecomesUnreadableIsGoneForSubscribers: nobody goes on with the old one.
func TestRecordThatBecomesUnreadableIsGoneForSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := start(t, m)
		defer s.Close()
		f := follow(s, store.Cursor{}, store.Providers)
		defer f.sub.Close()
		put(t, s, "a")
		f.upTo(t, m, m.Revision())
		for _, value := range [][]byte{[]byte("rubbish"), []byte("more rubbish"), store.Seal(provider("a")), []byte("rubbish"), nil} {
			op := store.Op{Key: store.ProviderKey("a"), Value: value, Delete: value == nil}
			result, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
			if err != nil {
				t.Fatal(err)
			}
			f.upTo(t, m, result.Revision) // compares with what can be read
		}
		if f.resets != 1 || len(f.known) != 0 || len(s.Problems()) != 0 {
			t.Errorf("resets %d, known %v, problems %v", f.resets, f.known, s.Problems())
		}
	})
}
