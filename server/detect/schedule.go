package detect

import (
	"container/heap"
	"time"
)

// schedule keeps one time for each key and gives the earliest first. Not safe for concurrent use.
type schedule[K comparable] struct {
	slots map[K]*slot[K]
	heap  slotHeap[K]
}

type slot[K comparable] struct {
	key   K
	at    time.Time
	index int
}

func newSchedule[K comparable]() *schedule[K] {
	return &schedule[K]{slots: map[K]*slot[K]{}}
}

// set gives the key a time; the zero time takes it out.
func (s *schedule[K]) set(key K, at time.Time) {
	known, ok := s.slots[key]
	switch {
	case at.IsZero() && ok:
		heap.Remove(&s.heap, known.index)
		delete(s.slots, key)
	case at.IsZero():
	case ok:
		known.at = at
		heap.Fix(&s.heap, known.index)
	default:
		added := &slot[K]{key: key, at: at}
		s.slots[key] = added
		heap.Push(&s.heap, added)
	}
}

// earliest is the first time; the zero time when there is none.
func (s *schedule[K]) earliest() time.Time {
	if len(s.heap) == 0 {
		return time.Time{}
	}
	return s.heap[0].at
}

// due takes out and returns the keys whose time has come, the earliest first.
func (s *schedule[K]) due(now time.Time) []K {
	var keys []K
	for len(s.heap) > 0 && !s.heap[0].at.After(now) {
		keys = append(keys, s.heap[0].key)
		s.set(s.heap[0].key, time.Time{})
	}
	return keys
}

// slotHeap implements heap.Interface.
type slotHeap[K comparable] []*slot[K]

// Len implements sort.Interface.
func (h slotHeap[K]) Len() int { return len(h) }

// Less implements sort.Interface.
func (h slotHeap[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements sort.Interface.
func (h slotHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *slotHeap[K]) Push(x any) {
	s := x.(*slot[K])
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *slotHeap[K]) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}

// alarm is a timer that can be moved. Its channel fires once for each time it is set to; the zero time silences it.
type alarm struct {
	timer *time.Timer
	at    time.Time
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{timer: t}
}

// set moves the alarm to a time of the clock whose reading is now.
func (a *alarm) set(at, now time.Time) {
	if at.Equal(a.at) {
		return
	}
	a.at = at
	if at.IsZero() {
		a.timer.Stop()
		return
	}
	a.timer.Reset(max(at.Sub(now), 0))
}

// fired is the channel of the timer. Who received from it calls rang.
func (a *alarm) fired() <-chan time.Time { return a.timer.C }

func (a *alarm) rang() { a.at = time.Time{} }
