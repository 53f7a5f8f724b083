package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jurymast/jurymast/server/store"
)

var rangeTests = map[string]func(*testing.T, *subject){
	"RangeCuts":                testRangeCuts,
	"RangeOfNothing":           testRangeNothing,
	"RangeKeysOnly":            testRangeKeysOnly,
	"RangeCountOnly":           testRangeCountOnly,
	"RangePagesMakeOnePicture": testRangePages,
	"RangeDescendingPages":     testRangeDescending,
	"RangeAtARevision":         testRangeRevision,
}

func testRangeCuts(t *testing.T, s *subject) {
	s.commit(t, put("r1/a", "1"), put("r1/b", "2"), put("r1/c", "3"), put("r10/a", "4"), put("r1", "5"), put("r2/a", "6"))
	for _, c := range []struct {
		query store.Query
		want  string
		more  bool
	}{
		{store.Query{Prefix: k("")}, "r1 r1/a r1/b r1/c r10/a r2/a", false},
		{store.Query{Prefix: k("r1/")}, "r1/a r1/b r1/c", false},
		{store.Query{Prefix: k("r1/"), Limit: 2}, "r1/a r1/b", true},
		{store.Query{Prefix: k("r1/"), Limit: 3}, "r1/a r1/b r1/c", false},
		{store.Query{Prefix: k("r1/"), From: k("r1/b")}, "r1/b r1/c", false},
		{store.Query{Prefix: k("r1/"), From: k("r1/bb"), Limit: 5}, "r1/c", false},
		{store.Query{Prefix: k("r1/"), From: k("a")}, "r1/a r1/b r1/c", false},
		{store.Query{Prefix: k("r1/"), From: k("r2")}, "", false},
		{store.Query{Prefix: k("r1/"), Before: k("r1/c")}, "r1/a r1/b", false},
		{store.Query{Prefix: k("r1/"), Before: k("r1/c"), Limit: 1}, "r1/a", true},
		{store.Query{Prefix: k("r1/"), Before: k("z")}, "r1/a r1/b r1/c", false},
		{store.Query{Prefix: k("r1/"), Before: k("a")}, "", false},
		{store.Query{Prefix: k("r1/"), From: k("r1/b"), Before: k("r1/c")}, "r1/b", false},
		{store.Query{Prefix: k("r1/"), From: k("r1/c"), Before: k("r1/b")}, "", false},
		{store.Query{Prefix: k("r1/"), Descending: true}, "r1/c r1/b r1/a", false},
		{store.Query{Prefix: k("r1/"), Descending: true, Limit: 2}, "r1/c r1/b", true},
		{store.Query{Prefix: k("r1/"), Descending: true, Limit: 3}, "r1/c r1/b r1/a", false},
		{store.Query{Prefix: k("r1/"), Descending: true, Before: k("r1/c"), Limit: 1}, "r1/b", true},
		{store.Query{Prefix: k("r1/"), Descending: true, Before: k("r1/b"), Limit: 1}, "r1/a", false},
		{store.Query{Prefix: k("r1/"), Descending: true, From: k("r1/b"), Limit: 3}, "r1/c r1/b", false},
		{store.Query{Prefix: k("r1"), Before: k("r1") + "\x00"}, "r1", false},
	} {
		page := s.read(t, c.query)
		if names(page) != c.want || page.More != c.more {
			t.Errorf("%+v: %q, more %v, want %q, more %v", c.query, names(page), page.More, c.want, c.more)
		}
	}
}

func testRangeNothing(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	for _, q := range []store.Query{
		{Prefix: k("none")},
		{Prefix: k("none"), Descending: true, Limit: 1},
		{Prefix: k("a"), From: k("b")},
	} {
		if page := s.read(t, q); len(page.Entries) != 0 || page.Revision != rev || page.More {
			t.Errorf("%+v: %+v, want nothing at revision %d", q, page, rev)
		}
	}
}

func testRangeKeysOnly(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	page := s.read(t, store.Query{Prefix: store.Root, KeysOnly: true})
	if len(page.Entries) != 1 || page.Entries[0].Value != nil || page.Entries[0].ModRevision != rev || page.Entries[0].CreateRevision != rev {
		t.Errorf("keys only: %+v", page)
	}
}

func testRangeCountOnly(t *testing.T, s *subject) {
	for i := range 12 {
		s.commit(t, put(fmt.Sprintf("count/%03d", i), "1"))
	}
	rev := s.commit(t, put("counted", "1"))
	for _, c := range []struct {
		query store.Query
		want  int64
	}{
		{store.Query{Prefix: k("count/")}, 12},
		{store.Query{Prefix: k("count/"), Limit: 3}, 12},
		{store.Query{Prefix: k("count/"), From: k("count/004"), Before: k("count/010")}, 6},
		{store.Query{Prefix: k("none/")}, 0},
	} {
		c.query.CountOnly = true
		if page := s.read(t, c.query); page.Count != c.want || len(page.Entries) != 0 || page.Revision != rev {
			t.Errorf("%+v: %+v, want %d", c.query, page, c.want)
		}
	}
}

func testRangePages(t *testing.T, s *subject) {
	var want []string
	for i := range 50 {
		name := fmt.Sprintf("page/%03d", i)
		s.commit(t, put(name, name))
		want = append(want, k(name))
	}
	query := store.Query{Prefix: k("page/"), Limit: 7}
	var got []string
	for more := true; more; {
		page := s.read(t, query)
		query.Revision = page.Revision
		for _, e := range page.Entries {
			got = append(got, e.Key)
			query.From = e.Key + "\x00"
		}
		more = page.More
		// What happens between two pages is not seen.
		s.commit(t, del(fmt.Sprintf("page/%03d", 49-len(got)/7)), put(fmt.Sprintf("page/%03d-new", len(got)), "x"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages made %v", got)
	}
}

// testRangeDescending pages backwards through keys of all shapes.
func testRangeDescending(t *testing.T, s *subject) {
	random := rand.New(rand.NewPCG(1, 2))
	keys := map[string]bool{}
	for range 150 {
		name := "desc/"
		for range random.IntN(40) {
			name += string("/0a\x01z~"[random.IntN(6)])
		}
		if random.IntN(2) == 0 {
			name = fmt.Sprintf("desc/e-%020d", random.IntN(1000))
		}
		keys[name] = true
	}
	var want []string
	for name := range keys {
		s.commit(t, put(name, "x"))
		want = append(want, k(name))
	}
	slices.Sort(want)
	slices.Reverse(want)
	for _, limit := range []int{3, 16} {
		query := store.Query{Prefix: k("desc/"), Limit: limit, Descending: true, KeysOnly: limit == 3}
		var got []string
		for more := true; more; {
			page := s.read(t, query)
			if len(page.Entries) > limit || page.More && len(page.Entries) < limit {
				t.Fatalf("page of %d entries, limit %d, more %v", len(page.Entries), limit, page.More)
			}
			for _, e := range page.Entries {
				got = append(got, e.Key)
				query.Before = e.Key
			}
			more = page.More
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %d keys in pages, want %d in order", limit, len(got), len(want))
		}
	}
}

func testRangeRevision(t *testing.T, s *subject) {
	first := s.commit(t, put("a", "1"))
	second := s.commit(t, put("a", "2"), put("b", "1"))
	third := s.commit(t, del("a"))
	for revision, want := range map[int64]string{first: "a", second: "a b", third: "b", 0: "b"} {
		page := s.read(t, store.Query{Prefix: store.Root, Revision: revision})
		if names(page) != want || page.Revision != max(revision, 0) && revision != 0 {
			t.Errorf("at %d: %q at %d, want %q", revision, names(page), page.Revision, want)
		}
	}
	if page := s.read(t, store.Query{Prefix: k("a"), Revision: first}); string(page.Entries[0].Value) != "1" {
		t.Errorf("old value: %+v", page)
	}
	_, err := s.Backend.Range(s.ctx(t), store.Query{Prefix: store.Root, Revision: third + 1})
	wantError(t, err, store.ErrInvalid)
	if err := s.Compact(s.ctx(t), second); err != nil {
		t.Fatal(err)
	}
	_, err = s.Backend.Range(s.ctx(t), store.Query{Prefix: store.Root, Revision: first})
	wantError(t, err, store.ErrCompacted)
	if page := s.read(t, store.Query{Prefix: store.Root, Revision: second}); names(page) != "a b" {
		t.Errorf("at the compacted revision: %q", names(page))
	}
}
