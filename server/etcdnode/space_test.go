package etcdnode_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

func TestJudge(t *testing.T) {
	const plenty = 1 << 40
	for _, c := range []struct {
		name        string
		space       etcdnode.Space
		want        etcdnode.SpaceVerdict
		state, bulk bool
	}{
		{"empty", etcdnode.Space{DiskFree: plenty, Quota: 1000}, etcdnode.SpaceOK, true, true},
		{"59 %", etcdnode.Space{DiskFree: plenty, Quota: 1000, InUse: 599}, etcdnode.SpaceOK, true, true},
		{"60 %", etcdnode.Space{DiskFree: plenty, Quota: 1000, InUse: 600}, etcdnode.SpaceTight, true, true},
		{"75 %", etcdnode.Space{DiskFree: plenty, Quota: 1000, InUse: 750}, etcdnode.SpaceReserved, true, false},
		{"above the quota", etcdnode.Space{DiskFree: plenty, Quota: 1000, InUse: 2000}, etcdnode.SpaceReserved, true, false},
		{"huge", etcdnode.Space{DiskFree: plenty, Quota: math.MaxInt64, InUse: math.MaxInt64}, etcdnode.SpaceReserved, true, false},
		{"256 MiB of disk", etcdnode.Space{DiskFree: 256 << 20, Quota: 1000}, etcdnode.SpaceOK, true, true},
		{"less disk", etcdnode.Space{DiskFree: 256<<20 - 1, Quota: 1000}, etcdnode.SpaceDiskLow, false, false},
		{"disk before quota", etcdnode.Space{Quota: 1000, InUse: 800}, etcdnode.SpaceDiskLow, false, false},
		{"alarm", etcdnode.Space{DiskFree: plenty, Quota: 1000, NoSpace: true}, etcdnode.SpaceExhausted, false, false},
		{"corrupt", etcdnode.Space{NoSpace: true, Corrupt: true}, etcdnode.SpaceCorrupt, false, false},
		{"quota unknown", etcdnode.Space{DiskFree: plenty, InUse: 5}, etcdnode.SpaceOK, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.space.Judge()
			if got != c.want || got.AllowsState() != c.state || got.AllowsBulk() != c.bulk {
				t.Errorf("%s, state %v, bulk %v; want %s, %v, %v", got, got.AllowsState(), got.AllowsBulk(), c.want, c.state, c.bulk)
			}
		})
	}
}

func TestFreeDisk(t *testing.T) {
	free, err := etcdnode.FreeDisk(t.TempDir())
	if err != nil || free == 0 {
		t.Errorf("free space of the temporary directory: %d, %v", free, err)
	}
	if _, err := etcdnode.FreeDisk(t.TempDir() + "/missing"); err == nil {
		t.Error("measured a directory that doesn't exist")
	}
}

func TestQuota(t *testing.T) {
	const quota = 2 << 20
	node := etcdtest.StartSingle(t, etcdtest.WithQuota(quota))
	client := node.Client()
	value := strings.Repeat("v", 64<<10)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = client.Put(t.Context(), "fill/"+strings.Repeat("x", i), value)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("filling a store of %d bytes ended with %v, want ErrNoSpace", quota, err)
	}
	space, err := node.Space()
	if err != nil {
		t.Fatal(err)
	}
	if got := space.Judge(); got != etcdnode.SpaceExhausted {
		t.Errorf("verdict %s for %+v", got, space)
	}
	if _, err := client.Put(t.Context(), "small", "1"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a small write under the alarm: %v, want ErrNoSpace", err)
	}

	// The alarm survives a restart: what was refused stays refused until somebody makes room.
	node = etcdtest.Restart(t, node, etcdtest.WithQuota(quota))
	client = node.Client()
	if !node.Status().NoSpace {
		t.Error("the alarm is gone after a restart")
	}
	if _, err := client.Delete(t.Context(), "fill/", clientv3.WithPrefix()); err != nil {
		t.Fatalf("deleting under the alarm: %v", err)
	}
	won, err := node.Reclaim(t.Context())
	if err != nil || won < quota/2 {
		t.Fatalf("reclaim won %d bytes: %v", won, err)
	}
	put(t, client, "small", "1")
	if status := node.Status(); status.NoSpace || status.Size >= quota {
		t.Errorf("after reclaiming: %+v", status)
	}
	if _, err := node.Reclaim(t.Context()); err != nil {
		t.Errorf("reclaiming again: %v", err)
	}
}
