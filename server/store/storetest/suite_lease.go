package storetest

import (
	"testing"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

var leaseTests = map[string]func(*testing.T, *subject){
	"LeaseExpires":             testLeaseExpires,
	"LeaseIsKeptAlive":         testLeaseKeptAlive,
	"LeaseIsRevoked":           testLeaseRevoked,
	"LostLeaseFailsItsWrite":   testLostLease,
	"KeyLeavesItsLease":        testKeyLeavesLease,
	"KeyOfALeaseCanBeDeleted":  testLeasedKeyDeleted,
	"LeasesHaveDifferentNames": testLeaseNames,
}

func (s *subject) grant(t *testing.T, ttl time.Duration) store.LeaseID {
	t.Helper()
	id, err := s.Backend.Leases().Grant(s.ctx(t), ttl)
	if err != nil || id == 0 {
		t.Fatalf("grant: %v, %v", id, err)
	}
	return id
}

func leased(name string, id store.LeaseID) store.Op {
	return store.Op{Key: k(name), Value: []byte("leased"), Lease: id}
}

func testLeaseExpires(t *testing.T, s *subject) {
	asked := time.Now()
	id := s.grant(t, s.TTL)
	rev := s.commit(t, leased("a", id), leased("b", id), put("c", "stays"))
	if e := s.get(t, "a"); e.Lease != id {
		t.Errorf("entry %+v, want lease %x", e, id)
	}
	w := s.watch(t, store.Root, rev)
	changes := w.reach(t, rev+1)
	lived := time.Since(asked)
	if lived < s.TTL || lived > s.TTL+s.Slack {
		t.Errorf("the lease lived %v, TTL %v", lived, s.TTL)
	}
	// All keys of a lease go at one revision.
	if len(changes) != 2 || !changes[0].Deleted || !changes[1].Deleted || changes[0].ModRevision != rev+1 || changes[1].ModRevision != rev+1 {
		t.Errorf("expiry: %+v", changes)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); names(page) != "c" {
		t.Errorf("left: %s", names(page))
	}
	wantError(t, s.Backend.Leases().KeepAlive(s.ctx(t), id), store.ErrLeaseLost)
}

func testLeaseKeptAlive(t *testing.T, s *subject) {
	id := s.grant(t, s.TTL)
	s.commit(t, leased("a", id))
	began := time.Now()
	tick := time.NewTicker(s.TTL / 4)
	defer tick.Stop()
	for time.Since(began) < 3*s.TTL+s.TTL/2 {
		<-tick.C
		if err := s.Backend.Leases().KeepAlive(s.ctx(t), id); err != nil {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
	}
	if e := s.get(t, "a"); e.Lease != id {
		t.Errorf("kept alive: %+v", e)
	}
	began = time.Now()
	until(t, "the lease expires when nobody keeps it alive any more", func() bool { return s.get(t, "a").ModRevision == 0 })
	if lived := time.Since(began); lived > s.TTL+s.Slack {
		t.Errorf("the lease lived on for %v, TTL %v", lived, s.TTL)
	}
}

func testLeaseRevoked(t *testing.T, s *subject) {
	id := s.grant(t, time.Hour)
	rev := s.commit(t, leased("a", id), leased("b", id))
	if err := s.Backend.Leases().Revoke(s.ctx(t), id); err != nil {
		t.Fatal(err)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); len(page.Entries) != 0 || page.Revision != rev+1 {
		t.Errorf("after revoke: %+v, want nothing at revision %d", page, rev+1)
	}
	wantError(t, s.Backend.Leases().Revoke(s.ctx(t), id), store.ErrLeaseLost)
	wantError(t, s.Backend.Leases().KeepAlive(s.ctx(t), id), store.ErrLeaseLost)
}

func testLostLease(t *testing.T, s *subject) {
	id := s.grant(t, time.Hour)
	rev := s.commit(t, put("a", "1"))
	if err := s.Backend.Leases().Revoke(s.ctx(t), id); err != nil {
		t.Fatal(err)
	}
	_, err := s.Backend.Commit(s.ctx(t), store.Txn{Then: []store.Op{put("b", "1"), leased("c", id)}})
	wantError(t, err, store.ErrLeaseLost)
	// A transaction whose compares fail does not look at its writes.
	s.refused(t, []store.Compare{store.Absent(k("a"))}, leased("c", id))
	if page := s.read(t, store.Query{Prefix: store.Root}); names(page) != "a" || page.Revision != rev {
		t.Errorf("after a lost lease: %+v", page)
	}
}

func testKeyLeavesLease(t *testing.T, s *subject) {
	first, second := s.grant(t, time.Hour), s.grant(t, time.Hour)
	s.commit(t, leased("free", first), leased("moved", first), leased("kept", first))
	s.commit(t, put("free", "x"), leased("moved", second))
	if e := s.get(t, "free"); e.Lease != 0 {
		t.Errorf("freed: %+v", e)
	}
	if err := s.Backend.Leases().Revoke(s.ctx(t), first); err != nil {
		t.Fatal(err)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); names(page) != "free moved" {
		t.Errorf("after the first lease: %s", names(page))
	}
	if err := s.Backend.Leases().Revoke(s.ctx(t), second); err != nil {
		t.Fatal(err)
	}
	if page := s.read(t, store.Query{Prefix: store.Root}); names(page) != "free" {
		t.Errorf("after the second lease: %s", names(page))
	}
}

func testLeasedKeyDeleted(t *testing.T, s *subject) {
	id := s.grant(t, time.Hour)
	s.commit(t, leased("a", id))
	rev := s.commit(t, del("a"))
	if err := s.Backend.Leases().Revoke(s.ctx(t), id); err != nil {
		t.Fatal(err)
	}
	if got := s.revision(t); got != rev {
		t.Errorf("revoking a lease without keys: revision %d, want %d", got, rev)
	}
}

func testLeaseNames(t *testing.T, s *subject) {
	seen := map[store.LeaseID]bool{}
	for range 20 {
		id := s.grant(t, time.Hour)
		if seen[id] {
			t.Fatalf("lease %x twice", id)
		}
		seen[id] = true
	}
}
