package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

var txnTests = map[string]func(*testing.T, *subject){
	"RevisionsCountTransactions":    testRevisions,
	"CreateAndModRevisions":         testCreateAndMod,
	"NothingChangedIsNoRevision":    testNoRevision,
	"FailedCompareDoesNothing":      testFailedCompare,
	"Compares":                      testCompares,
	"PrefixCompares":                testPrefixCompares,
	"ComparesSeeTheStateBefore":     testComparesBefore,
	"CompareOnly":                   testCompareOnly,
	"KeyTwiceIsRefused":             testKeyTwice,
	"MalformedIsRefused":            testMalformed,
	"LimitsOfOps":                   testOpLimits,
	"LimitsOfBytes":                 testByteLimits,
	"ValuesAreKeptAsTheyAre":        testValues,
	"CompareAndPutLosesNoUpdate":    testCounter,
	"EndedContextIsCertainlyNotRun": testEndedContext,
	"UnknownIsNotCalledCertain":     testTornContexts,
}

func testRevisions(t *testing.T, s *subject) {
	first := s.commit(t, put("a", "1"))
	second := s.commit(t, put("b", "1"), put("c", "1"), del("a"))
	if second != first+1 {
		t.Errorf("revisions %d and %d", first, second)
	}
	for _, name := range []string{"b", "c"} {
		if e := s.get(t, name); e.ModRevision != second || e.CreateRevision != second {
			t.Errorf("%s: %+v, want revision %d", name, e, second)
		}
	}
	if e := s.get(t, "a"); e.ModRevision != 0 {
		t.Errorf("deleted key is there: %+v", e)
	}
	if got := s.revision(t); got != second {
		t.Errorf("revision %d, want %d", got, second)
	}
}

func testCreateAndMod(t *testing.T, s *subject) {
	created := s.commit(t, put("a", "1"))
	changed := s.commit(t, put("a", "2"))
	if e := s.get(t, "a"); e.CreateRevision != created || e.ModRevision != changed || string(e.Value) != "2" {
		t.Errorf("changed: %+v, want created %d, changed %d", e, created, changed)
	}
	s.commit(t, del("a"))
	again := s.commit(t, put("a", "3"))
	if e := s.get(t, "a"); e.CreateRevision != again || e.ModRevision != again {
		t.Errorf("created again: %+v, want %d", e, again)
	}
}

func testNoRevision(t *testing.T, s *subject) {
	before := s.commit(t, put("a", "1"))
	if got := s.commit(t, del("never")); got != before {
		t.Errorf("deleting nothing: revision %d, want %d", got, before)
	}
	if got := s.commit(t); got != before {
		t.Errorf("empty transaction: revision %d, want %d", got, before)
	}
	if got := s.commit(t, put("a", "1")); got != before+1 {
		t.Errorf("putting the same value: revision %d, want %d", got, before+1)
	}
}

func testFailedCompare(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	now := s.commit(t, put("b", "1"))
	got := s.refused(t, []store.Compare{store.Unchanged(k("a"), rev), store.Absent(k("b"))}, put("a", "2"), del("b"), put("c", "1"))
	if got != now {
		t.Errorf("revision %d, want %d", got, now)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); names(page) != "a b" || page.Revision != now || string(page.Entries[0].Value) != "1" {
		t.Errorf("after a failed compare: %+v", page)
	}
}

// testCompares tries every field and relation against a revision below, at and above that of a key, and an absent key.
func testCompares(t *testing.T, s *subject) {
	created := s.commit(t, put("a", "1"))
	s.commit(t, put("other", "1"))
	changed := s.commit(t, put("a", "2"))
	for _, name := range []string{"a", "absent"} {
		actual := map[store.Field]int64{}
		if name == "a" {
			actual = map[store.Field]int64{store.CreateRevision: created, store.ModRevision: changed}
		}
		for _, field := range []store.Field{store.ModRevision, store.CreateRevision} {
			for _, revision := range []int64{0, 1, created - 1, created, created + 1, changed - 1, changed, changed + 1} {
				s.checkRelations(t, store.Compare{Key: k(name), Field: field, Revision: revision}, actual[field])
			}
		}
	}
}

// checkRelations tries all relations of a compare whose field has an actual value.
func (s *subject) checkRelations(t *testing.T, c store.Compare, actual ...int64) {
	t.Helper()
	for relation, holds := range map[store.Relation]func(int64) bool{
		store.Equal:    func(v int64) bool { return v == c.Revision },
		store.NotEqual: func(v int64) bool { return v != c.Revision },
		store.Less:     func(v int64) bool { return v < c.Revision },
	} {
		want := true
		for _, v := range actual {
			want = want && holds(v)
		}
		c.Relation = relation
		result, err := s.Backend.Commit(s.ctx(t), store.Txn{If: []store.Compare{c}})
		if err != nil || result.Committed != want {
			t.Errorf("%+v with %v: %v, %v, want %v", c, actual, result.Committed, err, want)
		}
	}
}

func testPrefixCompares(t *testing.T, s *subject) {
	first := s.commit(t, put("p/a", "1"))
	second := s.commit(t, put("p/b", "1"))
	s.commit(t, put("pq", "1")) // a neighbour that is not below the prefix
	third := s.commit(t, put("p/a", "2"))
	for _, revision := range []int64{0, first, second, third, third + 1} {
		prefix := store.Compare{Key: k("p/"), Prefix: true, Revision: revision}
		prefix.Field = store.ModRevision
		s.checkRelations(t, prefix, third, second)
		prefix.Field = store.CreateRevision
		s.checkRelations(t, prefix, first, second)
	}
	// Nothing under the prefix is compared like one absent key.
	for _, revision := range []int64{0, 1} {
		s.checkRelations(t, store.Compare{Key: k("none/"), Prefix: true, Revision: revision}, 0)
	}
	s.commitIf(t, []store.Compare{store.NoneNewer(k("p/"), third)}, put("x", "1"))
	s.refused(t, []store.Compare{store.NoneNewer(k("p/"), second)}, put("x", "1"))
	s.commit(t, del("p/b"))
	s.commitIf(t, []store.Compare{store.NoneNewer(k("p/"), third)}, put("x", "2"))
}

func testComparesBefore(t *testing.T, s *subject) {
	rev := s.commitIf(t, []store.Compare{store.Absent(k("a"))}, put("a", "1"))
	s.refused(t, []store.Compare{store.Absent(k("a"))}, put("a", "2"))
	s.commitIf(t, []store.Compare{store.Unchanged(k("a"), rev), store.Absent(k("b"))}, put("a", "2"), put("b", "1"))
	s.refused(t, []store.Compare{store.Unchanged(k("a"), rev)}, put("a", "3"))
	s.commitIf(t, []store.Compare{store.Unchanged(k("c"), 0)}, put("c", "1"))
}

func testCompareOnly(t *testing.T, s *subject) {
	rev := s.commit(t, put("a", "1"))
	if got := s.commitIf(t, []store.Compare{store.Unchanged(k("a"), rev)}); got != rev {
		t.Errorf("revision %d, want %d", got, rev)
	}
	if got := s.refused(t, []store.Compare{store.Absent(k("a"))}); got != rev {
		t.Errorf("revision %d, want %d", got, rev)
	}
}

func testKeyTwice(t *testing.T, s *subject) {
	for _, ops := range [][]store.Op{
		{put("a", "1"), put("a", "2")},
		{put("a", "1"), del("a")},
		{del("a"), put("b", "1"), del("a")},
	} {
		_, err := s.Backend.Commit(s.ctx(t), store.Txn{Then: ops})
		wantError(t, err, store.ErrInvalid)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); len(page.Entries) != 0 {
		t.Errorf("written: %+v", page)
	}
}

func testMalformed(t *testing.T, s *subject) {
	for _, txn := range []store.Txn{
		{Then: []store.Op{{Value: []byte("x")}}},
		{Then: []store.Op{{Delete: true}}},
		{Then: []store.Op{{Key: k("a"), Delete: true, Value: []byte("x")}}},
		{Then: []store.Op{{Key: k("a"), Delete: true, Lease: 1}}},
		{If: []store.Compare{{}}},
		{If: []store.Compare{{Key: k("a"), Field: 9}}},
		{If: []store.Compare{{Key: k("a"), Relation: 9}}},
	} {
		_, err := s.Backend.Commit(s.ctx(t), txn)
		wantError(t, err, store.ErrInvalid)
	}
}

func testOpLimits(t *testing.T, s *subject) {
	var txn store.Txn
	for i := range store.MaxOps {
		txn.Then = append(txn.Then, put("op"+strconv.Itoa(i), "x"))
		txn.If = append(txn.If, store.Absent(k("op"+strconv.Itoa(i))))
	}
	s.commitIf(t, txn.If, txn.Then...)
	_, err := s.Backend.Commit(s.ctx(t), store.Txn{Then: append(txn.Then, put("more", "x"))})
	wantError(t, err, store.ErrTooLarge)
	for i := range store.GateCompares {
		txn.If = append(txn.If, store.Absent(k("gate"+strconv.Itoa(i))))
	}
	if _, err := s.Backend.Commit(s.ctx(t), store.Txn{If: txn.If}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Backend.Commit(s.ctx(t), store.Txn{If: append(txn.If, store.Absent(k("more")))})
	wantError(t, err, store.ErrTooLarge)
}

func testByteLimits(t *testing.T, s *subject) {
	big := func(size int) store.Op {
		return store.Op{Key: k("a"), Value: bytes.Repeat([]byte{7}, size-len(k("a")))}
	}
	s.commit(t, big(store.MaxTxnBytes))
	if e := s.get(t, "a"); len(e.Value) != store.MaxTxnBytes-len(k("a")) {
		t.Errorf("%d bytes stored", len(e.Value))
	}
	_, err := s.Backend.Commit(s.ctx(t), store.Txn{Then: []store.Op{big(store.MaxTxnBytes + 1)}})
	wantError(t, err, store.ErrTooLarge)
}

func testValues(t *testing.T, s *subject) {
	for name, value := range map[string][]byte{"empty": {}, "nil": nil, "zero": {0}, "binary": {0xff, 0, 0xfe}} {
		op := store.Op{Key: k(name), Value: bytes.Clone(value)}
		s.commit(t, op)
		for i := range op.Value {
			op.Value[i]++ // the backend keeps its own copy
		}
		if e := s.get(t, name); !bytes.Equal(e.Value, value) || e.Value == nil {
			t.Errorf("%s: %v, want %v", name, e.Value, value)
		}
	}
}

// testCounter increments a counter by compare and put from many goroutines: every committed increment counts.
func testCounter(t *testing.T, s *subject) {
	const writers, each = 8, 25
	s.commit(t, put("counter", "0"))
	ctx := s.ctx(t)
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for done := 0; done < each; {
				ok, err := increment(ctx, s.Backend)
				if err != nil {
					t.Errorf("increment: %v", err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wait.Wait()
	if e := s.get(t, "counter"); string(e.Value) != strconv.Itoa(writers*each) {
		t.Errorf("counter %s, want %d", e.Value, writers*each)
	}
}

func increment(ctx context.Context, b store.Backend) (bool, error) {
	page, err := b.Range(ctx, store.Query{Prefix: k("counter")})
	if err != nil {
		return false, err
	}
	e := page.Entries[0]
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		return false, fmt.Errorf("counter: %w", err)
	}
	result, err := b.Commit(ctx, store.Txn{
		If:   []store.Compare{store.Unchanged(e.Key, e.ModRevision)},
		Then: []store.Op{{Key: e.Key, Value: []byte(strconv.Itoa(n + 1))}},
	})
	return result.Committed, err
}

func testEndedContext(t *testing.T, s *subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Backend.Commit(ctx, store.Txn{Then: []store.Op{put("a", "1")}})
	wantError(t, err, store.ErrUnavailable)
	_, err = s.Backend.Range(ctx, store.Query{Prefix: store.Root})
	wantError(t, err, store.ErrUnavailable)
	if e := s.get(t, "a"); e.ModRevision != 0 {
		t.Errorf("committed: %+v", e)
	}
}

// testTornContexts ends contexts at random moments of their transactions: what was answered must be true in the end,
// and what was not answered is unknown.
func testTornContexts(t *testing.T, s *subject) {
	const rounds = 200
	answers := make([]error, rounds)
	results := make([]store.Result, rounds)
	for i := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
		results[i], answers[i] = s.Backend.Commit(ctx, store.Txn{Then: []store.Op{put(fmt.Sprint("torn/", i), "x")}})
		cancel()
	}
	known := func(i int) bool { return !errors.Is(answers[i], store.ErrUnknown) }
	for i := range rounds {
		e := s.get(t, fmt.Sprint("torn/", i))
		switch {
		case answers[i] == nil && (!results[i].Committed || e.ModRevision != results[i].Revision):
			t.Errorf("%d: told %+v, stored %+v", i, results[i], e)
		case answers[i] != nil && known(i):
			wantError(t, answers[i], store.ErrUnavailable)
			if e.ModRevision != 0 {
				t.Errorf("%d: told %v, stored %+v", i, answers[i], e)
			}
		}
	}
}
