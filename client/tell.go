package client

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// teller tells the application of changes, in one goroutine, so that a slow application delays neither the stream nor
// State, and remembers which epochs it was told.
type teller struct {
	mu      sync.Mutex
	pending map[string]bool
	told    map[string]taken
	watches map[string]map[*watch]struct{}
	closed  bool

	wake  chan struct{} // something is pending
	fresh chan struct{} // something was told; for the reporter
}

// watch is one channel that Watch gave out.
type watch struct {
	ch chan State
}

func newTeller() *teller {
	return &teller{
		pending: map[string]bool{}, told: map[string]taken{}, watches: map[string]map[*watch]struct{}{},
		wake: make(chan struct{}, 1), fresh: make(chan struct{}, 1),
	}
}

// changed notes that a service has news.
func (t *teller) changed(service string) {
	t.mu.Lock()
	t.pending[service] = true
	t.mu.Unlock()
	nudge(t.wake)
}

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// taken is an epoch that the application was told of, and the life of the store it belongs to.
type taken struct {
	epoch int64
	life  string
}

// epochs returns what the application was told.
func (t *teller) epochs() map[string]taken {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.told)
}

// tell runs until ctx ends.
func (c *Client) tell(ctx context.Context) {
	t := c.teller
	wait := c.o.MinBackoff
	retry := time.NewTimer(0)
	defer retry.Stop()
	failed := map[string]bool{}
	for {
		var services map[string]bool
		select {
		case <-t.wake:
			c.awaitSync(ctx)
			services = t.take()
		case <-retry.C:
			services, failed = failed, map[string]bool{}
		case <-ctx.Done():
			return
		}
		for service := range services {
			if ctx.Err() != nil {
				return
			}
			delete(failed, service)
			if err := c.tellOne(service); err != nil {
				c.log.Error("the application could not take the change", "service", service, "error", err, "delay", wait)
				failed[service] = true
			}
		}
		nudge(t.fresh)
		if len(failed) == 0 {
			wait = c.o.MinBackoff
			continue
		}
		retry.Reset(wait/2 + rand.N(wait/2+1))
		wait = min(2*wait, c.o.MaxBackoff)
	}
}

// syncPatience is how long a change that came with the first messages of a stream waits for the word on how fresh they
// are. It follows at once; an application must not miss a switch because it doesn't.
const syncPatience = 250 * time.Millisecond

// awaitSync waits, while a server is sending what it knows, until it has.
func (c *Client) awaitSync(ctx context.Context) {
	patience := time.NewTimer(syncPatience)
	defer patience.Stop()
	for {
		next := c.pulse.next()
		if l := c.link.Load(); l.address == "" || l.synced {
			return
		}
		select {
		case <-next:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *teller) take() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	services := t.pending
	t.pending = map[string]bool{}
	return services
}

// tellOne tells of one service. After an error the epoch in force is not known: the application may have taken half of
// the change.
func (c *Client) tellOne(service string) error {
	s, ok := c.State(service)
	var err error
	if c.o.OnChange != nil {
		err = c.o.OnChange(service, s, ok)
	}
	t := c.teller
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watches[service] {
		if ok {
			w.offer(s)
		} else {
			close(w.ch)
		}
	}
	if !ok {
		delete(t.watches, service)
	}
	if !ok || err != nil {
		delete(t.told, service)
		return err
	}
	t.told[service] = taken{epoch: s.GetEpoch(), life: s.GetRestoreEpoch()}
	return nil
}

// offer puts the state into the channel, in place of an older one that nobody took. The caller holds the lock, so
// there is no other sender.
func (w *watch) offer(s State) {
	select {
	case <-w.ch:
	default:
	}
	w.ch <- s
}

// Watch returns a channel that gives the state of a service, at once when it is known, and again after each change. A
// change that was not taken is replaced by the next one; Age and Live are those of the moment of the change. The
// channel is closed when the service is deleted and when the client ends. stop, which may be called twice, closes it
// too.
//
// An epoch counts as in force when it is in the channel; where that is too early, use Options.OnChange.
func (c *Client) Watch(service string) (states <-chan State, stop func()) {
	t := c.teller
	w := &watch{ch: make(chan State, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := c.State(service); ok {
		w.ch <- s
	}
	if t.closed {
		close(w.ch)
		return w.ch, func() {}
	}
	if t.watches[service] == nil {
		t.watches[service] = map[*watch]struct{}{}
	}
	t.watches[service][w] = struct{}{}
	return w.ch, func() { t.stop(service, w) }
}

func (t *teller) stop(service string, w *watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.watches[service][w]; ok {
		delete(t.watches[service], w)
		close(w.ch)
	}
}

// close ends every watch.
func (t *teller) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, watches := range t.watches {
		for w := range watches {
			close(w.ch)
		}
	}
	clear(t.watches)
}

// pulse wakes everybody who waits for any change.
type pulse struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that is closed by the next beat.
func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch == nil {
		p.ch = make(chan struct{})
	}
	return p.ch
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch != nil {
		close(p.ch)
		p.ch = nil
	}
}
