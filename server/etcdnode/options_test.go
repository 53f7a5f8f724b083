package etcdnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
)

func TestOptionsAreChecked(t *testing.T) {
	cluster := func(listen string, members map[string]string) *Cluster {
		return &Cluster{Members: members, ListenPeer: listen}
	}
	good := map[string]string{"a": "http://127.0.0.1:1234"}
	for _, c := range []struct {
		name    string
		options Options
		want    string // "" accepts
	}{
		{"defaults", Options{DataDir: "d"}, ""},
		{"no directory", Options{}, "no data directory"},
		{"quota switched off", Options{DataDir: "d", QuotaBytes: -1}, "quota"},
		{"compaction at once", Options{DataDir: "d", Compaction: time.Millisecond}, "compaction"},
		{"negative close timeout", Options{DataDir: "d", CloseTimeout: -1}, "close timeout"},
		{"member", Options{DataDir: "d", Name: "a", Cluster: cluster("", good)}, ""},
		{"stranger", Options{DataDir: "d", Name: "b", Cluster: cluster("", good)}, `"b" is not among`},
		{"peer without port", Options{DataDir: "d", Name: "a", Cluster: cluster("", map[string]string{"a": "http://127.0.0.1"})}, "http://host:port"},
		{"peer in the open", Options{DataDir: "d", Name: "a", Cluster: cluster("http://0.0.0.0:1", good)}, "not on a loopback address"},
		{"peer by name", Options{DataDir: "d", Name: "a", Cluster: cluster("http://example.com:1", good)}, "not on a loopback address"},
		{"listener beside the address", Options{DataDir: "d", Name: "a", Cluster: cluster("http://[::1]:1", map[string]string{"a": "http://example.com:1"})}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.options.withDefaults().validate()
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want ErrOptions with %q", err, c.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	one, err := config(Defaults("/d"), "/d/etcd.sock", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	other, err := config(Defaults("/d"), "/d/etcd.sock", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if len(one.ListenPeerUrls) != 0 || len(one.ListenClientHttpUrls) != 0 || len(one.ListenMetricsUrls) != 0 {
		t.Error("a single member listens on more than its socket")
	}
	if len(one.ListenClientUrls) != 1 || one.ListenClientUrls[0].String() != "unix:///d/etcd.sock" {
		t.Errorf("client listeners %v", one.ListenClientUrls)
	}
	if one.TickMs != 100 || one.ElectionMs != 500 {
		t.Errorf("a single member ticks every %d ms and elects after %d ms", one.TickMs, one.ElectionMs)
	}
	if one.InitialClusterToken == other.InitialClusterToken {
		t.Error("two installations get the same cluster id")
	}
	if one.AutoCompactionMode != "periodic" || one.AutoCompactionRetention != "1h0m0s" {
		t.Errorf("compaction %s %s", one.AutoCompactionMode, one.AutoCompactionRetention)
	}
	if one.QuotaBackendBytes != 2<<30 || one.UnsafeNoFsync {
		t.Errorf("quota %d, no fsync %v", one.QuotaBackendBytes, one.UnsafeNoFsync)
	}
	if !one.ServerFeatureGate.Enabled(features.InitialCorruptCheck) || !one.ServerFeatureGate.Enabled(features.CompactHashCheck) {
		t.Error("corruption checks are off")
	}

	o := Defaults("/d")
	o.Name = "b"
	o.Cluster = &Cluster{Members: map[string]string{"b": "http://127.0.0.1:2", "a": "http://127.0.0.1:1"}, Token: "t"}
	member, err := config(o, "/d/etcd.sock", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if member.TickMs != 100 || member.ElectionMs != 1000 {
		t.Errorf("a member of a cluster ticks every %d ms and elects after %d ms", member.TickMs, member.ElectionMs)
	}
	if member.InitialCluster != "a=http://127.0.0.1:1,b=http://127.0.0.1:2" || member.InitialClusterToken != "t" {
		t.Errorf("cluster %q, token %q", member.InitialCluster, member.InitialClusterToken)
	}
}

// A member without a majority is never ready; the context bounds that, and nothing stays behind.
func TestStartIsBoundedByItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	dir := t.TempDir() + "/etcd"
	_, err := Start(ctx, Options{
		DataDir: dir, Name: "a", UnsafeNoFsync: true,
		Cluster: &Cluster{Members: map[string]string{"a": "http://127.0.0.1:19741", "b": "http://127.0.0.1:19742"}, Token: "t"},
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("start without a majority: %v", err)
	}
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatalf("the directory is still locked: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
