package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// fenced tries to write under a session's fence and tells whether that was possible.
func fenced(t *testing.T, s *store.Store, session *store.Session) bool {
	t.Helper()
	res, err := s.Commit(context.Background(), store.Txn{
		If:   []store.Compare{session.Fence()},
		Then: []store.Op{store.Put(store.ProviderKey("fenced"), provider("fenced"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.Committed
}

// sessionKeys returns the keys of all sessions as the backend has them.
func sessionKeys(t *testing.T, b store.Backend) []string {
	t.Helper()
	page, err := b.Range(context.Background(), store.Query{Prefix: store.Sessions})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range page.Entries {
		keys = append(keys, e.Key)
	}
	return keys
}

func TestSessionIsKeptAliveAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := start(t, m)
		defer s.Close()
		session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1", Version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if session.Err() != nil || !fenced(t, s, session) {
			t.Fatalf("session over after an hour: %v", session.Err())
		}
		if err := session.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if keys := sessionKeys(t, m); len(keys) != 0 || fenced(t, s, session) {
			t.Errorf("after close: keys %v", keys)
		}
		if !errors.Is(session.Err(), store.ErrClosed) {
			t.Errorf("err %v", session.Err())
		}
		if err := session.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestSessionIsAssumedLostBeforeTheStoreLetsItGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		s := start(t, f)
		defer s.Close()
		session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.SetDown(true)
		<-session.Done()
		if keys := sessionKeys(t, m); len(keys) != 1 || !errors.Is(session.Err(), store.ErrLeaseLost) {
			t.Errorf("when assumed lost: keys %v, err %v", keys, session.Err())
		}
	})
}

func TestSessionEndsAtOnceWhenItsKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := start(t, m)
		defer s.Close()
		session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := m.Leases().Revoke(t.Context(), session.Lease); err != nil {
			t.Fatal(err)
		}
		<-session.Done()
		if took := time.Since(began); took != 0 || !errors.Is(session.Err(), store.ErrLeaseLost) {
			t.Errorf("noticed after %v: %v", took, session.Err())
		}
	})
}

func TestOpenSessionDeletesPredecessorsOfItsReplicaOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		s := start(t, m)
		defer s.Close()
		open := func(replica string, deletes bool) *store.Session {
			session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: replica, DeletePredecessors: deletes})
			if err != nil {
				t.Fatal(err)
			}
			return session
		}
		neighbour, old := open("r10", false), open("r1", false)
		young := open("r1", true)
		<-old.Done()
		if fenced(t, s, old) || !fenced(t, s, young) || !fenced(t, s, neighbour) {
			t.Error("the predecessor can still write, or the others can't")
		}
		if young.Token <= old.Token {
			t.Errorf("token %d does not follow %d", young.Token, old.Token)
		}
	})
}

func TestKeeperOpensANewSessionAfterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		s := start(t, f)
		defer s.Close()
		k := store.NewKeeper(s, store.SessionOptions{Replica: "r1", DeletePredecessors: true})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- k.Run(ctx) }()
		first, err := k.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.LoseLeases(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-first.Done()
		second, err := k.Wait(t.Context())
		if err != nil || second.Token <= first.Token || second.Key == first.Key {
			t.Fatalf("second session %+v, %v", second, err)
		}
		f.SetDown(true)
		<-second.Done()
		if k.Current() != nil {
			t.Error("a lost session is still current")
		}
		time.Sleep(time.Minute)
		f.SetDown(false)
		third, err := k.Wait(t.Context())
		if err != nil || !fenced(t, s, third) {
			t.Fatalf("third session: %v", err)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if keys := sessionKeys(t, m); len(keys) != 0 {
			t.Errorf("keys after the end: %v", keys)
		}
	})
}
