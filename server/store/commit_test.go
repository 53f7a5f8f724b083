package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// claim is a transaction that moves a provider from a revision to a new value and knows itself again.
func claim(name, value string, revision int64) store.Txn {
	op := store.Op{Key: store.ProviderKey(name), Value: store.Seal(provider(value))}
	return store.Txn{
		If:      []store.Compare{store.Unchanged(op.Key, revision)},
		Then:    []store.Op{op},
		Witness: op.Key,
		Mine:    func(stored []byte) bool { return bytes.Equal(stored, op.Value) },
	}
}

// script makes the attempts of a transaction fail one after the other, and remembers them.
type script struct {
	faults []storetest.Fault
	before map[int]func() // done before an attempt, counted from 0

	mu       sync.Mutex
	attempts []store.Txn
}

func (s *script) hook(_ context.Context, txn store.Txn) storetest.Fault {
	if len(txn.Then) == 0 {
		return storetest.Fault{} // a question, not an attempt
	}
	s.mu.Lock()
	n := len(s.attempts)
	s.attempts = append(s.attempts, txn)
	s.mu.Unlock()
	if do := s.before[n]; do != nil {
		do()
	}
	if n < len(s.faults) {
		return s.faults[n]
	}
	return storetest.Fault{}
}

func commitWithin(t *testing.T, s *store.Store, d time.Duration, txn store.Txn) (store.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return s.Commit(ctx, txn)
}

// wantOutcome checks that an error is one outcome and no other.
func wantOutcome(t *testing.T, err, outcome error) {
	t.Helper()
	for _, other := range []error{
		store.ErrUnknown, store.ErrUnavailable, store.ErrNoSpace, store.ErrLeaseLost, store.ErrClosed, store.ErrTooLarge, store.ErrInvalid,
	} {
		if errors.Is(err, other) != errors.Is(outcome, other) {
			t.Errorf("error %v: is %v: %v", err, other, errors.Is(err, other))
		}
	}
}

func TestCommitFindsTheOutcome(t *testing.T) {
	fault := func(kinds ...storetest.Kind) (all []storetest.Fault) {
		for _, k := range kinds {
			all = append(all, storetest.Fault{Kind: k, Delay: 2 * time.Millisecond})
		}
		return all
	}
	late := storetest.Fault{Kind: storetest.Delayed, Delay: time.Second}
	for name, c := range map[string]struct {
		faults   []storetest.Fault
		attempts int
	}{
		"executed":               {fault(storetest.Executed), 1},
		"dropped":                {fault(storetest.Dropped), 2},
		"delayed":                {fault(storetest.Delayed), 1},
		"witness out of reach":   {fault(storetest.Executed, storetest.Unavailable), 3},
		"delayed for long":       {[]storetest.Fault{late}, 2},
		"unknown and then away":  {fault(storetest.Executed, storetest.Unavailable, storetest.Unavailable), 1},
		"many":                   {fault(storetest.Dropped, storetest.Dropped, storetest.Executed, storetest.Dropped), 3},
		"delayed twice":          {[]storetest.Fault{late, late}, 3},
		"full when it is done":   {fault(storetest.NoSpaceExecuted), 1},
		"unknown and then full":  {fault(storetest.Dropped, storetest.NoSpace), 3},
		"dropped, then executed": {fault(storetest.Dropped, storetest.Executed, storetest.Unavailable), 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				before := m.Revision()
				sc := &script{faults: c.faults}
				f.OnCommit(sc.hook)
				f.OnRange(func(_ context.Context, q store.Query) error {
					if name == "witness out of reach" && len(sc.attempts) < 3 {
						return fmt.Errorf("read %q: %w", q.Prefix, store.ErrUnavailable)
					}
					return nil
				})
				result, err := commitWithin(t, s, time.Minute, claim("a", "1", 0))
				if err != nil || !result.Committed || result.Revision != before+1 {
					t.Errorf("commit: %+v, %v, want revision %d", result, err, before+1)
				}
				f.Settle()
				if m.Revision() != before+1 {
					t.Errorf("it happened %d times", m.Revision()-before)
				}
				if len(sc.attempts) != c.attempts {
					t.Errorf("%d attempts, want %d", len(sc.attempts), c.attempts)
				}
				for _, txn := range sc.attempts {
					if !reflect.DeepEqual(txn.If, sc.attempts[0].If) || !reflect.DeepEqual(txn.Then, sc.attempts[0].Then) {
						t.Error("resubmitted a different transaction")
					}
				}
			})
		})
	}
}

// TestCommitThatLostIsToldSo: somebody else wrote before the resubmission.
func TestCommitThatLostIsToldSo(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"dropped": {Kind: storetest.Dropped},
		"delayed": {Kind: storetest.Delayed, Delay: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				rev := put(t, s, "a")
				other := claim("a", "other", rev)
				sc := &script{faults: []storetest.Fault{fault}, before: map[int]func(){
					1: func() { commitDirectly(t, m, other) },
				}}
				f.OnCommit(sc.hook)
				result, err := commitWithin(t, s, time.Minute, claim("a", "mine", rev))
				if err != nil || result.Committed || result.Revision != rev+1 {
					t.Errorf("commit: %+v, %v", result, err)
				}
				f.Settle()
				if page, _ := m.Range(t.Context(), store.Query{Prefix: other.Witness}); !other.Mine(page.Entries[0].Value) {
					t.Error("the one who was told that it lost has won")
				}
			})
		})
	}
}

func commitDirectly(t *testing.T, b store.Backend, txn store.Txn) {
	t.Helper()
	result, err := b.Commit(context.Background(), txn)
	if err != nil || !result.Committed {
		t.Errorf("commit of another: %+v, %v", result, err)
	}
}

// TestCommitThatMayHoldLaterStaysUnknown: the key that had to be absent is there now, but the delayed attempt succeeds
// when it is gone again.
func TestCommitThatMayHoldLaterStaysUnknown(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
		release := make(chan struct{})
		sc := &script{
			faults: []storetest.Fault{{Kind: storetest.Delayed, Release: release}},
			before: map[int]func(){1: func() { commitDirectly(t, m, claim("a", "other", 0)) }},
		}
		f.OnCommit(sc.hook)
		mine := claim("a", "mine", 0)
		_, err := commitWithin(t, s, time.Minute, mine)
		wantOutcome(t, err, store.ErrUnknown)
		commitDirectly(t, m, store.Txn{Then: []store.Op{store.Delete(mine.Witness)}})
		close(release)
		f.Settle()
		if page, _ := m.Range(t.Context(), store.Query{Prefix: mine.Witness}); !mine.Mine(page.Entries[0].Value) {
			t.Error("the delayed attempt was meant to happen in the end")
		}
	})
}

// TestCommitAsksItsWitnessLast: the delayed attempt happens while it is found out whether it still can.
func TestCommitAsksItsWitnessLast(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
		lock := store.ProviderKey("lock")
		mine := claim("a", "mine", put(t, s, "a"))
		mine.If = append(mine.If, store.Absent(lock))
		mine.Then = append(mine.Then, store.Put(lock, provider("mine")))
		release := make(chan struct{})
		sc := &script{
			faults: []storetest.Fault{{Kind: storetest.Delayed, Release: release}},
			before: map[int]func(){1: func() { commitDirectly(t, m, claim("lock", "other", 0)) }},
		}
		asked := false
		f.OnCommit(func(ctx context.Context, txn store.Txn) storetest.Fault {
			if len(txn.Then) == 0 && !asked {
				asked = true
				commitDirectly(t, m, store.Txn{Then: []store.Op{store.Delete(lock)}})
				close(release)
				f.Settle()
			}
			return sc.hook(ctx, txn)
		})
		result, err := commitWithin(t, s, time.Minute, mine)
		if err != nil || !result.Committed || result.Revision != m.Revision() || !asked {
			t.Errorf("commit: %+v, %v, but it happened at %d", result, err, m.Revision())
		}
	})
}

func TestCommitWithoutWitnessStaysUnknown(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		f.OnCommit((&script{faults: []storetest.Fault{{Kind: storetest.Executed}}}).hook)
		txn := claim("a", "1", 0)
		txn.Witness = ""
		_, err := commitWithin(t, s, time.Minute, txn)
		wantOutcome(t, err, store.ErrUnknown)
	})
}

func TestCommitEndsWithItsContext(t *testing.T) {
	for name, c := range map[string]struct {
		kinds []storetest.Kind // the last one goes on for ever
		want  error
	}{
		"unknown":                {[]storetest.Kind{storetest.Dropped}, store.ErrUnknown},
		"unknown, then away":     {[]storetest.Kind{storetest.Executed, storetest.Unavailable}, store.ErrUnknown},
		"unknown, then full":     {[]storetest.Kind{storetest.Dropped, storetest.NoSpace}, store.ErrUnknown},
		"away":                   {[]storetest.Kind{storetest.Unavailable}, store.ErrUnavailable},
		"full":                   {[]storetest.Kind{storetest.NoSpace}, store.ErrNoSpace},
		"unknown for ever again": {[]storetest.Kind{storetest.Executed, storetest.Dropped, storetest.Unavailable, storetest.Dropped}, store.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				n := 0
				f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
					if len(txn.Then) == 0 {
						return storetest.Fault{}
					}
					n++
					return storetest.Fault{Kind: c.kinds[min(n, len(c.kinds))-1]}
				})
				before, began := m.Revision(), time.Now()
				// Nothing reaches the witness either, when the store is away.
				f.OnRange(func(context.Context, store.Query) error { return fmt.Errorf("test: %w", store.ErrUnavailable) })
				_, err := commitWithin(t, s, 10*time.Second, claim("a", "1", 0))
				wantOutcome(t, err, c.want)
				waited := errors.Is(err, context.DeadlineExceeded)
				if waited != (time.Since(began) == 10*time.Second) || waited != errors.Is(c.want, store.ErrUnknown) {
					t.Errorf("ended after %v with %v", time.Since(began), err)
				}
				if !errors.Is(c.want, store.ErrUnknown) && m.Revision() != before {
					t.Error("certainly not committed, but it was")
				}
			})
		})
	}
}

func TestCommitThatFindsNoSpace(t *testing.T) {
	blind := store.Txn{Then: claim("a", "1", 0).Then}
	seeing := claim("a", "1", 0)
	seeing.If = nil
	for name, c := range map[string]struct {
		txn  store.Txn
		kind storetest.Kind
		want error
	}{
		"refused":                      {claim("a", "1", 0), storetest.NoSpace, store.ErrNoSpace},
		"done":                         {claim("a", "1", 0), storetest.NoSpaceExecuted, nil},
		"refused, no compare":          {seeing, storetest.NoSpace, store.ErrNoSpace},
		"done, no compare":             {seeing, storetest.NoSpaceExecuted, nil},
		"refused, nothing to go by":    {blind, storetest.NoSpace, store.ErrUnknown},
		"done, nothing to go by":       {blind, storetest.NoSpaceExecuted, store.ErrUnknown},
		"refused, compares fail later": {claim("b", "1", 7), storetest.NoSpace, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				before := m.Revision()
				f.OnCommit((&script{faults: []storetest.Fault{{Kind: c.kind}}}).hook)
				result, err := commitWithin(t, s, time.Minute, c.txn)
				wantOutcome(t, err, c.want)
				if done := m.Revision() > before; err == nil && result.Committed != done {
					t.Errorf("committed: %v, done: %v", result.Committed, done)
				}
			})
		})
	}
}

func TestCommitWithALeaseThatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		first storetest.Kind
		want  error
	}{
		"at once":         {storetest.None, store.ErrLeaseLost},
		"after a drop":    {storetest.Dropped, store.ErrLeaseLost},
		"after executing": {storetest.Executed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
				lease, err := m.Leases().Grant(t.Context(), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				// No compare: the second attempt gets as far as the lease. The witness is not leased and stays.
				txn := claim("stays", "1", 0)
				txn.If = nil
				txn.Then = append(txn.Then, store.PutLeased(store.ProviderKey("leased"), provider("x"), lease))
				revoke := func() { _ = m.Leases().Revoke(context.Background(), lease) }
				at := map[bool]int{true: 0, false: 1}[c.first == storetest.None]
				f.OnCommit((&script{faults: []storetest.Fault{{Kind: c.first}}, before: map[int]func(){at: revoke}}).hook)
				result, err := commitWithin(t, s, time.Minute, txn)
				wantOutcome(t, err, c.want)
				page, _ := m.Range(t.Context(), store.Query{Prefix: txn.Witness})
				if done := len(page.Entries) > 0; result.Committed != done {
					t.Errorf("committed: %v, done: %v", result.Committed, done)
				}
			})
		})
	}
}

func TestCommitRefusesMalformedTransactions(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		f.OnCommit(func(context.Context, store.Txn) storetest.Fault {
			t.Error("something was sent")
			return storetest.Fault{}
		})
		op := store.Put(store.ProviderKey("a"), provider("a"))
		_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{op, op}})
		wantOutcome(t, err, store.ErrInvalid)
		_, err = s.Commit(t.Context(), store.Txn{If: make([]store.Compare, store.MaxOps+1)})
		wantOutcome(t, err, store.ErrTooLarge)
	})
}

// TestWritersAreBoundedAndServedInOrder: there are 16 at a time, and nobody is overtaken.
func TestWritersAreBoundedAndServedInOrder(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		var mu sync.Mutex
		var order []string
		busy, most := 0, 0
		gate := make(chan struct{})
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			mu.Lock()
			order = append(order, txn.Then[0].Key)
			busy++
			most = max(most, busy)
			mu.Unlock()
			<-gate
			mu.Lock()
			busy--
			mu.Unlock()
			return storetest.Fault{}
		})
		var wait sync.WaitGroup
		for i := range 100 {
			wait.Go(func() { put(t, s, fmt.Sprintf("%03d", i)) })
			synctest.Wait() // it is in line now
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Commit(ctx, claim("late", "1", 0))
		wantOutcome(t, err, store.ErrUnavailable)
		for range 100 {
			gate <- struct{}{}
			synctest.Wait()
		}
		wait.Wait()
		if most != 16 || len(order) != 100 {
			t.Errorf("%d writers at once, %d writes", most, len(order))
		}
		for i, key := range order {
			if key != store.ProviderKey(fmt.Sprintf("%03d", i)) {
				t.Fatalf("%d was %s", i, key)
			}
		}
	})
}

func TestCloseEndsCommits(t *testing.T) {
	bubble(t, store.Options{Writers: 1}, func(t *testing.T, _ *store.Memory, f *storetest.Faulty, s *store.Store) {
		f.OnCommit(func(context.Context, store.Txn) storetest.Fault { return storetest.Fault{Kind: storetest.Dropped} })
		unknown := make(chan error)
		go func() {
			_, err := s.Commit(context.Background(), claim("a", "1", 0))
			unknown <- err
		}()
		time.Sleep(time.Minute)
		s.Close()
		wantOutcome(t, <-unknown, store.ErrUnknown)
	})
}
