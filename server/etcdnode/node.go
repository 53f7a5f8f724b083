// Package etcdnode runs an etcd member inside this process. It is the only package that imports the etcd server.
//
// A node promises: it owns its data directory alone, and a second one is refused at once with the name of who holds
// it; it is ready when Start returns; a single member listens on no TCP port; a fault inside etcd ends the node and is
// told by Done and Err, it does not end the process; Close is bounded, may be called twice, and ends every watch and
// lease of the client.
//
// What it can't hold together: a damaged page inside the database makes bbolt panic on a goroutine of its own, which ends
// the process with bbolt's message.
//
// It never decides what is stored, never runs on data that etcd calls corrupt, and never listens beyond this machine.
package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/jurymast/jurymast/server/telemetry"
)

// Node is a running etcd member. Its methods are safe for concurrent use.
type Node struct {
	options Options
	log     hclog.Logger
	lock    *DirLock
	socket  string
	etcd    *embed.Etcd
	client  *clientv3.Client
	gate    *gate
	halt    *halt
	ready   time.Duration
	// busy says that etcd may still have files of the data directory open, so that the lock must stay.
	busy bool

	phase     *phase
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error

	done    chan struct{}
	endOnce sync.Once
	endErr  error
}

// Start starts a member and returns when it serves reads and writes, which for a member of a cluster needs a majority.
// The context bounds the start alone. A data directory in use is a *LockedError, impossible options wrap ErrOptions,
// damaged data wraps ErrHalted or is etcd's own error.
func Start(ctx context.Context, options Options) (*Node, error) {
	began := time.Now()
	o := options.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	lock, err := LockDir(o.DataDir)
	if err != nil {
		return nil, err
	}
	o.DataDir = lock.Dir()
	n := &Node{
		options: o,
		log:     o.Logger,
		lock:    lock,
		gate:    newGate(),
		halt:    newHalt(),
		phase:   new(phase),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if err := n.start(ctx); err != nil {
		if !n.busy {
			err = errors.Join(err, lock.Release())
		}
		return nil, fmt.Errorf("starting embedded etcd in %s: %w", o.DataDir, err)
	}
	n.ready = time.Since(began)
	go n.watch()
	go n.watchGrowth()
	n.log.Debug("embedded etcd is ready", telemetry.KeyMember, o.Name, telemetry.KeyDir, o.DataDir,
		telemetry.KeyTook, n.ready)
	return n, nil
}

// Client is an etcd client that calls this member in process. It serves keys, leases, watches and maintenance; calls
// that need an address, as Endpoints and Dial do, don't work with it. It ends with the node, by Close and when the node
// ends by itself: its watches and keep-alives are closed, and calls return ErrClosed. Don't close it.
//
// Unlike a client over the network it never tries again by itself: on a member of a cluster a read may fail with
// "leader changed".
func (n *Node) Client() *clientv3.Client { return n.client }

// Endpoint is the address of the node's client socket in the form etcdctl and clientv3 take. Only this machine's user
// can reach it.
func (n *Node) Endpoint() string { return "unix://" + n.socket }

// Name is the member's name.
func (n *Node) Name() string { return n.options.Name }

// DataDir is the absolute path of the data directory.
func (n *Node) DataDir() string { return n.options.DataDir }

// ReadyAfter is how long Start took.
func (n *Node) ReadyAfter() time.Duration { return n.ready }

// PredecessorLock is the lock of the data directory. While it is held, every earlier process on this directory is dead, and
// with a single member every session in the store that isn't ours is a predecessor's.
func (n *Node) PredecessorLock() *DirLock { return n.lock }

// Done is closed when the node has ended: after Close, or when etcd ended by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is nil before Done is closed and after an orderly Close. Otherwise it says why etcd ended: it wraps ErrHalted
// or ErrStopped.
func (n *Node) Err() error {
	if closed(n.done) {
		return n.endErr
	}
	return nil
}

// watch waits for etcd to end by itself.
func (n *Node) watch() {
	var err error
	select {
	case <-n.closing:
		return
	case <-n.halt.fired:
		err = n.halt.err
	case <-n.etcd.Server.StopNotify():
		err = ErrStopped
	case cause, ok := <-n.etcd.Err():
		err = ErrStopped
		if ok && cause != nil {
			err = fmt.Errorf("%w: %w", ErrStopped, cause)
		}
	}
	if closed(n.closing) {
		// Close was faster; what etcd says while it stops is no failure.
		return
	}
	n.log.Error("embedded etcd ended by itself", telemetry.KeyDir, n.options.DataDir, telemetry.KeyError, err)
	n.gate.shut(err)
	n.end(err)
	// Ends every watch and keep-alive, so that their owners notice. It may wait for calls that never return.
	_ = n.client.Close()
}

func (n *Node) end(err error) {
	n.endOnce.Do(func() {
		n.endErr = err
		close(n.done)
	})
}

// Close stops etcd, ends the client's watches and leases and gives the data directory free. It returns within
// Options.CloseTimeout: then with ErrCloseTimeout, or with ErrHalted when etcd had halted before, and in both cases
// the directory stays locked until the process ends. It may be called more than once and by several goroutines; all get
// the same answer.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		close(n.closing)
		err := n.stop()
		if err == nil {
			err = n.lock.Release()
		}
		if err != nil {
			n.closeErr = fmt.Errorf("closing embedded etcd in %s: %w", n.options.DataDir, err)
		}
		n.end(nil)
	})
	return n.closeErr
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
