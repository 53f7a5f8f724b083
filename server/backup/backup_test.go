package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/backup"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
)

func startStore(t *testing.T, node *etcdnode.Node) (*store.Store, *store.Etcd) {
	t.Helper()
	e := store.NewEtcd(store.EtcdOptions{Client: node.Client()})
	s := store.New(store.Options{Backend: e, Replica: "a"})
	t.Cleanup(func() {
		s.Close()
		_ = e.Close()
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, e
}

func put(t *testing.T, s *store.Store, name string) {
	t.Helper()
	r, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{store.Put(store.ProviderKey(name), &jv1.Provider{Name: name})}})
	if err != nil || !r.Committed {
		t.Fatalf("put: %+v, %v", r, err)
	}
}

// TestAutomaticBackupsAreKeptAndCanBeRestored lets a server take backups one after the other: the newest are kept, what others
// put into the directory stays, and the last one becomes a store with all that was written before it, which knows when it
// was taken.
func TestAutomaticBackupsAreKeptAndCanBeRestored(t *testing.T) {
	node := etcdtest.StartSingle(t)
	s, e := startStore(t, node)
	put(t, s, "kept")
	dir := filepath.Join(t.TempDir(), "backups")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mine.db", ".backup-left.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var hours atomic.Int64 // each look at the clock is an hour later
	begin := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	b, err := backup.New(backup.Options{
		Store: s, Source: e, Dir: dir, Replica: "a", Every: 10 * time.Millisecond, Keep: 2,
		Now: func() time.Time { return begin.Add(time.Duration(hours.Add(1)) * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	var files []string
	first := ""
	for deadline := time.Now().Add(30 * time.Second); len(files) < 2 || files[0] == first; {
		if time.Now().After(deadline) {
			t.Fatalf("no backups are taken, or the oldest stays: %q", files)
		}
		if files, err = filepath.Glob(filepath.Join(dir, "jurymast-*.db")); err != nil {
			t.Fatal(err)
		}
		if first == "" && len(files) > 0 {
			first = files[0]
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if files, err = filepath.Glob(filepath.Join(dir, "jurymast-*.db")); err != nil || len(files) > 2 {
		t.Fatalf("kept %q, %v", files, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mine.db")); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".backup-left.tmp")); !os.IsNotExist(err) {
		t.Errorf("an unfinished backup is still there: %v", err)
	}
	restored := filepath.Join(t.TempDir(), "scratch")
	if _, err := etcdnode.Restore(etcdnode.RestoreOptions{From: files[len(files)-1], DataDir: restored}); err != nil {
		t.Fatal(err)
	}
	again, _ := startStore(t, etcdtest.StartSingle(t, etcdtest.WithDataDir(restored)))
	why, observing := again.ObserveOnly()
	if !observing || why.GetReason() != string(store.RegressionForeignCluster) || !why.GetBackupTime().AsTime().After(begin) {
		t.Errorf("a store that was restored: %v, %v", why, observing)
	}
	again.Read(func(v store.View) {
		if store.Get[*jv1.Provider](v, store.ProviderKey("kept")).Mod == 0 {
			t.Error("what was written before the backup is not in it")
		}
	})
}

// source gives what it is told to.
type source func() (io.ReadCloser, error)

func (s source) Snapshot(context.Context) (io.ReadCloser, error) { return s() }

// TestABackupThatIsNotOneIsRefused: what breaks off, lacks its hash, or is older than the store is no backup, and leaves
// nothing behind.
func TestABackupThatIsNotOneIsRefused(t *testing.T) {
	s, e := startStore(t, etcdtest.StartSingle(t))
	old, err := e.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale, err := io.ReadAll(old)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		source source
		want   error
	}{
		"no answer": {func() (io.ReadCloser, error) { return nil, broken }, broken},
		"rubbish":   {reads([]byte("rubbish")), etcdnode.ErrSnapshot},
		"cut off":   {reads(stale[:len(stale)-100]), etcdnode.ErrSnapshot},
		"stale":     {reads(stale), backup.ErrStale},
	} {
		dir := filepath.Join(t.TempDir(), name)
		b, err := backup.New(backup.Options{Store: s, Source: c.source, Dir: dir, Replica: "a"})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "more")
		if _, err := b.Take(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	s.Read(func(v store.View) {
		if r := store.Get[*recordv1.Backup](v, store.BackupKey()); r.Msg.GetBeginTime() == nil || r.Msg.GetSuccessTime() != nil {
			t.Errorf("the record says %v", r.Msg)
		}
	})
}

func reads(data []byte) source {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}
