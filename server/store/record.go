package store

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// record is what the mirror keeps of a key. A record with a problem has no message and is shown to nobody.
type record struct {
	key         string
	msg         proto.Message
	create, mod int64
	size        int
	// sum is that of the stored value: two lives of a store may give one key the same revisions and different values.
	sum     uint32
	problem error
}

// Problem is a mirrored record that can't be read. It is left untouched.
type Problem struct {
	// Key of the record.
	Key string
	// Err is ErrForeignRecord or ErrCorrupt, wrapped.
	Err error
	// ModRevision of the record.
	ModRevision int64
}

// mirrored tells whether the mirror keeps the key.
func mirrored(key string) bool {
	f, ok := familyOf(key)
	return !ok || f.mirrored
}

// is tells whether the record is that of an entry.
func (r *record) is(e Entry) bool {
	return r.mod == e.ModRevision && r.create == e.CreateRevision && r.sum == checksum(e.Value)
}

// decode makes the mirror's record of an entry.
func decode(e Entry) *record {
	r := &record{key: e.Key, create: e.CreateRevision, mod: e.ModRevision, size: len(e.Key) + len(e.Value), sum: checksum(e.Value)}
	msg, ok := messageOf(e.Key)
	if !ok {
		r.problem = fmt.Errorf("read %q of an unknown family: %w", e.Key, ErrForeignRecord)
		return r
	}
	if err := Open(e.Value, msg); err != nil {
		r.problem = fmt.Errorf("read %q: %w", e.Key, err)
		return r
	}
	r.msg = msg
	return r
}

// snapshot is the mirror at one revision. It never changes; it is the [View] that readers get.
type snapshot struct {
	revision int64
	records  tree[*record]
	problems tree[Problem]
}

// Revision implements [View].
func (s *snapshot) Revision() int64 { return s.revision }

// Lookup implements [View].
func (s *snapshot) Lookup(key string) (msg proto.Message, createRevision, modRevision int64, ok bool) {
	r, ok := s.records.get(key)
	if !ok || r.problem != nil {
		return nil, 0, 0, false
	}
	return r.msg, r.create, r.mod, true
}

// Each implements [View].
func (s *snapshot) Each(prefix string, f func(key string, msg proto.Message, createRevision, modRevision int64) bool) {
	s.records.prefixed(prefix, func(key string, r *record) bool {
		return r.problem != nil || f(key, r.msg, r.create, r.mod)
	})
}

// next is a snapshot in the making, with the events that lead to it.
type next struct {
	records  *editor[*record]
	problems *editor[Problem]
	events   []Event
	found    []Problem // those that are new
	size     int
}

func (s *snapshot) next() *next {
	return &next{records: s.records.edit(), problems: s.problems.edit()}
}

func (n *next) done(revision int64) *snapshot {
	return &snapshot{revision: revision, records: n.records.done(), problems: n.problems.done()}
}

// put takes a record over.
func (n *next) put(r *record) {
	old, existed := n.records.get(r.key)
	n.records.put(r.key, r)
	n.size += r.size
	if r.problem != nil {
		p := Problem{Key: r.key, Err: r.problem, ModRevision: r.mod}
		n.problems.put(r.key, p)
		n.found = append(n.found, p)
		if existed && old.problem == nil {
			// Who saw the record before must not take the old one for the present one.
			n.events = append(n.events, Event{Key: r.key, ModRevision: r.mod})
		}
		return
	}
	if existed && old.problem != nil {
		n.problems.remove(r.key)
	}
	n.events = append(n.events, Event{Key: r.key, Msg: r.msg, CreateRevision: r.create, ModRevision: r.mod})
}

// remove takes a deletion over.
func (n *next) remove(key string, revision int64) {
	old, existed := n.records.get(key)
	if !existed {
		return
	}
	n.records.remove(key)
	if old.problem != nil {
		n.problems.remove(key)
		return
	}
	n.size += len(key)
	n.events = append(n.events, Event{Key: key, ModRevision: revision})
}
