package store_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		m := store.NewMemory(store.MemoryOptions{Bookmark: 50 * time.Millisecond})
		t.Cleanup(func() { _ = m.Close() })
		return storetest.Subject{
			Backend: m,
			Compact: func(_ context.Context, revision int64) error { return m.Compact(revision) },
			TTL:     time.Second,
			Slack:   2 * time.Second,
		}
	})
}

// etcdSubject is a backend on a member, as seen by the conformance suite.
func etcdSubject(t *testing.T, e *store.Etcd, client *clientv3.Client) storetest.Subject {
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return storetest.Subject{
		Backend: e,
		Compact: func(ctx context.Context, revision int64) error {
			_, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical())
			return err
		},
		TTL:   2 * time.Second,
		Slack: 5 * time.Second,
	}
}

func TestEmbeddedEtcdConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		node := etcdtest.StartSingle(t)
		e := store.NewEtcd(store.EtcdOptions{Client: node.Client(), Bookmark: 50 * time.Millisecond})
		return etcdSubject(t, e, node.Client())
	})
}

func TestDialledEtcdConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		node := etcdtest.StartSingle(t)
		e, err := store.DialEtcd(store.DialOptions{
			Endpoints: []string{node.Endpoint()},
			Etcd:      store.EtcdOptions{Bookmark: 50 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		return etcdSubject(t, e, node.Client())
	})
}
