package store

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// hub holds the newest snapshot and the recent history, and wakes those who wait for more. Subscribers keep only a
// position: the batches are kept once, in a ring for all and in a log for each set of prefixes that somebody watches.
// So publishing costs nothing for subscribers of other keys, and one closed channel for those of the same.
type hub struct {
	current atomic.Pointer[snapshot]
	// noticed says that this replica found the store gone back, and the cluster does not say so yet.
	noticed atomic.Bool

	mu       sync.RWMutex
	limits   ringLimits
	ready    chan struct{} // closed when the first snapshot is there
	isReady  bool
	isClosed bool
	advanced chan struct{} // closed with every publication, when somebody waits
	waiters  int           // who wait on advanced
	life     string        // what the revisions of cursors belong to
	era      int64         // changes when what was published before is void
	ring     []*batch
	floor    int64 // the ring tells what happened after this revision
	bytes    int
	groups   map[string]*group
	index    prefixIndex
}

// ringLimits bound the history that is kept for slow and returning subscribers.
type ringLimits struct{ batches, bytes int }

// batch is what one publication changed.
type batch struct {
	revision int64
	events   []Event
	size     int
}

// group is the subscribers of one set of prefixes.
type group struct {
	prefixes []string
	refs     int
	log      []*batch
	floor    int64 // the log tells what happened after this revision
	// wake is closed when there is something new. It is the one channel of all subscribers of the group, and there are
	// few others to select from: that is what a wake-up of many costs.
	wake chan struct{}
	// bookmark is a revision that all subscribers shall be told, if they have not been told a later one.
	bookmark int64
}

func newHub(limits ringLimits) *hub {
	h := &hub{
		limits: limits, ready: make(chan struct{}), advanced: make(chan struct{}),
		groups: map[string]*group{}, index: prefixIndex{groups: map[string][]*group{}, lengths: map[int]int{}},
	}
	h.current.Store(&snapshot{})
	return h
}

// publish makes a snapshot the newest one. The events lead from the last one to it; with reset they don't, and every
// subscriber starts again.
func (h *hub) publish(snap *snapshot, b *batch, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current.Store(snap)
	if life := h.lifeOf(snap); life != h.life {
		reset = reset || h.life != ""
		h.life = life
	}
	switch {
	case reset:
		h.reset(snap.revision)
	case b != nil && len(b.events) > 0:
		h.append(b)
	}
	if h.waiters > 0 {
		h.wakeWaiters()
	}
}

// lifeOf names what the revisions of a picture belong to. While replicas only observe it is another one than before and
// after: a revision of the store that was lost may be given out again, and must not be taken for the same.
func (h *hub) lifeOf(snap *snapshot) string {
	epoch := epochOf(snap)
	if _, marked := snap.records.get(ObserveOnlyKey()); epoch != "" && (marked || h.noticed.Load()) {
		return epoch + "-observed"
	}
	return epoch
}

func (h *hub) wakeWaiters() {
	close(h.advanced)
	h.advanced = make(chan struct{})
	h.waiters = 0
}

// bookmark tells the subscribers of all groups in which nothing happened how far the store is.
func (h *hub) bookmark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.current.Load().revision
	for _, g := range h.groups {
		if g.bookmark < now {
			g.bookmark = now
			g.wakeAll()
		}
	}
}

// open lets subscribers in.
func (h *hub) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isReady && !h.isClosed {
		h.isReady = true
		close(h.ready)
	}
}

// close wakes everybody to be told that it is over.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isClosed {
		return
	}
	h.isClosed = true
	if !h.isReady {
		close(h.ready)
	}
	h.wakeWaiters()
	for _, g := range h.groups {
		g.wakeAll()
	}
}

func (h *hub) reset(revision int64) {
	h.era++
	h.ring, h.bytes, h.floor = nil, 0, revision
	for _, g := range h.groups {
		g.log, g.floor = nil, revision
		g.wakeAll()
	}
}

func (h *hub) append(b *batch) {
	h.ring = append(h.ring, b)
	h.bytes += b.size
	for _, g := range h.index.match(b.events) {
		if part := b.only(g.prefixes); part != nil {
			g.log = append(g.log, part)
			g.bookmark = b.revision // the batch tells the revision
			g.wakeAll()
		}
	}
	if len(h.ring) > h.limits.batches || h.bytes > h.limits.bytes {
		h.trim()
	}
}

// trim forgets an eighth more than it must, as every group has to be looked at. The newest batch always stays.
func (h *hub) trim() {
	batches, bytes := h.limits.batches-h.limits.batches/8, h.limits.bytes-h.limits.bytes/8
	drop := 0
	for ; drop < len(h.ring)-1 && (len(h.ring)-drop > batches || h.bytes > bytes); drop++ {
		h.bytes -= h.ring[drop].size
		h.floor = h.ring[drop].revision
	}
	clear(h.ring[:drop]) // the array lives on, what it held must not
	h.ring = h.ring[drop:]
	for _, g := range h.groups {
		g.trim(h.floor)
	}
}

func (g *group) wakeAll() {
	close(g.wake)
	g.wake = make(chan struct{})
}

// trim forgets what the ring forgot. Who was served up to the last forgotten batch has missed nothing.
func (g *group) trim(floor int64) {
	drop := 0
	for drop < len(g.log) && g.log[drop].revision <= floor {
		g.floor = g.log[drop].revision
		drop++
	}
	clear(g.log[:drop])
	g.log = g.log[drop:]
}

// after returns the events after a revision, and the revision they lead to; none when there is nothing new.
func (g *group) after(revision int64) (events []Event, upTo int64) {
	i, _ := slices.BinarySearchFunc(g.log, revision, func(b *batch, r int64) int {
		if b.revision <= r {
			return -1
		}
		return 1
	})
	if i == len(g.log) {
		return nil, revision
	}
	shared := true
	for _, b := range g.log[i:] {
		more := b.after(revision)
		switch {
		case len(events) == 0:
			events = more
		case len(events)+len(more) > maxUpdateEvents:
			return events, upTo
		case shared:
			events, shared = slices.Concat(events, more), false
		default:
			events = append(events, more...)
		}
		upTo = b.revision
	}
	return events, upTo
}

// maxUpdateEvents bounds what is put together for a subscriber that is behind; a single batch may be larger.
const maxUpdateEvents = 1024

// after returns the events of a batch that somebody who knows everything up to revision hasn't seen.
func (b *batch) after(revision int64) []Event {
	i, _ := slices.BinarySearchFunc(b.events, revision, func(e Event, r int64) int {
		if e.ModRevision <= r {
			return -1
		}
		return 1
	})
	return b.events[i:]
}

// only returns the part of the batch under the prefixes, nil when there is none.
func (b *batch) only(prefixes []string) *batch {
	matches := func(e Event) bool { return hasAnyPrefix(e.Key, prefixes) }
	if !slices.ContainsFunc(b.events, func(e Event) bool { return !matches(e) }) {
		return b
	}
	var events []Event
	for _, e := range b.events {
		if matches(e) {
			events = append(events, e)
		}
	}
	if events == nil {
		return nil
	}
	return &batch{revision: b.revision, events: events, size: b.size}
}

func hasAnyPrefix(key string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// join adds a subscriber to the group of its prefixes.
func (h *hub) join(prefixes []string) *group {
	prefixes = slices.Compact(slices.Sorted(slices.Values(prefixes)))
	name := strings.Join(prefixes, "\x00")
	h.mu.Lock()
	defer h.mu.Unlock()
	g, ok := h.groups[name]
	if !ok {
		g = &group{prefixes: prefixes, floor: h.floor, wake: make(chan struct{})}
		for _, b := range h.ring {
			if part := b.only(prefixes); part != nil {
				g.log = append(g.log, part)
			}
		}
		h.groups[name] = g
		h.index.add(g)
	}
	g.refs++
	return g
}

func (h *hub) leave(g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g.refs--; g.refs == 0 {
		delete(h.groups, strings.Join(g.prefixes, "\x00"))
		h.index.remove(g)
	}
}

// wait returns a channel that is closed when the revision may have been reached; one that is closed already when it is.
func (h *hub) wait(revision int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isClosed || h.current.Load().revision >= revision {
		reached := make(chan struct{})
		close(reached)
		return reached
	}
	h.waiters++
	return h.advanced
}

// prefixIndex finds the groups that an event concerns by looking up its key's beginnings, so that the number of
// groups does not matter.
type prefixIndex struct {
	groups  map[string][]*group
	lengths map[int]int
}

func (x *prefixIndex) add(g *group) {
	for _, p := range g.prefixes {
		x.groups[p] = append(x.groups[p], g)
		x.lengths[len(p)]++
	}
}

func (x *prefixIndex) remove(g *group) {
	for _, p := range g.prefixes {
		x.groups[p] = slices.DeleteFunc(x.groups[p], func(o *group) bool { return o == g })
		if len(x.groups[p]) == 0 {
			delete(x.groups, p)
		}
		if x.lengths[len(p)]--; x.lengths[len(p)] == 0 {
			delete(x.lengths, len(p))
		}
	}
}

// match returns the groups that any of the events concerns, each once.
func (x *prefixIndex) match(events []Event) []*group {
	var found []*group
	seen := map[*group]struct{}{}
	for _, e := range events {
		for length := range x.lengths {
			if length > len(e.Key) {
				continue
			}
			for _, g := range x.groups[e.Key[:length]] {
				if _, ok := seen[g]; !ok {
					seen[g] = struct{}{}
					found = append(found, g)
				}
			}
		}
	}
	return found
}
