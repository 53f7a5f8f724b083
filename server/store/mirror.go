package store

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// Record is a decoded entry. Msg is shared by all readers and must not be changed: clone it first.
type Record[M proto.Message] struct {
	Key    string
	Msg    M
	Create int64
	Mod    int64
}

// View is a consistent picture of the mirrored keyspace at one revision. It is valid inside the function it is passed
// to and must not be kept; the messages may be kept.
type View interface {
	// Revision is the revision of the picture.
	Revision() int64
	// Lookup returns the record of a key; ok is false when there is none.
	Lookup(key string) (msg proto.Message, createRevision, modRevision int64, ok bool)
	// Each calls f with the records under prefix in the order of their keys until f returns false.
	Each(prefix string, f func(key string, msg proto.Message, createRevision, modRevision int64) bool)
}

// Get returns the record of a key from a view; the zero Record (Mod 0, nil message) when there is none.
func Get[M proto.Message](v View, key string) Record[M] {
	msg, create, mod, ok := v.Lookup(key)
	if !ok {
		return Record[M]{Key: key}
	}
	m, ok := msg.(M)
	if !ok {
		return Record[M]{Key: key}
	}
	return Record[M]{Key: key, Msg: m, Create: create, Mod: mod}
}

// List returns the records under prefix from a view, in the order of their keys.
func List[M proto.Message](v View, prefix string) []Record[M] {
	var out []Record[M]
	v.Each(prefix, func(key string, msg proto.Message, create, mod int64) bool {
		if m, ok := msg.(M); ok {
			out = append(out, Record[M]{Key: key, Msg: m, Create: create, Mod: mod})
		}
		return true
	})
	return out
}

// Event is one change as a subscriber sees it. Msg is nil when the key was deleted.
type Event struct {
	Key            string
	Msg            proto.Message
	CreateRevision int64
	ModRevision    int64
}

// Update is what a subscriber is given: all changes of whole revisions in the prefixes it asked for.
type Update struct {
	// Reset says that what was seen before is void and that Events hold everything there is.
	Reset bool
	// Events in the order of their revisions; empty in a bookmark.
	Events []Event
	// Cursor to resume after this update.
	Cursor Cursor
}

// Cursor is a place in the history of a store. The zero Cursor means the beginning: a snapshot is sent first.
type Cursor struct {
	// RestoreEpoch is the life of the store the revision belongs to.
	RestoreEpoch string
	Revision     int64
}

// Subscription delivers updates. Next is to be called by one goroutine.
type Subscription interface {
	// Next waits for the next update. A subscriber that was too slow gets a Reset with a snapshot. It returns ctx's
	// error, or ErrClosed.
	Next(ctx context.Context) (Update, error)
	// Close ends the subscription. Safe to call twice.
	Close()
}

// Freshness says how old the mirror's picture is.
type Freshness struct {
	// Live is true while the store answers.
	Live bool
	// AsOf is when the store was heard last; the zero time: never.
	AsOf time.Time
}
