package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/jurymast/jurymast/server/store"
)

var watchTests = map[string]func(*testing.T, *subject){
	"WatchDeliversInOrder":         testWatchOrder,
	"WatchDeliversWholeRevisions":  testWatchWhole,
	"WatchResumes":                 testWatchResume,
	"WatchSeesItsPrefixOnly":       testWatchPrefix,
	"WatchBookmarks":               testWatchBookmark,
	"WatchOfForeignKeysBookmarks":  testWatchForeign,
	"WatchFromCompactedRevision":   testWatchCompacted,
	"WatchSurvivesCompaction":      testWatchSurvives,
	"WatchOfAFutureRevision":       testWatchFuture,
	"WatchEndsWithItsContext":      testWatchContext,
	"WatchDeliversLargeRevisions":  testWatchLarge,
	"WatchMissesNothingUnderLoad":  testWatchLoad,
	"WatchCatchesUp":               testWatchCatchUp,
	"WatchTellsDeletionsAndValues": testWatchChanges,
}

var endTests = map[string]func(*testing.T, *subject){
	"CloseEndsEverything": testClose,
}

func testWatchOrder(t *testing.T, s *subject) {
	before := s.revision(t)
	w := s.watch(t, store.Root, before)
	var last int64
	for i := range 100 {
		last = s.commit(t, put("a", strconv.Itoa(i)))
	}
	changes := w.reach(t, last)
	if len(changes) != 100 {
		t.Fatalf("%d changes, want 100", len(changes))
	}
	for i, c := range changes {
		if string(c.Value) != strconv.Itoa(i) || c.ModRevision != before+1+int64(i) || c.CreateRevision != before+1 {
			t.Fatalf("change %d: %+v", i, c)
		}
	}
}

// checkWhole fails when the batches are out of order or cut a revision in two.
func checkWhole(t *testing.T, batches []store.Batch, after int64) {
	t.Helper()
	for _, b := range batches {
		if b.Revision < after || len(b.Changes) > 0 && b.Revision == after {
			t.Fatalf("batch of revision %d after %d", b.Revision, after)
		}
		previous := after
		for _, c := range b.Changes {
			if c.ModRevision <= after || c.ModRevision < previous || c.ModRevision > b.Revision {
				t.Fatalf("revision %d in the batch from %d to %d", c.ModRevision, after, b.Revision)
			}
			previous = c.ModRevision
		}
		after = b.Revision
	}
}

func testWatchWhole(t *testing.T, s *subject) {
	before := s.revision(t)
	w := s.watch(t, store.Root, before)
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, put(fmt.Sprintf("k%03d", i), "x"))
	}
	var last int64
	for range 10 {
		last = s.commit(t, ops...)
	}
	if changes := w.reach(t, last); len(changes) != 10*store.MaxOps {
		t.Fatalf("%d changes", len(changes))
	}
	checkWhole(t, w.all(), before)
}

func testWatchResume(t *testing.T, s *subject) {
	before := s.revision(t)
	for i := range 20 {
		s.commit(t, put("a", strconv.Itoa(i)))
	}
	for _, skip := range []int64{0, 1, 10, 19} {
		w := s.watch(t, store.Root, before+skip)
		changes := w.reach(t, before+20)
		if int64(len(changes)) != 20-skip || changes[0].ModRevision != before+skip+1 {
			t.Errorf("after %d: %d changes from revision %d", skip, len(changes), changes[0].ModRevision)
		}
		checkWhole(t, w.all(), before+skip)
	}
}

func testWatchPrefix(t *testing.T, s *subject) {
	before := s.revision(t)
	w := s.watch(t, k("r1/"), before)
	s.commit(t, put("r1/a", "1"), put("r10/a", "1"), put("r1", "1"))
	s.commit(t, put("r2/a", "1"))
	last := s.commit(t, put("r1/b", "1"))
	changes := w.reach(t, last)
	if len(changes) != 2 || changes[0].Key != k("r1/a") || changes[1].Key != k("r1/b") {
		t.Errorf("changes %+v", changes)
	}
}

// testWatchBookmark: once something happened after its beginning, a silent watch tells the revision.
func testWatchBookmark(t *testing.T, s *subject) {
	before := s.revision(t)
	w := s.watch(t, store.Root, before)
	rev := s.commit(t, put("a", "1"))
	w.reach(t, rev)
	until(t, "bookmark", func() bool {
		all := w.all()
		last := all[len(all)-1]
		return len(last.Changes) == 0 && last.Revision == rev
	})
}

func testWatchForeign(t *testing.T, s *subject) {
	rev := s.commit(t, put("mine/a", "1"))
	w := s.watch(t, k("mine/"), rev)
	last := s.commit(t, put("foreign/a", "1"))
	if changes := w.reach(t, last); len(changes) != 0 {
		t.Errorf("foreign changes %+v", changes)
	}
}

func testWatchCompacted(t *testing.T, s *subject) {
	first := s.commit(t, put("a", "1"))
	for i := range 5 {
		s.commit(t, put("a", strconv.Itoa(i)))
	}
	if err := s.Compact(s.ctx(t), first+3); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.watch(t, store.Root, first).end(t), store.ErrCompacted)
	// The revision that was compacted to is still told.
	w := s.watch(t, store.Root, first+2)
	if changes := w.reach(t, first+5); len(changes) != 3 || changes[0].ModRevision != first+3 {
		t.Errorf("changes %+v", changes)
	}
}

func testWatchSurvives(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	w := s.watch(t, store.Root, rev)
	next := s.commit(t, put("a", "2"))
	w.reach(t, next)
	if err := s.Compact(s.ctx(t), next); err != nil {
		t.Fatal(err)
	}
	last := s.commit(t, put("a", "3"))
	if changes := w.reach(t, last); len(changes) != 2 {
		t.Errorf("changes %+v", changes)
	}
}

func testWatchFuture(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	w := s.watch(t, store.Root, rev+2)
	for i := range 4 {
		s.commit(t, put("a", strconv.Itoa(i)))
	}
	if changes := w.reach(t, rev+4); len(changes) != 2 || changes[0].ModRevision != rev+3 {
		t.Errorf("changes %+v", changes)
	}
}

func testWatchContext(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	w := s.watch(t, store.Root, rev-1)
	w.reach(t, rev)
	w.cancel()
	if err := w.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
}

// testWatchLarge changes more in one revision than fits into one message of 2 MiB with its envelope, many times.
func testWatchLarge(t *testing.T, s *subject) {
	before := s.revision(t)
	var last int64
	var want [][]byte
	for i := range 8 {
		var ops []store.Op
		for j := range 10 {
			value := bytes.Repeat([]byte{byte(i), byte(j)}, 50_000)
			ops = append(ops, store.Op{Key: k(fmt.Sprintf("large/%d", j)), Value: value})
			want = append(want, value)
		}
		last = s.commit(t, ops...)
	}
	w := s.watch(t, store.Root, before)
	changes := w.reach(t, last)
	checkWhole(t, w.all(), before)
	if !slices.EqualFunc(changes, want, func(c store.Change, v []byte) bool { return bytes.Equal(c.Value, v) }) {
		t.Errorf("%d changes differ from what was put", len(changes))
	}
}

// testWatchLoad watches from different places while many write.
func testWatchLoad(t *testing.T, s *subject) {
	const writers, each = 8, 50
	before := s.revision(t)
	early := s.watch(t, store.Root, before)
	ctx := s.ctx(t)
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				txn := store.Txn{Then: []store.Op{put(fmt.Sprintf("load/%d", w), strconv.Itoa(i)), put(fmt.Sprintf("load/%d-%d", w, i), "x")}}
				if _, err := s.Backend.Commit(ctx, txn); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	late := s.watch(t, store.Root, before)
	wait.Wait()
	last := s.revision(t)
	if last != before+writers*each {
		t.Fatalf("revision %d, want %d", last, before+writers*each)
	}
	seen := early.reach(t, last)
	if len(seen) != 2*writers*each {
		t.Errorf("%d changes, want %d", len(seen), 2*writers*each)
	}
	same := slices.EqualFunc(seen, late.reach(t, last), func(a, b store.Change) bool {
		return a.Key == b.Key && a.ModRevision == b.ModRevision && bytes.Equal(a.Value, b.Value)
	})
	if !same {
		t.Error("two watches saw different histories")
	}
	checkWhole(t, early.all(), before)
	checkWhole(t, late.all(), before)
}

// testWatchCatchUp begins far behind: etcd then sends a thousand revisions at a time.
func testWatchCatchUp(t *testing.T, s *subject) {
	const writers, each = 16, 160
	before := s.revision(t)
	ctx := s.ctx(t)
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				if _, err := s.Backend.Commit(ctx, store.Txn{Then: []store.Op{put("a", "x")}}); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	wait.Wait()
	w := s.watch(t, store.Root, before)
	if changes := w.reach(t, before+writers*each); len(changes) != writers*each {
		t.Errorf("%d changes, want %d", len(changes), writers*each)
	}
	checkWhole(t, w.all(), before)
}

func testWatchChanges(t *testing.T, s *subject) {
	before := s.revision(t)
	created := s.commit(t, put("a", "1"), put("e", ""))
	deleted := s.commit(t, del("a"))
	again := s.commit(t, put("a", "2"))
	changes := s.watch(t, store.Root, before).reach(t, again)
	want := []store.Change{
		{Entry: store.Entry{Key: k("a"), Value: []byte("1"), CreateRevision: created, ModRevision: created}},
		{Entry: store.Entry{Key: k("e"), Value: []byte{}, CreateRevision: created, ModRevision: created}},
		{Entry: store.Entry{Key: k("a"), ModRevision: deleted}, Deleted: true},
		{Entry: store.Entry{Key: k("a"), Value: []byte("2"), CreateRevision: again, ModRevision: again}},
	}
	if len(changes) != len(want) {
		t.Fatalf("changes %+v", changes)
	}
	for i, c := range changes {
		if c.Key != want[i].Key || !bytes.Equal(c.Value, want[i].Value) || (c.Value == nil) != (want[i].Value == nil) ||
			c.CreateRevision != want[i].CreateRevision || c.ModRevision != want[i].ModRevision || c.Deleted != want[i].Deleted {
			t.Errorf("change %d: %+v, want %+v", i, c, want[i])
		}
	}
}

func testClose(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	w := s.watch(t, store.Root, rev-1)
	w.reach(t, rev)
	if err := s.Backend.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, w.end(t), store.ErrClosed)
	_, err := s.Backend.Commit(t.Context(), store.Txn{Then: []store.Op{put("b", "1")}})
	wantError(t, err, store.ErrClosed)
	_, err = s.Backend.Range(t.Context(), store.Query{Prefix: store.Root})
	wantError(t, err, store.ErrClosed)
	err = s.Backend.Watch(t.Context(), store.Root, 0, func(store.Batch) {})
	wantError(t, err, store.ErrClosed)
	_, err = s.Backend.Leases().Grant(t.Context(), s.TTL)
	wantError(t, err, store.ErrClosed)
	wantError(t, s.Backend.Leases().KeepAlive(t.Context(), 1), store.ErrClosed)
	wantError(t, s.Backend.Leases().Revoke(t.Context(), 1), store.ErrClosed)
	if err := s.Backend.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
