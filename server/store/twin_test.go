package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
)

// TestMemoryIsATwinOfEtcd drives both with the same random transactions and reads: everything they answer is equal,
// with revisions counted from where each began.
func TestMemoryIsATwinOfEtcd(t *testing.T) {
	e := store.NewEtcd(store.EtcdOptions{Client: etcdtest.StartSingle(t).Client()})
	defer e.Close()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		prefix := fmt.Sprintf("%stwin-%d/", store.Root, round)
		pair := []*twin{newTwin(t, m, prefix), newTwin(t, e, prefix)}
		key := rapid.SampledFrom([]string{"a", "a/1", "a/2", "b", "b/1"})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				q := drawQuery(t, key)
				agree(t, q, pair, func(w *twin) string { return w.read(t, q) })
				continue
			}
			txn := drawTxn(t, key)
			agree(t, txn, pair, func(w *twin) string { return w.commit(t, txn) })
		}
		agree(t, "all", pair, func(w *twin) string { return w.read(t, store.Query{}) })
	})
}

func agree(t *rapid.T, what any, pair []*twin, do func(*twin) string) {
	memory, etcd := do(pair[0]), do(pair[1])
	if memory != etcd {
		t.Fatalf("%+v:\nmemory %s\netcd   %s", what, memory, etcd)
	}
}

// twin is a backend whose keys have a prefix and whose revisions are counted from a base.
type twin struct {
	backend store.Backend
	prefix  string
	base    int64
}

func newTwin(t *rapid.T, b store.Backend, prefix string) *twin {
	page, err := b.Range(context.Background(), store.Query{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return &twin{b, prefix, page.Revision}
}

func (w *twin) commit(t *rapid.T, txn store.Txn) string {
	txn.If, txn.Then = slices.Clone(txn.If), slices.Clone(txn.Then)
	for i := range txn.If {
		txn.If[i].Key = w.prefix + txn.If[i].Key
		if txn.If[i].Revision > 0 {
			txn.If[i].Revision += w.base
		}
	}
	for i := range txn.Then {
		txn.Then[i].Key = w.prefix + txn.Then[i].Key
	}
	result, err := w.backend.Commit(context.Background(), txn)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v at %d", result.Committed, result.Revision-w.base)
}

func (w *twin) read(t *rapid.T, q store.Query) string {
	q.Prefix = w.prefix + q.Prefix
	for _, bound := range []*string{&q.From, &q.Before} {
		if *bound != "" {
			*bound = w.prefix + *bound
		}
	}
	page, err := w.backend.Range(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "at %d, more %v:", page.Revision-w.base, page.More)
	for _, e := range page.Entries {
		fmt.Fprintf(&out, " %s=%q@%d,%d", strings.TrimPrefix(e.Key, w.prefix), e.Value, e.CreateRevision-w.base, e.ModRevision-w.base)
	}
	return out.String()
}

func drawQuery(t *rapid.T, key *rapid.Generator[string]) store.Query {
	q := store.Query{
		Limit:      rapid.IntRange(0, 3).Draw(t, "limit"),
		Descending: rapid.Bool().Draw(t, "descending"),
		KeysOnly:   rapid.Bool().Draw(t, "keysOnly"),
	}
	for _, bound := range []*string{&q.Prefix, &q.From, &q.Before} {
		if rapid.Bool().Draw(t, "bound") {
			*bound = key.Draw(t, "at")
		}
	}
	return q
}

func drawTxn(t *rapid.T, key *rapid.Generator[string]) (txn store.Txn) {
	for range rapid.IntRange(0, 3).Draw(t, "compares") {
		txn.If = append(txn.If, store.Compare{
			Key:      key.Draw(t, "key"),
			Prefix:   rapid.Bool().Draw(t, "prefix"),
			Field:    store.Field(rapid.IntRange(0, 1).Draw(t, "field")),
			Relation: store.Relation(rapid.IntRange(0, 2).Draw(t, "relation")),
			Revision: rapid.Int64Range(0, 12).Draw(t, "revision"),
		})
	}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 3).Draw(t, "writes") {
		op := store.Op{Key: key.Draw(t, "key"), Delete: rapid.IntRange(0, 2).Draw(t, "delete") == 0}
		if seen[op.Key] {
			continue
		}
		seen[op.Key] = true
		if !op.Delete {
			op.Value = []byte(rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value"))
		}
		txn.Then = append(txn.Then, op)
	}
	return txn
}
