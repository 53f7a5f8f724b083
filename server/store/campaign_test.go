package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// TestCommitIsNeverWrongAboutTheOutcome lets replicas fight for keys while every kind of fault happens at random, and
// then compares what each of them was told with what happened in the end.
func TestCommitIsNeverWrongAboutTheOutcome(t *testing.T) {
	var total tally
	for seed := range fights {
		synctest.Test(t, func(t *testing.T) { total.add(fight(t, seed)) })
	}
	t.Logf("%+v", total)
	if total.committed < 500 || total.lost < 500 || total.unknown < 20 || total.refused < 100 {
		t.Errorf("too little happened to prove anything: %+v", total)
	}
}

// fights is how many rounds are fought; with the campaign tag there are many more.
const fights = uint64(40 * campaignFactor)

// tally counts what replicas were told.
type tally struct{ committed, lost, unknown, refused int }

func (a *tally) add(b tally) {
	a.committed += b.committed
	a.lost += b.lost
	a.unknown += b.unknown
	a.refused += b.refused
}

// told is the answer to one transaction, which leaves a mark of its own when it happens.
type told struct {
	mark   string
	result store.Result
	err    error
}

func fight(t *testing.T, seed uint64) tally {
	const replicas, rounds = 4, 20
	m := store.NewMemory(store.MemoryOptions{})
	defer m.Close()
	answers := make(chan told, replicas*rounds)
	finished := make(chan struct{})
	for r := range replicas {
		random := rand.New(rand.NewPCG(seed, uint64(r)))
		f := storetest.NewFaulty(m)
		t.Cleanup(f.Settle)
		s := store.New(store.Options{Backend: f})
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if len(txn.Then) == 0 || random.IntN(2) == 0 {
				return storetest.Fault{}
			}
			kind := storetest.Kind(random.IntN(int(storetest.NoSpaceExecuted) + 1))
			return storetest.Fault{Kind: kind, Delay: time.Duration(random.IntN(80)) * time.Millisecond}
		})
		go func() {
			defer func() { finished <- struct{}{} }()
			for i := range rounds {
				answers <- compete(t, s, m, random, fmt.Sprintf("%d-%d", r, i))
			}
			s.Close()
		}()
	}
	for range replicas {
		<-finished
	}
	time.Sleep(time.Minute) // what is still delayed happens now
	close(answers)
	var sum tally
	for a := range answers {
		sum.add(judge(t, m, seed, a))
	}
	return sum
}

// compete tries to change one of two keys as it was read a moment ago, or to create it.
func compete(t *testing.T, s *store.Store, m *store.Memory, random *rand.Rand, id string) told {
	key := store.ProviderKey([]string{"a", "b"}[random.IntN(2)])
	page, err := m.Range(t.Context(), store.Query{Prefix: key})
	if err != nil {
		t.Error(err)
	}
	revision := int64(0)
	if len(page.Entries) > 0 {
		revision = page.Entries[0].ModRevision
	}
	time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
	mark := store.ChannelKey(id)
	txn := store.Txn{
		If:      []store.Compare{store.Unchanged(key, revision), store.Absent(mark)},
		Then:    []store.Op{store.Put(key, provider(id)), store.Put(mark, provider(id))},
		Witness: mark,
		Mine:    func(stored []byte) bool { return stored != nil },
	}
	if revision > 0 && random.IntN(4) == 0 {
		txn.Then[0] = store.Delete(key)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(200))*time.Millisecond)
	defer cancel()
	result, err := s.Commit(ctx, txn)
	return told{mark, result, err}
}

func judge(t *testing.T, m *store.Memory, seed uint64, a told) tally {
	page, err := m.Range(context.Background(), store.Query{Prefix: a.mark, Before: a.mark + "\x00"})
	if err != nil {
		t.Fatal(err)
	}
	happened := len(page.Entries) > 0
	switch {
	case errors.Is(a.err, store.ErrUnknown):
		return tally{unknown: 1}
	case a.err != nil:
		if happened {
			t.Errorf("seed %d: %s happened, but was refused with %v", seed, a.mark, a.err)
		}
		return tally{refused: 1}
	case a.result.Committed:
		if !happened || page.Entries[0].ModRevision != a.result.Revision || page.Entries[0].CreateRevision != a.result.Revision {
			t.Errorf("seed %d: %s was told %+v, stored %+v", seed, a.mark, a.result, page.Entries)
		}
		return tally{committed: 1}
	default:
		if happened {
			t.Errorf("seed %d: %s happened, but was told that a compare failed", seed, a.mark)
		}
		return tally{lost: 1}
	}
}
