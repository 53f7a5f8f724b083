package store_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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

// TestARestoredClusterIsNoticedAtOnce restores the etcd under a running replica from a snapshot, at the same address. As
// soon as it answers, the replica must not show what it knew before as live.
func TestARestoredClusterIsNoticedAtOnce(t *testing.T) {
	for name, keep := range map[string]bool{"revision moved on": false, "revision went back": true} {
		t.Run(name, func(t *testing.T) {
			node := etcdtest.StartSingle(t)
			proxy := startProxy(t, socketOf(node), nil)
			s := store.New(store.Options{Backend: dial(t, "http://"+proxy.address())})
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
			began := time.Now()
			waitFor(t, "the replica to be connected again", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := store.Fetch[*jurymastv1.Provider](ctx, s, store.ProviderKey("old"))
				return err == nil
			})
			connected := time.Now()
			waitFor(t, "the newer state to be gone", func() bool {
				gone := false
				s.Read(func(v store.View) { gone = store.Get[*jurymastv1.Provider](v, store.ProviderKey("new")).Mod == 0 })
				return gone
			})
			noticed := time.Since(connected)
			t.Logf("connected after %v, noticed %v later; session: %v", connected.Sub(began), noticed, session.Err())
			if noticed > time.Second {
				t.Errorf("the newer state was shown as live for %v", noticed)
			}
		})
	}
}
