package store

import (
	"context"
	"time"
)

// Backend is what a store is built on. Both implementations are safe for concurrent use and pass storetest.
type Backend interface {
	// Commit tries the transaction exactly once. ErrUnknown and ErrUnavailable tell apart what may have happened and
	// what certainly did not; ErrNoSpace is an answer of the store, but the writes may have happened all the same.
	// Nothing is sent with ErrTooLarge and ErrInvalid; a lost lease of a write fails the transaction with ErrLeaseLost.
	// Without writes it asks whether the compares hold, linearizable.
	Commit(ctx context.Context, txn Txn) (Result, error)
	// Range returns the entries that the query asks for, linearizable, and the revision they were read at.
	// ErrCompacted when that revision is gone.
	Range(ctx context.Context, query Query) (Page, error)
	// Watch calls deliver with all changes under prefix after revision, whole revisions at a time, in order, one call at
	// a time. Once the store is past that revision, bookmarks (no changes, only a revision, perhaps the same one again)
	// tell now and then how far the watch is. It returns ctx's error when ctx ends, ErrCompacted when the history is
	// gone, ErrClosed, or ErrUnavailable when the stream broke: then call it again from the last revision.
	Watch(ctx context.Context, prefix string, after int64, deliver func(Batch)) error
	// Leases returns the lease operations.
	Leases() Leases
	// Close releases the backend; calls under way return ErrClosed or ErrUnavailable, and commits ErrUnknown when they
	// may have happened. Safe to call twice.
	Close() error
}

// Leases are time-limited promises that a process still lives.
type Leases interface {
	// Grant makes a lease that lives at least ttl after its last renewal.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// KeepAlive renews the lease once. ErrLeaseLost when it is gone.
	KeepAlive(ctx context.Context, id LeaseID) error
	// Revoke ends the lease at once and deletes its keys.
	Revoke(ctx context.Context, id LeaseID) error
}

// Query says which entries to read.
type Query struct {
	// Prefix is what the keys begin with.
	Prefix string
	// From, when set, is the least key, and Before the first that is too great.
	From, Before string
	// Limit is the most entries; 0 means all.
	Limit int
	// Descending starts with the greatest key.
	Descending bool
	// KeysOnly leaves the values out.
	KeysOnly bool
	// CountOnly leaves the entries out and only counts them; Limit does not matter then.
	CountOnly bool
	// Revision to read at, so that the pages of a list make one picture; 0 means the newest.
	Revision int64
}

// Page is a part of the keyspace at one revision.
type Page struct {
	// Entries in the order of the query.
	Entries []Entry
	// Revision they were read at.
	Revision int64
	// More tells that limit cut the page.
	More bool
	// Count of the entries, with CountOnly.
	Count int64
	// Cluster is the id of the cluster that answered, and Term the term of its leader: both tell a cluster from another
	// one that took its place. Zero: not known.
	Cluster, Term uint64
}

// Batch is everything that one or more whole revisions changed. Without changes it is a bookmark: nothing changed up
// to Revision.
type Batch struct {
	Revision int64
	Changes  []Change
}

// Change is one changed key. A deleted one has a nil Value and only Key and ModRevision set.
type Change struct {
	Entry
	Deleted bool
}
