package api

import (
	"context"
	"maps"
	"sync"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// freshnessPoll is how often the store is asked whether it still answers.
	freshnessPoll = 250 * time.Millisecond
	// signalEvery is how often, at most, the streams are woken because followers took an epoch over: after a switch,
	// hundreds of them report within a moment.
	signalEvery = time.Second
)

// signals wakes all streams when something happens that is no change of their own keys: the store goes away or comes
// back, a follower takes an epoch over, the server stops. Safe for concurrent use.
type signals struct {
	store *store.Store
	now   func() time.Time
	// changed is told when the store goes away or comes back.
	changed func(live bool)

	mu       sync.Mutex
	current  context.Context //nolint:containedctx // a broadcast: canceled to wake, then replaced
	wake     context.CancelFunc
	stopping bool
}

func newSignals(st *store.Store, now func() time.Time, changed func(live bool)) *signals {
	s := &signals{store: st, now: now, changed: changed}
	s.current, s.wake = context.WithCancel(context.Background())
	return s
}

// next waits for an update for at most the given time, or until all streams are woken; then the error is that of
// a context, while ctx itself is well.
func (s *signals) next(ctx context.Context, sub store.Subscription, most time.Duration) (store.Update, error) {
	s.mu.Lock()
	current, stopping := s.current, s.stopping
	s.mu.Unlock()
	if stopping {
		return store.Update{}, context.Canceled
	}
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer context.AfterFunc(current, cancel)()
	return sub.Next(waiting)
}

func (s *signals) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// broadcast wakes all streams.
func (s *signals) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
	if !s.stopping {
		s.current, s.wake = context.WithCancel(context.Background())
	}
}

// stop ends all streams.
func (s *signals) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.wake()
}

// run looks at the store until ctx ends.
func (s *signals) run(ctx context.Context) {
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { s.watchInForce(ctx) })
	tick := time.NewTicker(freshnessPoll)
	defer tick.Stop()
	live := s.store.Freshness().Live
	s.changed(live)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := s.store.Freshness().Live; now != live {
			live = now
			s.changed(live)
			s.broadcast()
		}
	}
}

// watchInForce wakes the streams when a follower takes another epoch over. A report that repeats the last one wakes
// nobody.
func (s *signals) watchInForce(ctx context.Context) {
	sub := s.store.Subscribe([]string{store.InForce}, store.Cursor{})
	defer sub.Close()
	epochs := map[string]map[string]int64{}
	for {
		u, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if !inForceChanged(epochs, u) {
			continue
		}
		s.broadcast()
		select {
		case <-ctx.Done():
			return
		case <-time.After(signalEvery):
		}
	}
}

// inForceChanged takes an update over and tells whether it says anything new.
func inForceChanged(epochs map[string]map[string]int64, u store.Update) bool {
	changed := u.Reset
	if u.Reset {
		clear(epochs)
	}
	for _, e := range u.Events {
		report, ok := e.Msg.(*recordv1.InForceReport)
		if !ok {
			_, was := epochs[e.Key]
			changed = changed || was
			delete(epochs, e.Key)
			continue
		}
		if !maps.Equal(epochs[e.Key], report.GetEpochs()) {
			changed = true
			epochs[e.Key] = report.GetEpochs()
		}
	}
	return changed
}
