package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/jurymast/jurymast/internal/campaign/netfault"
)

// Options say what is to be run.
type Options struct {
	// Dir holds data and logs. It must exist.
	Dir string
	// Binaries to run.
	Binaries Binaries
	// Members and Replicas are how many. 0: 3. Without members (below 0) each replica has an etcd of its own.
	Members, Replicas int
	// SessionTTL of the replicas. 0: 10 s.
	SessionTTL time.Duration
	// QuotaBytes of the members. 0: etcd's own.
	QuotaBytes int64
	// Fsync makes the members sync; without it they lose nothing either as long as the machine lives.
	Fsync bool
}

// Cluster is an installation. Members and Replicas don't change; their methods are safe for concurrent use.
type Cluster struct {
	// Members of etcd.
	Members []*Member
	// Replicas of jurymastd.
	Replicas []*Replica

	o       Options
	mu      sync.Mutex // of Members while they are made: the proxies ask for them
	closers []func() error
}

// Start starts everything and waits until all of it serves. After an error nothing runs any more.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Members == 0 {
		o.Members = 3
	}
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	if o.SessionTTL == 0 {
		o.SessionTTL = 10 * time.Second
	}
	c := &Cluster{o: o}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for i := range c.o.Members {
		m, err := c.newMember(fmt.Sprintf("member-%d", i))
		if err != nil {
			return err
		}
		c.closers = append(c.closers, m.Peers.Close)
		c.mu.Lock()
		c.Members = append(c.Members, m)
		c.mu.Unlock()
	}
	for _, m := range c.Members {
		if err := m.Start(); err != nil {
			return err
		}
	}
	for _, m := range c.Members {
		if err := m.Wait(ctx); err != nil {
			return err
		}
	}
	for i := range c.o.Replicas {
		r, err := c.newReplica(fmt.Sprintf("replica-%d", i))
		if err != nil {
			return err
		}
		c.Replicas = append(c.Replicas, r)
	}
	var wait sync.WaitGroup
	errs := make([]error, len(c.Replicas))
	for i, r := range c.Replicas {
		wait.Go(func() { errs[i] = r.Start(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Close kills what runs and closes every proxy. Logs and data stay in the directory. Safe to call twice.
func (c *Cluster) Close() error {
	var errs []error
	for _, p := range c.processes() {
		if p.Running() {
			if err := p.Kill(); err != nil && !errors.Is(err, errNotRunning) {
				errs = append(errs, err)
			}
		}
	}
	for _, f := range slices.Backward(c.closers) {
		errs = append(errs, f())
	}
	c.closers = nil
	return errors.Join(errs...)
}

func (c *Cluster) members() []*Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.Members)
}

func (c *Cluster) processes() []*Process {
	var all []*Process
	for _, r := range c.Replicas {
		all = append(all, r.Process)
	}
	for _, m := range c.members() {
		all = append(all, m.Process)
	}
	return all
}

// SessionTTL is that of the replicas.
func (c *Cluster) SessionTTL() time.Duration { return c.o.SessionTTL }

// Conns are clients' connections to all replicas, in their order.
func (c *Cluster) Conns() []*grpc.ClientConn {
	conns := make([]*grpc.ClientConn, len(c.Replicas))
	for i, r := range c.Replicas {
		conns[i] = r.Conn
	}
	return conns
}

// Proxies are all links, for faults that hit everywhere.
func (c *Cluster) Proxies() []*netfault.Proxy {
	var all []*netfault.Proxy
	for _, m := range c.members() {
		all = append(all, m.Peers)
	}
	for _, r := range c.Replicas {
		all = append(append(all, r.Clients), r.Etcd...)
	}
	return all
}

// Etcd dials the members past the proxies, as their operator. Close it when done.
func (c *Cluster) Etcd() (*clientv3.Client, error) {
	var endpoints []string
	for _, m := range c.members() {
		endpoints = append(endpoints, m.Endpoint())
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("dial etcd: %w", err)
	}
	return client, nil
}

// Leader waits until etcd has a leader that runs, and returns its index.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	leader := -1
	err := poll(ctx, "etcd has a leader", func(ctx context.Context) error {
		for i, m := range c.members() {
			if !m.Running() {
				continue
			}
			status, err := m.status(ctx)
			if err == nil && status.Header.GetMemberId() == status.Leader {
				leader = i
				return nil
			}
		}
		return errors.New("none says that it leads")
	})
	return leader, err
}

func (m *Member) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint()}, DialTimeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Status(ctx, m.Endpoint())
}

// Heal lifts every fault of the network, lets everything go on that is paused, starts what does not run, and waits until
// all of it serves.
func (c *Cluster) Heal(ctx context.Context) error {
	for _, p := range c.Proxies() {
		p.Lift()
	}
	var errs []error
	for _, p := range c.processes() {
		if p.Running() {
			errs = append(errs, p.Continue())
		}
	}
	for _, m := range c.members() {
		if !m.Running() {
			errs = append(errs, m.Start())
		}
	}
	for _, m := range c.members() {
		errs = append(errs, m.Wait(ctx))
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for _, r := range c.Replicas {
		wait.Go(func() {
			var err error
			if r.Running() {
				err = r.Wait(ctx)
			} else {
				err = r.Start(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("heal the cluster: %w", err)
	}
	return nil
}

// Tails are the last lines of every process's log.
func (c *Cluster) Tails(lines int) string {
	var b strings.Builder
	for _, p := range c.processes() {
		fmt.Fprintf(&b, "--- %s\n%s\n", p.Name, p.Tail(lines))
	}
	return b.String()
}

// pollEvery is how often a condition is asked for.
const pollEvery = 50 * time.Millisecond

// poll asks until there is no error, each time for at most two seconds.
func poll(ctx context.Context, what string, ask func(context.Context) error) error {
	for {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := ask(asking)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		case <-time.After(pollEvery):
		}
	}
}
