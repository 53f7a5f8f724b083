package etcdnode_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode"
)

// One key that is written again and again fills the history, not the database: what is dropped early makes room within a
// quota that the history would have broken several times over.
func TestABurstOfWritesStaysBelowTheQuota(t *testing.T) {
	const quota = 32 << 20
	node, err := etcdnode.Start(t.Context(), etcdnode.Options{
		DataDir: t.TempDir(), QuotaBytes: quota, GrowthCheck: 20 * time.Millisecond, UnsafeNoFsync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}()
	value := strings.Repeat("v", 16<<10)
	var first int64
	for i := range 4 * quota / len(value) {
		resp, err := node.Client().Put(t.Context(), "key", value)
		if err != nil {
			t.Fatalf("write %d: %v with %+v", i, err, node.Status())
		}
		if first == 0 {
			first = resp.Header.Revision
		}
		// A writer that is faster than pages come free would break any quota. They come free with later writes.
		for deadline := time.Now().Add(20 * time.Second); node.Status().InUse > quota/4; time.Sleep(5 * time.Millisecond) {
			if _, err := node.Client().Put(t.Context(), "small", "v"); err != nil || time.Now().After(deadline) {
				t.Fatalf("after write %d nothing comes free: %v, %+v", i, err, node.Status())
			}
		}
	}
	if _, err := node.Client().Get(t.Context(), "key", clientv3.WithRev(first)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("the first revision is still there: %v", err)
	}
	if status := node.Status(); status.NoSpace {
		t.Errorf("%+v", status)
	}
}
