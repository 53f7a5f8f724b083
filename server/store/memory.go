package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// MemoryOptions configure [NewMemory].
type MemoryOptions struct {
	// Bookmark is how long a watch stays silent before it reports the revision again; 0 means one second.
	Bookmark time.Duration
	// Retain is how many revisions of history are kept at least; when there are twice as many, the older ones are
	// compacted. 0 means all.
	Retain int64
}

// Memory is a [Backend] in memory: the twin of etcd for tests in virtual time. It needs only channels, mutexes and
// timers, so it works inside testing/synctest bubbles. One Memory is a whole cluster that never fails by itself; it
// is shared by the replicas of a test.
type Memory struct {
	opts MemoryOptions

	mu        sync.Mutex
	history   []version // consecutive revisions, never empty
	compacted int64     // the least revision that can be read
	changed   chan struct{}
	leases    map[LeaseID]*memoryLease
	lastLease LeaseID
	closed    bool
	done      chan struct{}
	// cluster is its id, and lives counts how often it was restored: watches don't outlive that.
	cluster uint64
	lives   int
}

// version is the keyspace at one revision and what changed in it.
type version struct {
	revision int64
	keys     tree[Entry]
	changes  []Change
}

// NewMemory returns an empty store at revision 1, like a new etcd.
func NewMemory(opts MemoryOptions) *Memory {
	if opts.Bookmark <= 0 {
		opts.Bookmark = time.Second
	}
	return &Memory{
		opts:    opts,
		history: []version{{revision: 1}},
		changed: make(chan struct{}),
		leases:  map[LeaseID]*memoryLease{},
		done:    make(chan struct{}),
		cluster: rand.Uint64(),
	}
}

// Commit implements [Backend]. It never returns ErrUnknown.
func (m *Memory) Commit(ctx context.Context, txn Txn) (Result, error) {
	if err := txn.checkGated(); err != nil {
		return Result{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Result{}, err
	}
	now := m.newest()
	for _, c := range txn.If {
		if !now.holds(c) {
			return Result{Revision: now.revision}, nil
		}
	}
	for _, op := range txn.Then {
		if _, ok := m.leases[op.Lease]; op.Lease != 0 && !ok {
			return Result{}, fmt.Errorf("write %q with lease %x: %w", op.Key, op.Lease, ErrLeaseLost)
		}
	}
	m.apply(txn.Then)
	return Result{Committed: true, Revision: m.newest().revision}, nil
}

// usable says whether a call can be served now; m.mu is held.
func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (m *Memory) newest() *version { return &m.history[len(m.history)-1] }

func (v *version) holds(c Compare) bool {
	if !c.Prefix {
		e, _ := v.keys.get(c.Key)
		return c.holds(e.CreateRevision, e.ModRevision)
	}
	all, some := true, false
	v.keys.prefixed(c.Key, func(_ string, e Entry) bool {
		some = true
		all = c.holds(e.CreateRevision, e.ModRevision)
		return all
	})
	// Like etcd, an empty range is compared as one absent key.
	return all && (some || c.holds(0, 0))
}

// apply makes the next revision, unless nothing changes; m.mu is held.
func (m *Memory) apply(ops []Op) {
	last := m.newest()
	next := version{revision: last.revision + 1}
	edit := last.keys.edit()
	for _, op := range ops {
		old, existed := edit.get(op.Key)
		if op.Delete {
			if !existed {
				continue
			}
			m.detach(old)
			edit.remove(op.Key)
			next.changes = append(next.changes, Change{Entry: Entry{Key: op.Key, ModRevision: next.revision}, Deleted: true})
			continue
		}
		e := Entry{
			Key: op.Key, Value: append([]byte{}, op.Value...), Lease: op.Lease,
			CreateRevision: next.revision, ModRevision: next.revision,
		}
		if existed {
			m.detach(old)
			e.CreateRevision = old.CreateRevision
		}
		m.attach(e)
		edit.put(op.Key, e)
		next.changes = append(next.changes, Change{Entry: e})
	}
	if len(next.changes) == 0 {
		return
	}
	next.keys = edit.done()
	m.history = append(m.history, next)
	if retain := m.opts.Retain; retain > 0 && int64(len(m.history)) > 2*retain {
		m.compact(next.revision - retain)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// Compact forgets the history before revision, as etcd does: it returns ErrCompacted when that happened already, and
// ErrInvalid for a revision that is still to come.
func (m *Memory) Compact(revision int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case revision > m.newest().revision:
		return fmt.Errorf("compact revision %d: at %d: %w", revision, m.newest().revision, ErrInvalid)
	case revision <= m.compacted:
		return fmt.Errorf("compact revision %d: %w", revision, ErrCompacted)
	}
	m.compact(revision)
	return nil
}

func (m *Memory) compact(revision int64) {
	m.compacted = revision
	if drop := revision - m.history[0].revision; drop > 0 {
		m.history = append([]version{}, m.history[drop:]...)
	}
}

// Revision returns the newest revision.
func (m *Memory) Revision() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest().revision
}

// Range implements [Backend].
func (m *Memory) Range(ctx context.Context, query Query) (Page, error) {
	m.mu.Lock()
	if err := m.usable(ctx); err != nil {
		m.mu.Unlock()
		return Page{}, err
	}
	at := *m.newest()
	switch {
	case query.Revision > at.revision:
		m.mu.Unlock()
		return Page{}, fmt.Errorf("read at revision %d: at %d: %w", query.Revision, at.revision, ErrInvalid)
	case query.Revision > 0 && query.Revision < m.compacted:
		m.mu.Unlock()
		return Page{}, fmt.Errorf("read at revision %d: %w", query.Revision, ErrCompacted)
	case query.Revision > 0:
		at.keys = m.history[query.Revision-m.history[0].revision].keys
	}
	page := at.page(query)
	page.Cluster, page.Term = m.cluster, 1
	m.mu.Unlock()
	return page, nil
}

// page cuts what the query asks for.
func (v *version) page(q Query) Page {
	page := Page{Revision: v.revision}
	if q.Revision > 0 {
		page.Revision = q.Revision
	}
	take := func(key string, e Entry) bool {
		if key < q.From || q.Before != "" && key >= q.Before || !strings.HasPrefix(key, q.Prefix) {
			return false
		}
		if q.CountOnly {
			page.Count++
			return true
		}
		if q.Limit > 0 && len(page.Entries) == q.Limit {
			page.More = true
			return false
		}
		if q.KeysOnly {
			e.Value = nil
		}
		page.Entries = append(page.Entries, e)
		return true
	}
	if q.Descending {
		v.keys.descend(q.end(), take)
	} else {
		v.keys.ascend(max(q.Prefix, q.From), take)
	}
	return page
}

// end is the least key that is too great for the query; empty when there is none.
func (q Query) end() string {
	end := afterPrefix(q.Prefix)
	if q.Before != "" && (end == "" || q.Before < end) {
		return q.Before
	}
	return end
}

// afterPrefix returns the least key that is greater than all keys with the prefix; empty when there is none.
func afterPrefix(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

// Watch implements [Backend].
func (m *Memory) Watch(ctx context.Context, prefix string, after int64, deliver func(Batch)) error {
	bookmark := time.NewTicker(m.opts.Bookmark)
	defer bookmark.Stop()
	m.mu.Lock()
	life := m.lives
	m.mu.Unlock()
	for began := after; ; {
		batch, changed, err := m.next(ctx, life, prefix, after)
		if err != nil {
			return err
		}
		if len(batch.Changes) > 0 {
			deliver(batch)
		}
		after = max(after, batch.Revision)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.done:
			return ErrClosed
		case <-changed:
		case <-bookmark.C:
			if after > began {
				deliver(Batch{Revision: after})
			}
		}
	}
}

// next returns what changed under prefix after a revision, and a channel that is closed with the next change.
func (m *Memory) next(ctx context.Context, life int, prefix string, after int64) (Batch, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return Batch{}, nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return Batch{}, nil, err
	}
	if life != m.lives {
		return Batch{}, nil, fmt.Errorf("watch after revision %d: restored: %w", after, ErrUnavailable)
	}
	now := m.newest().revision
	if after+1 < m.compacted {
		return Batch{}, nil, fmt.Errorf("watch after revision %d: %w", after, ErrCompacted)
	}
	batch := Batch{Revision: now}
	for _, v := range m.history[min(max(0, after+1-m.history[0].revision), int64(len(m.history))):] {
		for _, c := range v.changes {
			if strings.HasPrefix(c.Key, prefix) {
				batch.Changes = append(batch.Changes, c)
			}
		}
	}
	return batch, m.changed, nil
}

// MemorySnapshot is a backup of a [Memory].
type MemorySnapshot struct {
	history   []version
	compacted int64
	leases    map[LeaseID]time.Duration
	cluster   uint64
}

// Snapshot returns a backup.
func (m *Memory) Snapshot() *MemorySnapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &MemorySnapshot{
		history: append([]version{}, m.history...), compacted: m.compacted, leases: map[LeaseID]time.Duration{}, cluster: m.cluster,
	}
	for id, l := range m.leases {
		s.leases[id] = l.ttl
	}
	return s
}

// MemoryRestore says how a backup is restored, in etcd's words.
type MemoryRestore struct {
	// BumpRevision moves the revision on, and forgets the history before.
	BumpRevision int64
	// NewCluster gives the cluster another id.
	NewCluster bool
}

// Restore puts a backup in the place of all that is stored, as when etcd's members are restored: watches break, and
// leases have their whole time again.
func (m *Memory) Restore(s *MemorySnapshot, o MemoryRestore) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leases {
		l.timer.Stop()
	}
	m.lives++
	m.history, m.compacted, m.cluster = append([]version{}, s.history...), s.compacted, s.cluster
	m.leases = map[LeaseID]*memoryLease{}
	for id, ttl := range s.leases {
		m.leases[id] = m.newLease(id, ttl)
	}
	newest := m.newest()
	newest.keys.ascend("", func(_ string, e Entry) bool {
		m.attach(e)
		return true
	})
	if o.BumpRevision > 0 {
		m.history = []version{{revision: newest.revision + o.BumpRevision, keys: newest.keys}}
		m.compacted = m.newest().revision
	}
	if o.NewCluster {
		m.cluster = rand.Uint64()
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// Close implements [Backend]: the data is gone.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	close(m.done)
	for _, l := range m.leases {
		l.timer.Stop()
	}
	return nil
}
