package etcdtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

func TestSingleRestart(t *testing.T) {
	node := etcdtest.StartSingle(t)
	if _, err := node.Client().Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	id := node.Status().ClusterID
	next := etcdtest.Restart(t, node)
	answer, err := next.Client().Get(t.Context(), "a")
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("after a restart: %+v, %v", answer, err)
	}
	if next.Status().ClusterID != id {
		t.Error("the cluster id changed with a restart")
	}
	if other := etcdtest.StartSingle(t); other.Status().ClusterID == id {
		t.Error("two installations have the same cluster id")
	}
}

// A path that is too long for a socket must not keep a node from starting, nor leave anything behind.
func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	node := etcdtest.StartSingle(t, etcdtest.WithDataDir(dir))
	socket := strings.TrimPrefix(node.Endpoint(), "unix://")
	if strings.HasPrefix(socket, dir) {
		t.Fatalf("the socket %s is too long", socket)
	}
	dialled(t, node.Endpoint())
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	node := etcdtest.StartSingle(t)
	if want := "unix://" + filepath.Join(node.DataDir(), "etcd.sock"); len(want) < 100 && node.Endpoint() != want {
		t.Errorf("endpoint %s, want %s", node.Endpoint(), want)
	}
	dialled(t, node.Endpoint())
}

// dialled checks that a client of another process could use the endpoint.
func dialled(t *testing.T, endpoint string) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := client.Put(ctx, "a", "1"); err != nil {
		t.Errorf("put through %s: %v", endpoint, err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, 3)
	client := cluster.Client()
	write := func(key string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := client.Put(ctx, key, "1"); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
	write("before")
	leader := cluster.Leader()
	cluster.Stop(leader)
	if cluster.Node(leader) != nil {
		t.Error("a stopped member is still there")
	}
	write("without the old leader")
	if next := cluster.Leader(); next == leader {
		t.Errorf("the stopped member %d still leads", leader)
	}
	node := cluster.Restart(leader)
	answer, err := node.Client().Get(t.Context(), "", clientv3.WithFromKey())
	if err != nil || len(answer.Kvs) != 2 {
		t.Errorf("the restarted member knows %+v, %v, want two keys", answer, err)
	}
}

func TestMinorityRefuses(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartCluster(t, 3)
	for i := range 2 {
		cluster.Stop(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := cluster.Node(2).Client().Put(ctx, "a", "1"); err == nil {
		t.Error("one member of three accepted a write")
	}
}

// BenchmarkStartSingle measures what a test pays for its own etcd.
func BenchmarkStartSingle(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		b.Run(fmt.Sprintf("fsync=%v", fsync), func(b *testing.B) {
			var options []etcdtest.Option
			if fsync {
				options = append(options, etcdtest.WithFsync())
			}
			var fresh, again time.Duration
			for b.Loop() {
				node := etcdtest.StartSingle(b, options...)
				fresh += node.ReadyAfter()
				next := etcdtest.Restart(b, node, options...)
				again += next.ReadyAfter()
				if err := next.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(fresh.Seconds()*1000/float64(b.N), "ms/new")
			b.ReportMetric(again.Seconds()*1000/float64(b.N), "ms/restart")
		})
	}
}
