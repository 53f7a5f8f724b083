package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Reasons to end a watch from outside.
var (
	errDiffers   = errors.New("mirror differs from the store")
	errRegressed = errors.New("store went back to an earlier revision")
	errSilent    = errors.New("watch is silent")
)

// watch follows the store for the life of the mirror. Only this goroutine changes the mirror once it runs.
func (s *Store) watch() {
	for attempt := 0; s.closing.Err() == nil; {
		before := s.hub.current.Load().revision
		err := s.watchOnce(before)
		if s.closing.Err() != nil {
			return
		}
		if attempt == 0 {
			s.log.Warn("watch ended, watching again", "error", err, "revision", s.hub.current.Load().revision)
		}
		if errors.Is(err, ErrCompacted) || errors.Is(err, errDiffers) || errors.Is(err, errRegressed) {
			// The watch can't tell what happened: list, and publish the difference.
			if err := s.retry(s.closing, func() error { return s.relist(s.closing) }); err != nil {
				return
			}
			attempt = 0
			continue
		}
		if s.hub.current.Load().revision > before {
			attempt = 0
		}
		if !pause(s.closing, attempt) {
			return
		}
		attempt++
	}
}

// watchOnce applies changes until the watch ends, and tells why.
func (s *Store) watchOnce(after int64) error {
	ctx, cancel := context.WithCancelCause(s.closing)
	defer cancel(nil)
	s.mu.Lock()
	s.rewatch = cancel
	s.mu.Unlock()
	err := s.opts.Backend.Watch(ctx, Root, after, s.apply)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// endWatch ends the present watch for a reason.
func (s *Store) endWatch(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rewatch != nil {
		s.rewatch(reason)
	}
}

// apply takes a batch of the watch over.
func (s *Store) apply(b Batch) {
	if len(b.Changes) > 0 { // a member without a majority may still send bookmarks
		s.heard.at(s.opts.Now(), time.Now())
	}
	snap := s.hub.current.Load()
	if b.Revision <= snap.revision {
		return
	}
	n := snap.next()
	for _, c := range b.Changes {
		switch {
		case !mirrored(c.Key):
		case c.Deleted:
			n.remove(c.Key, c.ModRevision)
		default:
			n.put(decode(c.Entry))
		}
	}
	s.report(n.found)
	s.hub.publish(n.done(b.Revision), &batch{revision: b.Revision, events: n.events, size: n.size}, false)
}

// report logs problems once.
func (s *Store) report(found []Problem) {
	for _, p := range found {
		s.log.Error("a record can't be read and is left as it is", "key", p.Key, "revision", p.ModRevision, "error", p.Err)
	}
}

// listPage is how many entries are read at once: at 64 KiB each that is 16 MiB.
const listPage = 256

// list reads all mirrored entries at one revision.
func (s *Store) list(ctx context.Context, at Query, f func(Entry)) (revision int64, err error) {
	at.Limit = cmp.Or(at.Limit, listPage)
	for _, seg := range mirroredSegments() {
		at.Prefix, at.From, at.Before = Root, seg.from, seg.before
		for more := true; more; {
			page, err := s.opts.Backend.Range(ctx, at)
			if err != nil {
				return 0, fmt.Errorf("list from %q: %w", at.From, err)
			}
			at.Revision = page.Revision
			for _, e := range page.Entries {
				f(e)
				at.From = e.Key + "\x00"
			}
			more = page.More
		}
	}
	return at.Revision, nil
}

// relist replaces the mirror by what is stored now, and publishes the difference. When the difference can't be a
// continuation of what was seen, subscribers start again.
func (s *Store) relist(ctx context.Context) error {
	old := s.hub.current.Load()
	fresh := (&snapshot{}).next()
	diff := old.next()
	contradicts := false
	revision, err := s.list(ctx, Query{}, func(e Entry) {
		r, known := old.records.get(e.Key)
		if !known || r.mod != e.ModRevision || r.create != e.CreateRevision {
			r = decode(e)
			diff.put(r)
			contradicts = contradicts || e.ModRevision <= old.revision
		}
		fresh.put(r)
	})
	if err != nil {
		return err
	}
	old.records.ascend("", func(key string, _ *record) bool {
		if _, ok := fresh.records.get(key); !ok {
			diff.remove(key, revision)
			contradicts = contradicts || revision <= old.revision
		}
		return true
	})
	slices.SortStableFunc(diff.events, func(a, b Event) int { return cmp.Compare(a.ModRevision, b.ModRevision) })
	s.report(diff.found)
	s.heard.at(s.opts.Now(), time.Now())
	s.hub.publish(fresh.done(revision), &batch{revision: revision, events: diff.events, size: diff.size},
		old.revision == 0 || revision < old.revision || contradicts)
	return nil
}

// heard is when the store was heard last.
type heard struct {
	mu      sync.Mutex
	wall    time.Time // to show
	elapsed time.Time // to measure with, monotonic
}

// at notes a sign of life: the time on the wall clock and on the monotonic one.
func (h *heard) at(wall, elapsed time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall, h.elapsed = wall, elapsed
}

func (h *heard) last() (wall time.Time, ago time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wall, time.Since(h.elapsed)
}

// Freshness says how old the mirror's picture is: AsOf is the last time it was known to be complete.
func (s *Store) Freshness() Freshness {
	wall, ago := s.heard.last()
	return Freshness{Live: !wall.IsZero() && ago < s.opts.Stale && s.closing.Err() == nil, AsOf: wall}
}
