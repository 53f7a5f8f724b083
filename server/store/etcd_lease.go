package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

type etcdLeases struct{ e *Etcd }

// Leases implements [Backend].
func (e *Etcd) Leases() Leases { return etcdLeases{e} }

// Grant implements [Leases]. etcd counts in whole seconds and has a least TTL of its own: the lease may live longer.
func (l etcdLeases) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	if err := l.e.usable(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := l.e.call(ctx)
	defer cancel()
	resp, err := l.e.opts.Client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, readError(ctx, err)
	}
	return LeaseID(resp.ID), nil
}

// KeepAlive implements [Leases].
func (l etcdLeases) KeepAlive(ctx context.Context, id LeaseID) error {
	if err := l.e.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := l.e.call(ctx)
	defer cancel()
	err := l.renew(ctx, clientv3.LeaseID(id))
	if err != nil {
		return fmt.Errorf("keep lease %x alive: %w", id, readError(ctx, err))
	}
	return nil
}

// renew sends one request. The client's own KeepAliveOnce repeats it without a pause while there is no connection, so
// it is used only where there is none to lose: in process.
func (l etcdLeases) renew(ctx context.Context, id clientv3.LeaseID) error {
	conn := l.e.opts.Client.ActiveConnection()
	if conn == nil {
		_, err := l.e.opts.Client.KeepAliveOnce(ctx, id)
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := etcdserverpb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		return err
	}
	resp, err := stream.Recv()
	if err != nil {
		return err
	}
	if resp.GetTTL() <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

// Revoke implements [Leases].
func (l etcdLeases) Revoke(ctx context.Context, id LeaseID) error {
	if err := l.e.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := l.e.call(ctx)
	defer cancel()
	if _, err := l.e.opts.Client.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("revoke lease %x: %w", id, readError(ctx, err))
	}
	return nil
}
