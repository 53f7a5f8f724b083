package store_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jurymastv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
)

// takeSnapshot saves a member's state to a file.
func takeSnapshot(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	r, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestARestoredClusterIsNoticedAtOnce restores the etcd under a running replica from a snapshot, at the same address: the
// first connection to it tells, and the replica does not go on showing what it knew before.
func TestARestoredClusterIsNoticedAtOnce(t *testing.T) {
	for name, keep := range map[string]bool{"revision moved on": false, "revision went back": true} {
		t.Run(name, func(t *testing.T) {
			node := etcdtest.StartSingle(t)
			proxy := startProxy(t, socketOf(node), nil)
			// Nothing but the new connection can tell: the store is not asked by itself for a minute.
			s := store.New(store.Options{Backend: dial(t, "http://"+proxy.address()), Probe: time.Minute, Stale: 2 * time.Minute, Sweep: time.Hour})
			t.Cleanup(s.Close)
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			session, err := s.OpenSession(t.Context(), store.SessionOptions{Replica: "r1", TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "old")
			file := takeSnapshot(t, node.Client())
			put(t, s, "old")
			put(t, s, "new")
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			proxy.cut()
			dir := filepath.Join(t.TempDir(), "restored")
			if _, err := etcdnode.Restore(etcdnode.RestoreOptions{From: file, DataDir: dir, KeepRevision: keep}); err != nil {
				t.Fatal(err)
			}
			restored := etcdtest.StartSingle(t, etcdtest.WithDataDir(dir))
			proxy.redirect(socketOf(restored))
			waitFor(t, "the newer state to be gone", func() bool {
				gone := false
				s.Read(func(v store.View) { gone = store.Get[*jurymastv1.Provider](v, store.ProviderKey("new")).Mod == 0 })
				return gone
			})
			if session.Err() == nil {
				t.Error("a session outlived the store it was opened in")
			}
			waitFor(t, "the cluster to say so", func() bool {
				_, err := store.Fetch[*recordv1.ObserveOnly](t.Context(), s, store.ObserveOnlyKey())
				why, _ := s.ObserveOnly()
				return err == nil && why.GetReason() != ""
			})
		})
	}
}
