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
	// A watch that goes on in a store that went back would wait for the revision it was at, and take what comes then for
	// what follows. So the store is asked where it is before each watch.
	page, err := s.question(ctx)
	if err == nil && s.wentBack(page, after) {
		return errRegressed
	}
	if err == nil {
		err = s.askForLast(ctx, after)
	}
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	err = s.opts.Backend.Watch(ctx, Root, after, s.apply)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// askForLast asks whether the last change that was watched is still in the store's history: a store that was restored,
// and has come as far as before since, tells another story.
func (s *Store) askForLast(ctx context.Context, at int64) error {
	if s.last.Key == "" || at == 0 {
		return nil
	}
	query := exactly(s.last.Key)
	query.KeysOnly, query.Revision = true, at
	page, err := s.opts.Backend.Range(ctx, query)
	switch {
	case errors.Is(err, ErrInvalid): // a revision that is still to come
		return errRegressed
	case err != nil:
		return err
	case len(page.Entries) == 0 && s.last.Deleted:
		return nil
	case len(page.Entries) == 0 || s.last.Deleted || page.Entries[0].ModRevision != s.last.ModRevision:
		return errRegressed
	}
	return nil
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
	// It is no sign that the picture is new: what was held up, by a link or in this process, may have been said long ago.
	snap := s.hub.current.Load()
	if n := len(b.Changes); n > 0 && b.Revision > snap.revision {
		s.last = b.Changes[n-1]
		s.last.Value = nil
	}
	if b.Revision <= snap.revision {
		if b.Revision < snap.revision {
			s.doubt()
		}
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
	s.live()
}

// live brings what rests on the life of the store up to the newest picture.
func (s *Store) live() {
	s.marked()
	s.settleMode()
	s.reached()
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
func (s *Store) list(ctx context.Context, at Query, f func(Entry)) (last Page, err error) {
	at.Limit = cmp.Or(at.Limit, listPage)
	for _, seg := range mirroredSegments() {
		at.Prefix, at.From, at.Before = Root, seg.from, seg.before
		for more := true; more; {
			page, err := s.opts.Backend.Range(ctx, at)
			if err != nil {
				return last, fmt.Errorf("list from %q: %w", at.From, err)
			}
			last = Page{Revision: page.Revision, Cluster: page.Cluster, Term: page.Term}
			at.Revision = page.Revision
			for _, e := range page.Entries {
				f(e)
				at.From = e.Key + "\x00"
			}
			more = page.More
		}
	}
	return last, nil
}

// relist replaces the mirror by what is stored now, and publishes the difference. When the difference can't be a
// continuation of what was seen, subscribers start again.
func (s *Store) relist(ctx context.Context) error {
	wall, asked := s.opts.Now(), time.Now()
	old := s.hub.current.Load()
	fresh := (&snapshot{}).next()
	diff := old.next()
	contradicts, older := false, false
	page, err := s.list(ctx, Query{}, func(e Entry) {
		was, known := old.records.get(e.Key)
		r := was
		if !known || !r.is(e) {
			r = decode(e)
			diff.put(r)
			contradicts = contradicts || e.ModRevision <= old.revision
			// The revision of a key only grows, and a revision has one value.
			older = older || known && e.ModRevision <= was.mod
		}
		fresh.put(r)
	})
	if err != nil {
		return err
	}
	revision := page.Revision
	old.records.ascend("", func(key string, _ *record) bool {
		if _, ok := fresh.records.get(key); !ok {
			diff.remove(key, revision)
			contradicts = contradicts || revision <= old.revision
		}
		return true
	})
	slices.SortStableFunc(diff.events, func(a, b Event) int { return cmp.Compare(a.ModRevision, b.ModRevision) })
	s.report(diff.found)
	picture := fresh.done(revision)
	judge := judgePlace
	if old.revision == 0 {
		judge = judgeAtStart
	}
	s.last = Change{}
	back := s.notice(picture, page, judge, older)
	s.heard.at(wall, asked)
	s.hub.publish(picture, &batch{revision: revision, events: diff.events, size: diff.size},
		old.revision == 0 || revision < old.revision || contradicts || back)
	s.live()
	if back {
		s.doubt() // the guard tells the cluster
	}
	return nil
}

// heard is when the store was asked last whose answer the mirror has reached: then the picture was complete.
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
