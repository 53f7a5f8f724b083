package notify

import (
	"container/heap"
	"time"
)

// agenda is what there is to do: entries that may be sent, the oldest of each channel first, and lanes to look at
// later, the soonest first. It may hold what is out of date; whoever takes something looks at it again.
type agenda struct {
	ready map[string]*ordered[*entry] // by channel
	later ordered[appointment]
}

// appointment is a lane to look at when its time has come.
type appointment struct {
	at   time.Time
	lane lane
}

func newAgenda() *agenda {
	return &agenda{
		ready: map[string]*ordered[*entry]{},
		later: ordered[appointment]{before: func(a, b appointment) bool { return a.at.Before(b.at) }},
	}
}

func (a *agenda) addReady(e *entry) {
	channel := e.n.GetChannel()
	if a.ready[channel] == nil {
		a.ready[channel] = &ordered[*entry]{before: func(x, y *entry) bool { return inOrder(x, y) < 0 }}
	}
	heap.Push(a.ready[channel], e)
}

// takeReady returns the oldest entry of a channel that was ready; nil when there is none.
func (a *agenda) takeReady(channel string) *entry {
	entries := a.ready[channel]
	if entries.Len() == 0 {
		delete(a.ready, channel)
		return nil
	}
	return heap.Pop(entries).(*entry)
}

func (a *agenda) addLater(at time.Time, l lane) {
	heap.Push(&a.later, appointment{at: at, lane: l})
}

// takeDue returns a lane whose time has come.
func (a *agenda) takeDue(now time.Time) (l lane, ok bool) {
	if a.later.Len() == 0 || a.later.items[0].at.After(now) {
		return lane{}, false
	}
	return heap.Pop(&a.later).(appointment).lane, true
}

// next is the time of the soonest appointment; zero when there is none.
func (a *agenda) next() time.Time {
	if a.later.Len() == 0 {
		return time.Time{}
	}
	return a.later.items[0].at
}

// ordered is a heap; see container/heap. The nil pointer is empty.
type ordered[T any] struct {
	items  []T
	before func(a, b T) bool
}

// Len implements heap.Interface.
func (o *ordered[T]) Len() int {
	if o == nil {
		return 0
	}
	return len(o.items)
}

// Less implements heap.Interface.
func (o *ordered[T]) Less(i, j int) bool { return o.before(o.items[i], o.items[j]) }

// Swap implements heap.Interface.
func (o *ordered[T]) Swap(i, j int) { o.items[i], o.items[j] = o.items[j], o.items[i] }

// Push implements heap.Interface.
func (o *ordered[T]) Push(x any) { o.items = append(o.items, x.(T)) }

// Pop implements heap.Interface.
func (o *ordered[T]) Pop() any {
	last := len(o.items) - 1
	x := o.items[last]
	var zero T
	o.items[last] = zero
	o.items = o.items[:last]
	return x
}
