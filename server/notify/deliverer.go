package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/server/store"
)

// Store is what the deliverer needs of the store.
type Store interface {
	// Commit makes a transaction happen or finds out that it didn't.
	Commit(ctx context.Context, txn store.Txn) (store.Result, error)
	// Read shows a consistent picture.
	Read(f func(store.View))
	// WaitRevision waits until the picture is at least that new.
	WaitRevision(ctx context.Context, revision int64) error
	// Subscribe follows the changes under prefixes.
	Subscribe(prefixes []string, from store.Cursor) store.Subscription
}

// Sessions gives the session under which this replica acts.
type Sessions interface {
	// Current returns the session, nil while there is none.
	Current() *store.Session
	// Wait waits for a session.
	Wait(ctx context.Context) (*store.Session, error)
}

// Options configure [New]. Store and Sessions are required; other zero values mean the defaults.
type Options struct {
	// Store holds the outbox.
	Store Store
	// Sessions is this replica's session keeper.
	Sessions Sessions
	// Logger; nil discards. The channels of kind `log` write to it as well.
	Logger hclog.Logger
	// Transport carries HTTP requests; nil: [NewTransport].
	Transport http.RoundTripper
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Registry takes the metrics; nil: they are kept for nobody.
	Registry prometheus.Registerer
	// Source names this installation in events, see [SenderOptions]. Empty: `/jurymast`.
	Source string
	// Timeout bounds one attempt. 0: 15 s.
	Timeout time.Duration
	// PerChannel is how many notifications one channel is sent at the same time. 0: 4.
	PerChannel int
	// Sweep is how often everything is looked at again, in case a change was not heard of. 0: 30 s.
	Sweep time.Duration
	// Grace is how long attempts under way may take when the deliverer is stopped. 0: 5 s; negative: none.
	Grace time.Duration
	// Retention says how long what was delivered or given up is kept.
	Retention Retention
}

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Sessions == nil {
		return o, errors.New("notify: Options.Store and Options.Sessions are required")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PerChannel <= 0 {
		o.PerChannel = 4
	}
	if o.Sweep <= 0 {
		o.Sweep = 30 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	o.Retention = o.Retention.withDefaults()
	return o, nil
}

// Deliverer sends what stands in the outbox. Any number of replicas run one each, side by side.
type Deliverer struct {
	opts    Options
	log     hclog.Logger
	metrics *metrics
	senders SenderOptions
}

// New returns a deliverer, which does nothing until [Deliverer.Run].
func New(opts Options) (*Deliverer, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(opts.Registry)
	if err != nil {
		return nil, err
	}
	return &Deliverer{
		opts: opts, log: opts.Logger, metrics: m,
		senders: SenderOptions{
			Transport: opts.Transport, Logger: opts.Logger, Now: opts.Now, Timeout: opts.Timeout, Source: opts.Source,
		}.withDefaults(),
	}, nil
}

// Run delivers until ctx ends, then lets the attempts under way end within the grace period. It returns nil when ctx
// ended, and an error when the store was closed before. It is to be called once.
func (d *Deliverer) Run(ctx context.Context) error {
	// Attempts outlive ctx by the grace period: what was sent should be recorded as sent.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loop{
		Deliverer: d, work: work, box: newOutbox(), agenda: newAgenda(), busy: map[string]hold{}, slots: map[string]int{},
		updates: make(chan store.Update), ended: make(chan error, 1), sessions: make(chan struct{}, 1), done: make(chan outcome),
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { l.followSessions(ctx) })
	helpers.Go(func() { l.followStore(ctx) })
	helpers.Go(func() { d.pruneAll(ctx) })

	err := l.run(ctx)
	cancel()
	if d.opts.Grace > 0 {
		timer := time.AfterFunc(d.opts.Grace, stop)
		defer timer.Stop()
	} else {
		stop()
	}
	l.drain()
	helpers.Wait()
	return err
}

// loop is one run of a deliverer. Its fields belong to the goroutine of run.
type loop struct {
	*Deliverer
	work    context.Context // the lifetime of the attempts
	box     *outbox
	agenda  *agenda
	session *store.Session  // under which decisions are made; nil: none
	busy    map[string]hold // by key: what is under way or not to be touched yet
	slots   map[string]int  // attempts under way, by channel
	count   int             // attempts under way

	updates  chan store.Update
	ended    chan error // the subscription ended
	sessions chan struct{}
	done     chan outcome
}

// hold keeps an entry from being looked at: while an attempt is under way, and after it until the outbox shows what
// the attempt wrote.
type hold struct {
	working  bool
	lane     lane
	revision int64
	until    time.Time
}

func (l *loop) run(ctx context.Context) error {
	sweep := time.NewTicker(l.opts.Sweep)
	defer sweep.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-l.ended:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("following the outbox: %w", err)
		case u := <-l.updates:
			l.box.apply(u)
		case o := <-l.done:
			l.settle(o)
		case <-sweep.C:
			l.opts.Store.Read(l.box.reload)
		case <-l.sessions:
		case <-timer.C:
		}
		if wake := l.start(); !wake.IsZero() {
			timer.Reset(max(wake.Sub(l.opts.Now()), 0))
		}
	}
}

// settle takes over what an attempt left behind.
func (l *loop) settle(o outcome) {
	l.count--
	l.slots[o.lane.channel]--
	if o.reload {
		l.opts.Store.Read(l.box.reload)
	}
	l.busy[o.key] = hold{lane: o.lane, revision: o.revision, until: o.until}
}

// start begins what is due and free to begin, and returns when to look again at the latest; zero: when something
// changes. What it costs grows with what changed, not with what waits.
func (l *loop) start() (wake time.Time) {
	now := l.opts.Now()
	if session := l.opts.Sessions.Current(); session != l.session {
		l.session, l.box.allChanged = session, true
	}
	lanes, all := l.box.takeChanged()
	if all {
		l.agenda = newAgenda()
	}
	wake = l.release(now)
	for lane := range lanes {
		l.judge(lane, now)
	}
	for lane, ok := l.agenda.takeDue(now); ok; lane, ok = l.agenda.takeDue(now) {
		l.judge(lane, now)
	}
	for channel := range l.agenda.ready {
		l.startSome(channel, now)
	}
	l.metrics.showPending(l.box.counts)
	return sooner(wake, l.agenda.next())
}

// release lets go of what is no longer held, and returns when the next hold ends.
func (l *loop) release(now time.Time) (wake time.Time) {
	for key, h := range l.busy {
		switch {
		case h.working || h.revision > l.box.cursor.Revision:
		case h.until.After(now):
			wake = sooner(wake, h.until)
		default:
			delete(l.busy, key)
			l.judge(h.lane, now)
		}
	}
	return wake
}

// judge puts the entry whose turn it is in a lane where it belongs.
func (l *loop) judge(of lane, now time.Time) {
	e := l.box.head(of)
	if e == nil || l.held(e) {
		return
	}
	switch next := l.decide(e, now); next.Action {
	case Wait:
		l.agenda.addLater(next.At, of)
	case Claim, Send:
		l.agenda.addReady(e)
	}
}

func (l *loop) held(e *entry) bool {
	_, held := l.busy[e.key]
	return held
}

func (l *loop) decide(e *entry, now time.Time) Decision {
	return Next(Situation{
		Notification: e.n, Delivery: l.box.claims[e.n.GetName()].delivery, Live: l.box.sessions, Self: ownerOf(l.session), Now: now,
	})
}

// startSome begins the oldest attempts of a channel, as many as it has room for. What was put on the agenda may be out
// of date; then something newer of the same lane is on it, or will be.
func (l *loop) startSome(channel string, now time.Time) {
	for l.slots[channel] < l.opts.PerChannel {
		e := l.agenda.takeReady(channel)
		if e == nil {
			return
		}
		if l.box.head(laneOf(e.n)) != e || l.held(e) {
			continue
		}
		switch next := l.decide(e, now); next.Action {
		case Wait:
			l.agenda.addLater(next.At, laneOf(e.n))
		case Claim, Send:
			l.begin(job{
				entry: e, claim: l.box.claims[e.n.GetName()], session: l.session, mustClaim: next.Action == Claim,
				channel: l.box.channels[channel],
			})
		}
	}
}

func (l *loop) begin(j job) {
	l.busy[j.entry.key] = hold{working: true}
	l.slots[j.entry.n.GetChannel()]++
	l.count++
	go func() { l.done <- l.attempt(l.work, j) }()
}

// sooner returns the earlier one of two times; the zero time is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// drain waits for the attempts under way.
func (l *loop) drain() {
	for l.count > 0 {
		<-l.done
		l.count--
	}
}

// followStore passes the changes of the outbox to the loop.
func (l *loop) followStore(ctx context.Context) {
	sub := l.opts.Store.Subscribe(l.box.prefixes(), store.Cursor{})
	defer sub.Close()
	for {
		u, err := sub.Next(ctx)
		if err != nil {
			l.ended <- err
			return
		}
		select {
		case l.updates <- u:
		case <-ctx.Done():
			l.ended <- ctx.Err()
			return
		}
	}
}

// followSessions wakes the loop when this replica's session changes.
func (l *loop) followSessions(ctx context.Context) {
	for {
		session, err := l.opts.Sessions.Wait(ctx)
		if err != nil {
			return
		}
		l.wakeUp()
		select {
		case <-session.Done():
			l.wakeUp()
		case <-ctx.Done():
			return
		}
	}
}

func (l *loop) wakeUp() {
	select {
	case l.sessions <- struct{}{}:
	default: // the loop has not yet heard of the last change, and will look at the newest
	}
}

func chance() float64 { return rand.Float64() }

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
