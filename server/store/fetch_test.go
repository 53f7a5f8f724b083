package store_test

import (
	"errors"
	"fmt"
	"testing"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

func TestFetchAndScanReadWhatIsNotMirrored(t *testing.T) {
	bubble(t, store.Options{}, func(t *testing.T, m *store.Memory, f *storetest.Faulty, s *store.Store) {
		var ops []store.Op
		for i := range 10 {
			ops = append(ops, store.Put(store.AuditKey(fmt.Sprint("a-", i)), &jurymastv1.AuditEvent{Name: fmt.Sprint(i)}))
		}
		ops = append(ops, store.Op{Key: store.AuditKey("a-5x"), Value: []byte("rubbish")},
			store.Put(store.RunEventsKey("r-1", 7), &recordv1.RunEvents{}))
		result, err := s.Commit(t.Context(), store.Txn{Then: ops})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WaitRevision(t.Context(), result.Revision); err != nil {
			t.Fatal(err)
		}
		s.Read(func(v store.View) {
			if got := store.List[*jurymastv1.AuditEvent](v, store.Audit); len(got) != 0 {
				t.Errorf("mirrored: %v", got)
			}
		})
		one, err := store.Fetch[*jurymastv1.AuditEvent](t.Context(), s, store.AuditKey("a-3"))
		if err != nil || one.Msg.GetName() != "3" || one.Mod != result.Revision || one.Create != result.Revision {
			t.Errorf("fetched %+v, %v", one, err)
		}
		none, err := store.Fetch[*jurymastv1.AuditEvent](t.Context(), s, store.AuditKey("a-"))
		if err != nil || none.Mod != 0 || none.Msg != nil || none.Key != store.AuditKey("a-") {
			t.Errorf("fetched nothing: %+v, %v", none, err)
		}
		if _, err := store.Fetch[*jurymastv1.AuditEvent](t.Context(), s, store.AuditKey("a-5x")); !errors.Is(err, store.ErrForeignRecord) {
			t.Errorf("fetched rubbish: %v", err)
		}
		checkPages(t, s)
		f.SetDown(true)
		if _, err := store.Fetch[*jurymastv1.AuditEvent](t.Context(), s, store.AuditKey("a-3")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("fetched without a store: %v", err)
		}
		if _, _, err := store.Scan[*jurymastv1.AuditEvent](t.Context(), s, store.Audit, "", 1); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("scanned without a store: %v", err)
		}
	})
}

// checkPages pages through the audit events in both directions; the one that can't be read is left out.
func checkPages(t *testing.T, s *store.Store) {
	t.Helper()
	var up, down string
	for from, more := "", true; more; {
		var page []store.Record[*jurymastv1.AuditEvent]
		var err error
		page, more, err = store.Scan[*jurymastv1.AuditEvent](t.Context(), s, store.Audit, from, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			up += r.Msg.GetName()
			from = r.Key + "\x00"
		}
	}
	for before, more := "", true; more; {
		var page []store.Record[*jurymastv1.AuditEvent]
		var err error
		page, more, err = store.ScanDescending[*jurymastv1.AuditEvent](t.Context(), s, store.Audit, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			down += r.Msg.GetName()
			before = r.Key
		}
	}
	if up != "0123456789" || down != "9876543210" {
		t.Errorf("pages %s and %s", up, down)
	}
}
