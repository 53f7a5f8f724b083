package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/etcdnode"
)

const (
	// firstPort and lastPort lie below the ports that Linux hands out to outgoing connections, so that a stopped
	// member finds its port free when it comes back.
	firstPort = 20000
	lastPort  = 32000
	// startTries is how often a cluster is started with other ports when one of them was snatched away.
	startTries = 5
)

// Cluster is a cluster of members in this process, with etcd's ordinary ticks: after its leader is gone, a new one takes
// 1 to 2 seconds. Its methods belong to the goroutine of the test.
type Cluster struct {
	tb      testing.TB
	options []etcdnode.Options
	nodes   []*etcdnode.Node
}

// StartCluster starts a cluster of size members and closes it when the test ends.
func StartCluster(tb testing.TB, size int, options ...Option) *Cluster {
	tb.Helper()
	var err error
	for range startTries {
		c := &Cluster{tb: tb, nodes: make([]*etcdnode.Node, size)}
		c.options = clusterOptions(tb, size, options)
		if err = c.startAll(); err == nil {
			tb.Cleanup(c.closeAll)
			return c
		}
		c.closeAll()
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	tb.Fatalf("starting a cluster of %d: %v", size, err)
	return nil
}

func clusterOptions(tb testing.TB, size int, options []Option) []etcdnode.Options {
	tb.Helper()
	dir := tb.TempDir()
	peers := &etcdnode.Cluster{Members: make(map[string]string, size), Token: dir}
	all := make([]etcdnode.Options, size)
	for i := range all {
		name := "m" + strconv.Itoa(i)
		peers.Members[name] = "http://127.0.0.1:" + strconv.Itoa(freePort(tb))
		all[i] = etcdnode.Options{
			Name:          name,
			DataDir:       filepath.Join(dir, name),
			Cluster:       peers,
			UnsafeNoFsync: true,
		}
		for _, option := range options {
			option(&all[i])
		}
	}
	return all
}

// freePort returns a port on which nobody listens now.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err == nil {
			return port
		}
	}
	tb.Fatal("no free port for a peer listener")
	return 0
}

// startAll starts the members at once: none is ready before a majority is. The first failure gives up the others.
func (c *Cluster) startAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var (
		wait  sync.WaitGroup
		once  sync.Once
		first error
	)
	for i := range c.nodes {
		wait.Go(func() {
			node, err := etcdnode.Start(ctx, c.options[i])
			if err != nil {
				once.Do(func() { first = err })
				cancel()
				return
			}
			c.nodes[i] = node
		})
	}
	wait.Wait()
	return first
}

// closeAll closes one member after the other: at once, each would try to hand over to another one that closes.
func (c *Cluster) closeAll() {
	for _, node := range c.nodes {
		if node == nil {
			continue
		}
		if err := node.Close(); err != nil {
			c.tb.Errorf("closing member %s: %v", node.Name(), err)
		}
	}
}

// Size is the number of members, running or not.
func (c *Cluster) Size() int { return len(c.nodes) }

// Node returns a member, or nil while it is stopped.
func (c *Cluster) Node(i int) *etcdnode.Node { return c.nodes[i] }

// Endpoints are the addresses of all members, running or not.
func (c *Cluster) Endpoints() []string {
	endpoints := make([]string, len(c.options))
	for i := range c.options {
		endpoints[i] = "unix://" + filepath.Join(c.options[i].DataDir, "etcd.sock")
		if c.nodes[i] != nil {
			endpoints[i] = c.nodes[i].Endpoint()
		}
	}
	return endpoints
}

// Client dials all members, as a server with an external etcd does, and closes the client when the test ends.
func (c *Cluster) Client() *clientv3.Client {
	c.tb.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: 5 * time.Second})
	if err != nil {
		c.tb.Fatalf("dialling the cluster: %v", err)
	}
	c.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Stop stops a member in good order; a leader hands over first.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	if c.nodes[i] == nil {
		return
	}
	if err := c.nodes[i].Close(); err != nil {
		c.tb.Fatalf("stopping member %d: %v", i, err)
	}
	c.nodes[i] = nil
}

// Restart starts a member on its old data and waits until it is ready, which needs a majority. A running one is stopped first.
func (c *Cluster) Restart(i int) *etcdnode.Node {
	c.tb.Helper()
	c.Stop(i)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	node, err := etcdnode.Start(ctx, c.options[i])
	if err != nil {
		c.tb.Fatalf("restarting member %d: %v", i, err)
	}
	c.nodes[i] = node
	return node
}

// Leader waits until the running members agree on a leader and returns its index.
func (c *Cluster) Leader() int {
	c.tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		leader, err := c.leader()
		if err == nil {
			return leader
		}
		if time.Now().After(deadline) {
			c.tb.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *Cluster) leader() (int, error) {
	leader, said := -1, uint64(0)
	for i, node := range c.nodes {
		if node == nil {
			continue
		}
		status := node.Status()
		if said == 0 {
			said = status.Leader
		}
		if status.Leader == 0 || status.Leader != said {
			return 0, fmt.Errorf("member %d says that %x leads, another one %x", i, status.Leader, said)
		}
		if status.Member == said {
			leader = i
		}
	}
	if leader < 0 {
		return 0, fmt.Errorf("no running member leads, the last known leader is %x", said)
	}
	return leader, nil
}
