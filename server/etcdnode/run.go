package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// start runs etcd until it is ready. When it fails it has stopped etcd again, or has set busy.
func (n *Node) start(ctx context.Context) error {
	logger := newZapLogger(n.log, n.halt, n.phase)
	single := n.options.Cluster == nil
	if single {
		if err := n.prepare(ctx, logger); err != nil {
			return fmt.Errorf("preparing the data directory: %w", err)
		}
	}
	socket, err := clientSocket(n.options.DataDir, os.TempDir())
	if err != nil {
		return err
	}
	n.socket = socket
	config, err := config(n.options, socket, logger)
	if err != nil {
		return err
	}
	if err := n.run(ctx, config, single); err != nil {
		return err
	}
	n.client = newClient(n.etcd.Server, n.gate)
	return n.confirm(ctx)
}

// confirm reads once. etcd answers the first read after an election with "leader changed" when that election is news
// to the part of it that reads; a client over the network tries again by itself, one in process does not.
func (n *Node) confirm(ctx context.Context) error {
	for {
		_, err := n.client.Get(ctx, "\x00", clientv3.WithCountOnly())
		switch {
		case err == nil:
			return nil
		case errors.Is(err, rpctypes.ErrLeaderChanged):
			continue
		default:
			return errors.Join(fmt.Errorf("reading from it: %w", err), n.stop())
		}
	}
}

// run starts etcd and waits until it is ready, i.e. until a write has passed through the whole of it.
func (n *Node) run(ctx context.Context, config *embed.Config, alone bool) error {
	if err := n.open(ctx, config); err != nil {
		return err
	}
	if alone {
		electing, cancel := context.WithCancel(ctx)
		defer cancel()
		go elect(electing, n.etcd.Server)
	}
	select {
	case <-n.etcd.Server.ReadyNotify():
		return nil
	case <-n.halt.fired:
		n.busy = true
		return n.halt.err
	case <-n.etcd.Server.StopNotify():
		return errors.Join(ErrStopped, n.stop())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("waiting until it is ready: %w", ctx.Err()), n.stop())
	}
}

// open starts etcd on a goroutine of its own, because it may halt there, or take as long as its disk wants.
func (n *Node) open(ctx context.Context, config *embed.Config) error {
	type outcome struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan outcome, 1)
	go func() {
		etcd, err := embed.StartEtcd(config)
		started <- outcome{etcd, err}
	}()
	select {
	case out := <-started:
		n.etcd = out.etcd
		return out.err
	case <-n.halt.fired:
		n.busy = true
		return n.halt.err
	case <-ctx.Done():
		n.busy = true
		n.phase.stopping.Store(true)
		go func() {
			if out := <-started; out.err == nil {
				stopEtcd(out.etcd)
			}
			_ = n.lock.Release()
		}()
		return fmt.Errorf("opening the data: %w", ctx.Err())
	}
}

// stop ends the client and etcd within Options.CloseTimeout. When it fails, busy is set; after a timeout the lock is
// released once etcd has stopped after all.
func (n *Node) stop() error {
	n.phase.stopping.Store(true)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if n.client != nil {
			<-n.gate.shut(nil)
			_ = n.client.Close() // always reports the cancelled context
		}
		stopEtcd(n.etcd)
		removeSocketDir(n.socket, n.options.DataDir)
	}()
	timeout := time.NewTimer(n.options.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-stopped:
		return nil
	case <-n.halt.fired:
		n.busy = true
		for _, listener := range n.etcd.Clients {
			_ = listener.Close()
		}
		return n.halt.err
	case <-timeout.C:
		n.busy = true
		go func() {
			<-stopped
			_ = n.lock.Release()
		}()
		return fmt.Errorf("%w (%v)", ErrCloseTimeout, n.options.CloseTimeout)
	}
}

// stopEtcd waits as long as etcd needs.
func stopEtcd(etcd *embed.Etcd) {
	if !closed(etcd.Server.ReadyNotify()) {
		// etcd's Close waits for its listeners, and they wait for the member to be ready or stopping.
		etcd.Server.HardStop()
	}
	etcd.Close()
}
