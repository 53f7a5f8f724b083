package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

// Subject is a backend to be tested, with what the tests do behind its back.
type Subject struct {
	// Backend under test, new and empty under [store.Root].
	Backend store.Backend
	// Compact forgets the history before a revision.
	Compact func(ctx context.Context, revision int64) error
	// TTL is the shortest lease that the backend grants.
	TTL time.Duration
	// Slack is how long a lease may live on after its TTL.
	Slack time.Duration
}

// Run is the conformance suite: it checks everything that the store relies on. Each test gets a backend of its own,
// which open closes when the test ends.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, group := range []map[string]func(*testing.T, *subject){txnTests, rangeTests, leaseTests, watchTests, endTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, &subject{Subject: open(t)})
			})
		}
	}
}

// patience is how long a test waits for what must happen; it decides only when a failing test gives up.
const patience = 30 * time.Second

// subject adds helpers that end the test when something is not as it must be.
type subject struct{ Subject }

func k(name string) string { return store.Root + name }

func (s *subject) ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(name, value string) store.Op { return store.Op{Key: k(name), Value: []byte(value)} }

func del(name string) store.Op { return store.Op{Key: k(name), Delete: true} }

// commit expects the transaction to be committed and returns its revision.
func (s *subject) commit(t *testing.T, ops ...store.Op) int64 {
	t.Helper()
	return s.commitIf(t, nil, ops...)
}

func (s *subject) commitIf(t *testing.T, compares []store.Compare, ops ...store.Op) int64 {
	t.Helper()
	result, err := s.Backend.Commit(s.ctx(t), store.Txn{If: compares, Then: ops})
	if err != nil || !result.Committed {
		t.Fatalf("commit: %+v, %v", result, err)
	}
	return result.Revision
}

// refused expects the compares to fail and returns the store's revision.
func (s *subject) refused(t *testing.T, compares []store.Compare, ops ...store.Op) int64 {
	t.Helper()
	result, err := s.Backend.Commit(s.ctx(t), store.Txn{If: compares, Then: ops})
	if err != nil || result.Committed {
		t.Fatalf("commit: %+v, %v, want a failed compare", result, err)
	}
	return result.Revision
}

func (s *subject) read(t *testing.T, q store.Query) store.Page {
	t.Helper()
	page, err := s.Backend.Range(s.ctx(t), q)
	if err != nil {
		t.Fatalf("range %+v: %v", q, err)
	}
	return page
}

// get returns the entry of a key; its ModRevision is 0 when there is none.
func (s *subject) get(t *testing.T, name string) store.Entry {
	t.Helper()
	page := s.read(t, store.Query{Prefix: k(name), Before: k(name) + "\x00"})
	if len(page.Entries) == 0 {
		return store.Entry{}
	}
	return page.Entries[0]
}

// revision returns the newest revision.
func (s *subject) revision(t *testing.T) int64 {
	t.Helper()
	return s.read(t, store.Query{Prefix: store.Root, Limit: 1}).Revision
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	// The outcomes exclude each other: whoever tests for one of them must not find two.
	outcomes := []error{store.ErrUnknown, store.ErrUnavailable, store.ErrTooLarge, store.ErrInvalid, store.ErrNoSpace, store.ErrLeaseLost, store.ErrClosed, store.ErrCompacted}
	for _, other := range outcomes {
		if !errors.Is(want, other) && errors.Is(err, other) {
			t.Fatalf("error %v is %v and %v", err, want, other)
		}
	}
}

func names(page store.Page) string {
	var all []string
	for _, e := range page.Entries {
		all = append(all, strings.TrimPrefix(e.Key, store.Root))
	}
	return strings.Join(all, " ")
}

// recorder keeps what a watch delivers.
type recorder struct {
	cancel context.CancelFunc
	ended  chan error

	mu      sync.Mutex
	batches []store.Batch
}

// watch starts a watch that ends with the test.
func (s *subject) watch(t *testing.T, prefix string, after int64) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{cancel: cancel, ended: make(chan error, 1)}
	go func() {
		r.ended <- s.Backend.Watch(ctx, prefix, after, func(b store.Batch) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.batches = append(r.batches, b)
		})
	}()
	t.Cleanup(cancel)
	return r
}

func (r *recorder) all() []store.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// reach waits until the watch has told of a revision, and returns the changes up to now.
func (r *recorder) reach(t *testing.T, revision int64) []store.Change {
	t.Helper()
	until(t, fmt.Sprintf("watch reaches revision %d", revision), func() bool {
		all := r.all()
		return len(all) > 0 && all[len(all)-1].Revision >= revision
	})
	var changes []store.Change
	for _, b := range r.all() {
		changes = append(changes, b.Changes...)
	}
	return changes
}

// end returns the error with which the watch ended.
func (r *recorder) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the watch does not end")
		return nil
	}
}
