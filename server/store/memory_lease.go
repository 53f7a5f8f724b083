package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// memoryLease is a lease of a [Memory].
type memoryLease struct {
	ttl    time.Duration
	expiry time.Time
	timer  *time.Timer
	keys   map[string]struct{}
}

type memoryLeases struct{ m *Memory }

// Leases implements [Backend].
func (m *Memory) Leases() Leases { return memoryLeases{m} }

// Grant implements [Leases].
func (l memoryLeases) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, err
	}
	m.lastLease++
	id := m.lastLease
	m.leases[id] = m.newLease(id, ttl)
	return id, nil
}

func (m *Memory) newLease(id LeaseID, ttl time.Duration) *memoryLease {
	return &memoryLease{
		ttl: ttl, expiry: time.Now().Add(ttl), keys: map[string]struct{}{},
		timer: time.AfterFunc(ttl, func() { m.expire(id) }),
	}
}

// KeepAlive implements [Leases].
func (l memoryLeases) KeepAlive(ctx context.Context, id LeaseID) error {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	lease, ok := m.leases[id]
	if !ok {
		return fmt.Errorf("keep lease %x alive: %w", id, ErrLeaseLost)
	}
	lease.expiry = time.Now().Add(lease.ttl)
	lease.timer.Reset(lease.ttl)
	return nil
}

// Revoke implements [Leases].
func (l memoryLeases) Revoke(ctx context.Context, id LeaseID) error {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if _, ok := m.leases[id]; !ok {
		return fmt.Errorf("revoke lease %x: %w", id, ErrLeaseLost)
	}
	m.end(id)
	return nil
}

// expire ends a lease whose timer fired, unless it was renewed at the same moment.
func (m *Memory) expire(id LeaseID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lease, ok := m.leases[id]
	if !ok || m.closed || time.Now().Before(lease.expiry) {
		return
	}
	m.end(id)
}

// end removes a lease and deletes its keys in one revision, as etcd does; m.mu is held.
func (m *Memory) end(id LeaseID) {
	lease := m.leases[id]
	lease.timer.Stop()
	keys := make([]string, 0, len(lease.keys))
	for key := range lease.keys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	ops := make([]Op, 0, len(keys))
	for _, key := range keys {
		ops = append(ops, Op{Key: key, Delete: true})
	}
	m.apply(ops)
	delete(m.leases, id)
}

func (m *Memory) attach(e Entry) {
	if lease, ok := m.leases[e.Lease]; ok {
		lease.keys[e.Key] = struct{}{}
	}
}

func (m *Memory) detach(e Entry) {
	if lease, ok := m.leases[e.Lease]; ok {
		delete(lease.keys, e.Key)
	}
}
