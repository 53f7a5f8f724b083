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

// signals wakes streams when something happens that is no change of their own keys: the store goes away or comes back, the
// server stops; for those that tell of it also when a follower takes an epoch over. Safe for concurrent use.
type signals struct {
	store *store.Store
	now   func() time.Time
	// changed is told when the store goes away or comes back.
	changed func(live bool)

	mu       sync.Mutex
	all      broadcast // wakes every stream
	reports  broadcast // wakes those that tell who has which epoch in force
	stopping bool
}

// broadcast is a context that is canceled to wake who waits for it, and then replaced.
type broadcast struct {
	current context.Context //nolint:containedctx // see above
	wake    context.CancelFunc
}

func newBroadcast() broadcast {
	var b broadcast
	b.current, b.wake = context.WithCancel(context.Background())
	return b
}

func newSignals(st *store.Store, now func() time.Time, changed func(live bool)) *signals {
	return &signals{store: st, now: now, changed: changed, all: newBroadcast(), reports: newBroadcast()}
}

// next waits for an update for at most the given time, or until all streams, or with reports those that tell of reports,
// are woken; then the error is that of a context, while ctx itself is well.
func (s *signals) next(ctx context.Context, sub store.Subscription, most time.Duration, reports bool) (store.Update, error) {
	s.mu.Lock()
	current, reported, stopping := s.all.current, s.reports.current, s.stopping
	s.mu.Unlock()
	if stopping {
		return store.Update{}, context.Canceled
	}
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer context.AfterFunc(current, cancel)()
	if reports {
		defer context.AfterFunc(reported, cancel)()
	}
	return sub.Next(waiting)
}

func (s *signals) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// wakeAll wakes every stream.
func (s *signals) wakeAll() { s.send(&s.all) }

// wakeReports wakes the streams that tell who has which epoch in force.
func (s *signals) wakeReports() { s.send(&s.reports) }

func (s *signals) send(b *broadcast) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.wake()
	if !s.stopping {
		*b = newBroadcast()
	}
}

// stop ends all streams.
func (s *signals) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.all.wake()
	s.reports.wake()
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
			s.wakeAll()
		}
	}
}

// watchInForce wakes the streams that tell of it when a follower takes another epoch over. A report that repeats the last one wakes
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
		s.wakeReports()
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
