package store

import (
	"context"
	"testing"

	"pgregory.net/rapid"
)

// Few keys and revisions, so that compares hold about as often as they don't.
var (
	someKey     = rapid.SampledFrom([]string{"a", "b", "c/1", "c/2", "c"})
	someCompare = rapid.Custom(func(t *rapid.T) Compare {
		return Compare{
			Key:      someKey.Draw(t, "key"),
			Prefix:   rapid.Bool().Draw(t, "prefix"),
			Field:    Field(rapid.IntRange(0, 1).Draw(t, "field")),
			Relation: Relation(rapid.IntRange(0, 2).Draw(t, "relation")),
			Revision: rapid.Int64Range(0, 6).Draw(t, "revision"),
		}
	})
	someOp = rapid.Custom(func(t *rapid.T) Op {
		op := Op{Key: someKey.Draw(t, "key"), Delete: rapid.Bool().Draw(t, "delete")}
		if !op.Delete {
			op.Value = []byte(rapid.StringN(0, 2, 4).Draw(t, "value"))
		}
		return op
	})
	someTxn = rapid.Custom(func(t *rapid.T) Txn {
		return Txn{
			If:   rapid.SliceOfN(someCompare, 0, 2).Draw(t, "if"),
			Then: rapid.SliceOfNDistinct(someOp, 0, 3, func(op Op) string { return op.Key }).Draw(t, "then"),
		}
	})
)

// TestTxnThatUndoesItselfCannotHappenTwice: what undoesItself promises holds whatever the state.
func TestTxnThatUndoesItselfCannotHappenTwice(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		m := NewMemory(MemoryOptions{})
		defer m.Close()
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			commitTo(ctx, t, m, Txn{Then: someTxn.Draw(t, "setup").Then})
		}
		txn := someTxn.Draw(t, "txn")
		changes := m.Revision()
		for _, c := range txn.If {
			if c.Revision > changes+1 { // NoneNewer of the newest revision compares the next one
				return
			}
		}
		if !commitTo(ctx, t, m, txn).Committed || m.Revision() == changes {
			return
		}
		if txn.undoesItself() && commitTo(ctx, t, m, txn).Committed {
			t.Fatalf("committed twice: %+v", txn)
		}
	})
}

func TestBrokenBy(t *testing.T) {
	put, del := Op{Key: "a"}, Op{Key: "a", Delete: true}
	for _, c := range []struct {
		compare  Compare
		put, del bool
	}{
		{Unchanged("a", 0), true, false},
		{Unchanged("a", 5), true, true},
		{Absent("a"), true, false},
		{Compare{Key: "a", Field: CreateRevision, Revision: 5}, false, true},
		{Unchanged("b", 5), false, false},
		{NoneNewer("a", 5), true, false},
		{NoneNewer("b", 5), false, false},
		{Compare{Key: "a", Relation: NotEqual, Revision: 5}, false, false},
		{Compare{Key: "a", Relation: Less, Revision: 5}, false, false},
	} {
		if got := c.compare.brokenBy(put); got != c.put {
			t.Errorf("%+v broken by a put: %v", c.compare, got)
		}
		if got := c.compare.brokenBy(del); got != c.del {
			t.Errorf("%+v broken by a deletion: %v", c.compare, got)
		}
	}
}

// TestPermanentCompareNeverHoldsAgain: what permanent promises holds whatever happens afterwards.
func TestPermanentCompareNeverHoldsAgain(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		m := NewMemory(MemoryOptions{})
		defer m.Close()
		c := someCompare.Draw(t, "compare")
		failed := false
		for range 12 {
			commitTo(ctx, t, m, Txn{Then: someTxn.Draw(t, "change").Then})
			// A revision that is still to come may hold later: somebody must have seen it before comparing it.
			if c.Revision > m.Revision() {
				continue
			}
			holds := commitTo(ctx, t, m, Txn{If: []Compare{c}}).Committed
			if holds && failed && c.permanent() {
				t.Fatalf("held again: %+v", c)
			}
			failed = failed || !holds
		}
	})
}

func commitTo(ctx context.Context, t *rapid.T, b Backend, txn Txn) Result {
	result, err := b.Commit(ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	return result
}
