// Package etcdtest starts embedded etcd members for the tests of other packages: one member in well under 150 ms, or
// a cluster whose members can be stopped and restarted.
//
// Members live in the test's temporary directory, listen on private sockets and loopback only, are closed when the test
// ends, and skip fsync unless told otherwise: they lose nothing when a process dies, only when the machine does.
package etcdtest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/etcdnode"
)

// startTimeout is generous: it decides only when a start that hangs is given up.
const startTimeout = 60 * time.Second

// Option changes how a test's member is started.
type Option func(*etcdnode.Options)

// WithFsync makes the member sync its writes as in production, for tests that measure or that lose power.
func WithFsync() Option { return func(o *etcdnode.Options) { o.UnsafeNoFsync = false } }

// WithQuota sets the size at which the database refuses to grow.
func WithQuota(bytes int64) Option { return func(o *etcdnode.Options) { o.QuotaBytes = bytes } }

// WithDataDir uses a directory of the test's own, e.g. one that an earlier member wrote.
func WithDataDir(dir string) Option { return func(o *etcdnode.Options) { o.DataDir = dir } }

// WithLogger lets the test read etcd's warnings.
func WithLogger(log hclog.Logger) Option { return func(o *etcdnode.Options) { o.Logger = log } }

// StartSingle starts a single member and closes it when the test ends. The test may close it earlier.
func StartSingle(tb testing.TB, options ...Option) *etcdnode.Node {
	tb.Helper()
	o := etcdnode.Options{UnsafeNoFsync: true}
	for _, option := range options {
		option(&o)
	}
	if o.DataDir == "" {
		o.DataDir = filepath.Join(tb.TempDir(), "etcd") // the node creates it, with its own mode
	}
	return start(tb, o)
}

// Restart closes a single member, if that has not been done yet, and starts its successor on the same directory.
func Restart(tb testing.TB, node *etcdnode.Node, options ...Option) *etcdnode.Node {
	tb.Helper()
	if err := node.Close(); err != nil {
		tb.Fatalf("closing the member to restart: %v", err)
	}
	return StartSingle(tb, append([]Option{WithDataDir(node.DataDir())}, options...)...)
}

func start(tb testing.TB, o etcdnode.Options) *etcdnode.Node {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	node, err := etcdnode.Start(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := node.Close(); err != nil {
			tb.Errorf("closing etcd: %v", err)
		}
	})
	return node
}
