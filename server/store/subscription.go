package store

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Subscribe follows all keys under the prefixes from a place in history: the zero Cursor begins with a snapshot. A
// cursor ahead of this replica waits until the replica has caught up; one that is too old, or belongs to another
// restore epoch, begins with a Reset. Events are shared between subscribers: neither the slice nor the messages may be
// changed. Families that are not mirrored are not seen. Close the subscription when done.
func (s *Store) Subscribe(prefixes []string, from Cursor) Subscription {
	return &subscription{
		hub: s.hub, group: s.hub.join(prefixes),
		epoch: from.RestoreEpoch, revision: from.Revision, told: from.Revision, era: -1, done: make(chan struct{}),
	}
}

// subscription is a place in the hub's history.
type subscription struct {
	hub   *hub
	group *group

	epoch    string // of the cursor
	revision int64  // everything up to it was seen
	era      int64  // of the hub when it was last looked at; -1: never
	told     int64  // the revision of the last cursor that was given out

	once sync.Once
	done chan struct{}
}

// Next implements [Subscription].
func (s *subscription) Next(ctx context.Context) (Update, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Update{}, err
		}
		update, wake, err := s.take()
		switch {
		case err != nil:
			return Update{}, err
		case wake == nil:
			s.told = update.Cursor.Revision
			return update, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Update{}, ctx.Err()
		case <-s.done:
			return Update{}, ErrClosed
		}
	}
}

// Close implements [Subscription].
func (s *subscription) Close() {
	s.once.Do(func() {
		close(s.done)
		s.hub.leave(s.group)
	})
}

// take returns what is new, or a channel to wait for.
func (s *subscription) take() (u Update, wake <-chan struct{}, err error) {
	h := s.hub
	h.mu.RLock()
	switch {
	case h.isClosed:
		h.mu.RUnlock()
		return Update{}, nil, ErrClosed
	case !h.isReady:
		h.mu.RUnlock()
		return Update{}, h.ready, nil
	}
	snap := h.current.Load()
	if s.resets() {
		s.era, s.epoch = h.era, h.life
		h.mu.RUnlock()
		s.revision = snap.revision
		return Update{Reset: true, Events: snap.events(s.group.prefixes), Cursor: s.cursor()}, nil, nil
	}
	s.era = h.era
	if s.revision > snap.revision {
		h.mu.RUnlock()
		return Update{}, h.wait(s.revision), nil
	}
	defer h.mu.RUnlock()
	events, upTo := s.group.after(s.revision)
	s.revision = upTo
	if len(events) > 0 {
		return Update{Events: events, Cursor: s.cursor()}, nil, nil
	}
	s.revision = snap.revision
	if s.told < s.group.bookmark {
		return Update{Cursor: s.cursor()}, nil, nil
	}
	return Update{}, s.group.wake, nil
}

// resets tells whether the subscriber has to start again; the hub is locked.
func (s *subscription) resets() bool {
	return s.epoch != s.hub.life ||
		s.era >= 0 && s.era != s.hub.era ||
		s.revision < s.group.floor
}

func (s *subscription) cursor() Cursor { return Cursor{RestoreEpoch: s.epoch, Revision: s.revision} }

// events returns all records under the prefixes, in the order of their last changes.
func (s *snapshot) events(prefixes []string) []Event {
	var events []Event
	for i, prefix := range prefixes {
		if hasAnyPrefix(prefix, prefixes[:i]) { // they are sorted: a prefix inside another one follows it
			continue
		}
		s.records.prefixed(prefix, func(key string, r *record) bool {
			if r.problem == nil {
				events = append(events, Event{Key: key, Msg: r.msg, CreateRevision: r.create, ModRevision: r.mod})
			}
			return true
		})
	}
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.ModRevision, b.ModRevision), cmp.Compare(a.Key, b.Key))
	})
	return events
}
