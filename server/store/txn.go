package store

import (
	"errors"

	"google.golang.org/protobuf/proto"
)

// Errors of the package. They are wrapped; test with errors.Is.
var (
	// ErrUnknown says that nobody knows whether the transaction was or will be committed.
	ErrUnknown = errors.New("outcome unknown")
	// ErrUnavailable says that the store can't be reached and that the transaction was certainly not committed.
	ErrUnavailable = errors.New("store unavailable")
	// ErrCompacted says that the history asked for is gone: list again.
	ErrCompacted = errors.New("revision compacted")
	// ErrTooLarge says that the transaction exceeds the limits of a transaction; nothing was sent.
	ErrTooLarge = errors.New("transaction too large")
	// ErrInvalid says that the transaction is malformed, e.g. names a key twice; nothing was sent.
	ErrInvalid = errors.New("transaction invalid")
	// ErrNoSpace says that the store refuses writes because its quota or the disk is used up.
	ErrNoSpace = errors.New("store out of space")
	// ErrLeaseLost says that a lease has expired or was revoked.
	ErrLeaseLost = errors.New("lease lost")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store closed")
	// ErrForeignRecord says that a record was written by a newer version; it is left untouched.
	ErrForeignRecord = errors.New("record of a newer version")
	// ErrCorrupt says that a record does not match its checksum.
	ErrCorrupt = errors.New("record corrupt")
)

// Limits of one transaction. They stay below etcd's own (128 operations, 1.5 MiB; see "System limits" in etcd's
// documentation) so that our error is the one that is seen.
const (
	// MaxOps is the most operations, and the most compares, of one transaction.
	MaxOps = 100
	// MaxTxnBytes is the most bytes of keys and values of one transaction.
	MaxTxnBytes = 1 << 20
)

// LeaseID names a lease; 0 is none.
type LeaseID int64

// Field is what a [Compare] looks at.
type Field uint8

// What a compare can look at.
const (
	// ModRevision is the revision of the key's last change; 0 when there is no such key.
	ModRevision Field = iota
	// CreateRevision is the revision at which the key came to be; 0 when there is no such key.
	CreateRevision
)

// Relation is how a [Compare] compares.
type Relation uint8

// How a compare can compare.
const (
	// Equal holds when the field equals the revision.
	Equal Relation = iota
	// NotEqual holds when it does not.
	NotEqual
	// Less holds when the field is smaller than the revision.
	Less
)

// Compare is one precondition of a transaction.
type Compare struct {
	// Key, or with Prefix the beginning of all keys that are compared; each of them must satisfy the compare.
	Key      string
	Prefix   bool
	Field    Field
	Relation Relation
	Revision int64
}

// Unchanged compares that key was last changed at revision; revision 0 means that there is no such key.
func Unchanged(key string, revision int64) Compare {
	return Compare{Key: key, Field: ModRevision, Relation: Equal, Revision: revision}
}

// Absent compares that there is no such key.
func Absent(key string) Compare {
	return Compare{Key: key, Field: CreateRevision, Relation: Equal, Revision: 0}
}

// NoneNewer compares that no key under prefix was put after revision. It does not notice deletions: what was counted
// must be compared key by key as well.
func NoneNewer(prefix string, revision int64) Compare {
	return Compare{Key: prefix, Prefix: true, Field: ModRevision, Relation: Less, Revision: revision + 1}
}

// Op is one write of a transaction: a put, or a delete when Delete is set. A key may occur once in a transaction.
type Op struct {
	Key    string
	Value  []byte
	Lease  LeaseID
	Delete bool
}

// Put writes the message to the key. It panics when the message can't be marshalled, which proto3 messages always can.
func Put(key string, m proto.Message) Op { return Op{Key: key, Value: Seal(m)} }

// PutLeased is [Put] with a lease.
func PutLeased(key string, m proto.Message, lease LeaseID) Op {
	return Op{Key: key, Value: Seal(m), Lease: lease}
}

// Delete removes the key.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Txn is a transaction: when all compares hold, all writes happen at one revision; otherwise nothing does.
type Txn struct {
	If   []Compare
	Then []Op
	// Witness is a key the transaction writes whose stored value tells whether this very transaction wrote it. When
	// an outcome was unknown and the resubmitted transaction's compares fail, Mine is asked about the value that is
	// stored there (nil when absent). Without a witness such an outcome stays [ErrUnknown].
	Witness string
	Mine    func(value []byte) bool
}

// Result is the outcome of a transaction.
type Result struct {
	// Committed tells whether the writes happened. False: a compare failed.
	Committed bool
	// Revision is that of the transaction when committed, else the store's revision when the compare failed.
	Revision int64
}

// Entry is a stored key with its value.
type Entry struct {
	Key            string
	Value          []byte
	CreateRevision int64
	ModRevision    int64
	Lease          LeaseID
}
