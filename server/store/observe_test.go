package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// restores are the ways in which a cluster is restored.
var restores = map[string]store.MemoryRestore{
	"as it was":                           {},
	"another cluster":                     {NewCluster: true},
	"revision moved on":                   {BumpRevision: 1_000_000},
	"another cluster, revision moved on":  {NewCluster: true, BumpRevision: 1_000_000},
	"revision moved on by what it lacked": {BumpRevision: 2},
}

// replica is a store and its keeper, running until the test ends.
type replica struct {
	*store.Store
	keeper *store.Keeper
}

func startReplica(t *testing.T, b store.Backend, name string) replica {
	t.Helper()
	s := store.New(store.Options{Backend: b, Replica: name})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := replica{s, store.NewKeeper(s, store.SessionOptions{Replica: name})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.keeper.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		s.Close()
	})
	return r
}

func acts(t *testing.T, r replica) bool {
	t.Helper()
	_, observing := r.ObserveOnly()
	_, err := r.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.ProviderKey("x"), provider("x"))}})
	if observing != errors.Is(err, store.ErrObserveOnly) {
		t.Fatalf("observing %v, and a commit says %v", observing, err)
	}
	if r.keeper.Current() == nil {
		t.Error("a replica lives and has no session")
	}
	if acting := r.keeper.Acting().Current() != nil; acting == observing {
		t.Errorf("observing %v, and who acts has a session: %v", observing, acting)
	}
	return !observing
}

// TestReplicasObserveAfterARestore: however the store was restored, both replicas notice, one of them says so in the
// store, nothing is written until a human confirms, also by a replica that knew nothing, and then everything goes on.
func TestReplicasObserveAfterARestore(t *testing.T) {
	for name, how := range restores {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := store.NewMemory(store.MemoryOptions{})
				t.Cleanup(func() { _ = m.Close() })
				a, b := startReplica(t, m, "a"), startReplica(t, m, "b")
				put(t, a.Store, "kept")
				put(t, a.Store, "changed")
				synctest.Wait()
				backup := m.Snapshot()
				epoch, cursor := a.RestoreEpoch(), a.Cursor()
				put(t, a.Store, "changed")
				put(t, a.Store, "lost")
				synctest.Wait()
				sessions := []*store.Session{a.keeper.Current(), b.keeper.Current()}

				m.Restore(backup, how)
				time.Sleep(5 * time.Second)
				if acts(t, a) || acts(t, b) {
					t.Fatal("a replica acts in a store that was restored")
				}
				for _, s := range sessions {
					if s.Err() == nil {
						t.Error("a session outlived the store it was opened in")
					}
				}
				c := startReplica(t, m, "c") // knows nothing of what was
				synctest.Wait()
				if acts(t, c) {
					t.Error("a replica that came later acts")
				}
				why, _ := c.ObserveOnly()
				if why.GetReason() == "" || why.GetDetail() == "" || why.GetSince() == nil || why.GetReplica() == "c" {
					t.Errorf("why: %v", why)
				}
				if _, err := a.CommitUnderReview(t.Context(), store.Txn{Then: []store.Op{store.Put(store.ProviderKey("reviewed"), provider("x"))}}); err != nil {
					t.Errorf("a review: %v", err)
				}
				next, err := c.ConfirmRestore(t.Context(), store.Confirmation{Actor: "ann", Reason: "looked", Time: time.Now()})
				if err != nil || next <= epoch {
					t.Fatalf("confirmed: %q after %q, %v", next, epoch, err)
				}
				time.Sleep(5 * time.Second)
				for _, r := range []replica{a, b, c} {
					if !acts(t, r) || r.RestoreEpoch() != next || r.Cursor().RestoreEpoch != next {
						t.Errorf("after the confirmation: %+v", r.Cursor())
					}
				}
				time.Sleep(time.Minute)
				if _, observing := b.ObserveOnly(); observing {
					t.Error("a replica notices again what was confirmed")
				}
				old := a.Subscribe([]string{store.Providers}, cursor)
				defer old.Close()
				if u, _ := next1(t, old); !u.Reset {
					t.Error("a cursor of the life that was lost goes on")
				}
				if _, err := a.ConfirmRestore(t.Context(), store.Confirmation{}); !errors.Is(err, store.ErrNotRestored) {
					t.Errorf("a second confirmation: %v", err)
				}
				if _, err := a.CommitUnderReview(t.Context(), store.Txn{}); !errors.Is(err, store.ErrNotRestored) {
					t.Errorf("a late review: %v", err)
				}
			})
		})
	}
}

// next1 takes one update.
func next1(t *testing.T, sub store.Subscription) (store.Update, error) {
	t.Helper()
	u, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u, err
}

// TestWhoHasNotNoticedCanNotAct: what one replica has said in the store holds for one that hears nothing.
func TestWhoHasNotNoticedCanNotAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		deaf := storetest.NewFaulty(m)
		defer deaf.Close()
		s := start(t, deaf)
		defer s.Close()
		other := startReplica(t, m, "other")
		synctest.Wait()
		epoch := recordOf(t, m, store.RestoreEpochKey())
		deaf.FilterWatch(func(b store.Batch) (store.Batch, bool) { return b, false })
		mark := store.Put(store.ObserveOnlyKey(), &recordv1.ObserveOnly{Reason: "test", Replica: "third"})
		if _, err := m.Commit(t.Context(), store.Txn{Then: []store.Op{mark}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, observing := s.ObserveOnly(); observing {
			t.Fatal("it has noticed: this test proves nothing")
		}
		txn := store.Txn{Then: []store.Op{store.Put(store.ProviderKey("x"), provider("x"))}}
		if r, err := s.Commit(t.Context(), txn); err != nil || r.Committed {
			t.Errorf("under the mark: %+v, %v", r, err)
		}
		if _, err := other.ConfirmRestore(t.Context(), store.Confirmation{Actor: "ann", Reason: "x", Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Commit(t.Context(), txn); err != nil || r.Committed {
			t.Errorf("in the next life: %+v, %v", r, err)
		}
		if now := recordOf(t, m, store.RestoreEpochKey()); now.ModRevision <= epoch.ModRevision {
			t.Error("the epoch did not change")
		}
	})
}

func recordOf(t *testing.T, b store.Backend, key string) store.Entry {
	t.Helper()
	page, err := b.Range(t.Context(), store.Query{Prefix: key, Before: key + "\x00"})
	if err != nil || len(page.Entries) != 1 {
		t.Fatalf("%s: %+v, %v", key, page, err)
	}
	return page.Entries[0]
}

// TestARestartRemembersWhatWasSeen: a store that went back while its only replica was down is noticed by what stands in
// the replica's directory, also when everything is gone; and a confirmation is remembered as well.
func TestARestartRemembersWhatWasSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seen.json")
	m := store.NewMemory(store.MemoryOptions{})
	defer func() { _ = m.Close() }()
	open := func(b store.Backend) *store.Store {
		s := store.New(store.Options{Backend: b, Replica: "a", SeenFile: file})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	restarted := func(b store.Backend) (why string) {
		s := open(b)
		defer s.Close()
		mark, _ := s.ObserveOnly()
		return mark.GetReason()
	}
	s := open(m)
	put(t, s, "kept")
	backup := m.Snapshot()
	put(t, s, "lost")
	s.Close()
	if why := restarted(m); why != "" {
		t.Errorf("after a plain restart: %s", why)
	}
	m.Restore(backup, store.MemoryRestore{})
	for range 2 { // the second one finds the mark
		if why := restarted(m); why != string(store.RegressionOlderRevision) {
			t.Errorf("after a restore: %q", why)
		}
	}
	s = open(m)
	epoch, err := s.ConfirmRestore(t.Context(), store.Confirmation{Actor: "ann", Reason: "x", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), epoch) {
		t.Errorf("the file says %s, %v", data, err)
	}
	if why := restarted(m); why != "" {
		t.Errorf("after the confirmation: %s", why)
	}
	empty := store.NewMemory(store.MemoryOptions{})
	defer func() { _ = empty.Close() }()
	if why := restarted(empty); why != string(store.RegressionNoEpoch) {
		t.Errorf("on an empty store: %q", why)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if why := restarted(m); why != "" {
		t.Errorf("with a file that can't be read: %s", why)
	}
}

// TestARestoreThatIsKnownIsSaid: who starts the store knows that its directory was made from a backup.
func TestARestoreThatIsKnownIsSaid(t *testing.T) {
	m := store.NewMemory(store.MemoryOptions{})
	defer func() { _ = m.Close() }()
	first := start(t, m)
	when := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	if _, err := first.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.BackupKey(), backupAt(when))}}); err != nil {
		t.Fatal(err)
	}
	first.Close()
	s := store.New(store.Options{Backend: m, Replica: "a", Restored: &store.Restored{Detail: "made from x.db"}})
	defer s.Close()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	why, _ := s.ObserveOnly()
	if why.GetDetail() != "made from x.db" || why.GetReason() != string(store.RegressionRestoredHere) || !why.GetBackupTime().AsTime().Equal(when) {
		t.Errorf("why: %v", why)
	}
}

func backupAt(when time.Time) *recordv1.Backup {
	return &recordv1.Backup{BeginTime: timestamppb.New(when)}
}
