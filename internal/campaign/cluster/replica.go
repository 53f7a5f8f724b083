package cluster

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jurymast/jurymast/internal/campaign/netfault"
	"github.com/jurymast/jurymast/server/daemon"
)

// Replica is a jurymastd.
type Replica struct {
	*Process
	// Clients is what its clients' connections pass through.
	Clients *netfault.Proxy
	// Etcd is what its connections to each member pass through, in the members' order.
	Etcd []*netfault.Proxy
	// DataDir is the replica's directory.
	DataDir string
	// Conn is a client's connection, through Clients.
	Conn *grpc.ClientConn
}

func (c *Cluster) newReplica(name string) (*Replica, error) {
	r := &Replica{}
	var endpoints []string
	for _, m := range c.members() {
		p, err := netfault.Listen(netfault.Options{Target: m.client})
		if err != nil {
			return nil, err
		}
		c.closers = append(c.closers, p.Close)
		r.Etcd = append(r.Etcd, p)
		endpoints = append(endpoints, "http://"+p.Addr())
	}
	var err error
	if r.Clients, err = netfault.Listen(netfault.Options{}); err != nil {
		return nil, err
	}
	c.closers = append(c.closers, r.Clients.Close)
	r.Process = &Process{
		Name: name, path: c.o.Binaries.Daemon, log: filepath.Join(c.o.Dir, name+".log"),
		args: []string{
			"--data-dir", filepath.Join(c.o.Dir, name), "--replica", name, "--grpc-listen", "127.0.0.1:0",
			"--http-listen", "127.0.0.1:0", "--session-ttl", c.o.SessionTTL.String(),
		},
	}
	if len(endpoints) > 0 {
		r.args = append(r.args, "--etcd-endpoints", strings.Join(endpoints, ","))
	}
	r.DataDir = filepath.Join(c.o.Dir, name)
	if r.Conn, err = dial(r.Clients.Addr()); err != nil {
		return nil, err
	}
	c.closers = append(c.closers, r.Conn.Close)
	return r, nil
}

// dial connects as a client that notices a server's return at once: what is measured is the server, not its patience.
func dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

// Start starts the replica and waits until it has said that it is ready, which needs etcd.
func (r *Replica) Start(ctx context.Context) error {
	ready := &readyLine{found: make(chan daemon.Ready, 1)}
	if err := r.begin(ready); err != nil {
		return err
	}
	select {
	case at := <-ready.found:
		r.Clients.SetTarget(at.GRPC)
		return r.Wait(ctx)
	case <-r.Ended():
		return fmt.Errorf("%s ended before it was ready:\n%s", r.Name, r.Tail(10))
	case <-ctx.Done():
		return fmt.Errorf("%s is not ready: %w:\n%s", r.Name, ctx.Err(), r.Tail(10))
	}
}

// Wait waits until the replica serves its clients.
func (r *Replica) Wait(ctx context.Context) error {
	return poll(ctx, "replica "+r.Name+" serves", func(ctx context.Context) error {
		res, err := grpc_health_v1.NewHealthClient(r.Conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = fmt.Errorf("it is %v", res.GetStatus())
		}
		return err
	})
}

// readyLine finds the line in which a daemon says that it is ready.
type readyLine struct {
	mu    sync.Mutex
	text  []byte
	done  bool
	found chan daemon.Ready
}

// Write implements io.Writer.
func (l *readyLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	for !l.done {
		line, rest, ok := bytes.Cut(l.text, []byte("\n"))
		if !ok {
			break
		}
		l.text = rest
		if ready, err := daemon.ParseReady(string(line)); err == nil {
			l.done = true
			l.found <- ready
		}
	}
	return len(b), nil
}
