package notify

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// Picture is what the emergency needs of the store: how fresh it is, and its last picture.
type Picture interface {
	// Freshness says how old the picture is.
	Freshness() store.Freshness
	// Read shows the picture.
	Read(f func(store.View))
	// ObserveOnly tells whether the store went back in time, so that nothing but this is sent, and why.
	ObserveOnly() (why *recordv1.ObserveOnly, observing bool)
}

// EmergencyOptions configure [NewEmergency]. Store, Path and Replica are required; other zero values mean the defaults.
type EmergencyOptions struct {
	// Store is looked at, never written to.
	Store Picture
	// Path of the local journal, in the replica's data directory. Its folder must exist.
	Path string
	// Replica names this replica in messages: each tells of itself, because none can know of the others.
	Replica string
	// After is how long the store may be silent before people are told. 0: 60 s.
	After time.Duration
	// BackAfter is how long the store must answer again before people are told. 0: 10 s.
	BackAfter time.Duration
	// Interval is how often the store is looked at. 0: 1 s.
	Interval time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
	// Transport carries HTTP requests; nil: [NewTransport].
	Transport http.RoundTripper
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Timeout bounds one attempt. 0: 15 s.
	Timeout time.Duration
	// Source names this installation in events, see [SenderOptions]. Empty: `/jurymast`.
	Source string
}

func (o EmergencyOptions) withDefaults() (EmergencyOptions, error) {
	if o.Store == nil || o.Path == "" || o.Replica == "" {
		return o, errors.New("notify: EmergencyOptions.Store, Path and Replica are required")
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{{&o.After, time.Minute}, {&o.BackAfter, 10 * time.Second}, {&o.Interval, time.Second}} {
		if *d.value <= 0 {
			*d.value = d.otherwise
		}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Emergency tells people that this replica has lost its store, and later that it is back; and that the store was restored
// and waits for a human, and later that one has confirmed it. It writes nothing to the
// store and needs nothing from it: the channels it tells are those it saw last, kept in a local journal, with what was
// told already, so that a restart repeats nothing.
type Emergency struct {
	opts    EmergencyOptions
	senders SenderOptions

	// What follows belongs to Run.
	journal journal
	ears    listener
	tries   map[string]try // by topic and channel; forgotten when a phase changes
}

// try is how telling a channel goes.
type try struct {
	attempts int32
	next     time.Time
	gaveUp   bool
}

// NewEmergency returns an emergency, which does nothing until [Emergency.Run].
func NewEmergency(opts EmergencyOptions) (*Emergency, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Emergency{
		opts: opts,
		senders: SenderOptions{
			Transport: opts.Transport, Logger: opts.Logger, Now: opts.Now, Timeout: opts.Timeout, Source: opts.Source,
		}.withDefaults(),
		tries: map[string]try{},
	}, nil
}

// Run watches the store until ctx ends, and returns nil. A journal that can't be read is begun anew, one that can't be
// written is done without: then a restart may repeat a message. It is to be called once.
func (e *Emergency) Run(ctx context.Context) error {
	var err error
	if e.journal, err = readJournal(e.opts.Path); err != nil {
		e.opts.Logger.Warn("the journal is begun anew", telemetry.KeyError, err)
	}
	e.ears.heard = e.opts.Now()
	ticker := time.NewTicker(e.opts.Interval)
	defer ticker.Stop()
	for {
		e.look(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look looks at the store once and does what follows.
func (e *Emergency) look(ctx context.Context) {
	now := e.opts.Now()
	e.ears.hear(e.opts.Store.Freshness(), now)
	next := e.journal
	if !e.ears.live.IsZero() {
		next.channels = e.currentChannels()
	}
	next.alarm = next.alarm.observe(e.ears.heard, e.ears.live, now, patience{down: e.opts.After, back: e.opts.BackAfter})
	if next.alarm.Phase != e.journal.alarm.Phase {
		clear(e.tries)
		e.announce(next.alarm)
	}
	next.alarm = withoutStrangers(next.alarm, next.channels)
	next.restored = withoutStrangers(e.observeRestored(next.restored, now), next.channels)
	if next.restored.Phase != e.journal.restored.Phase {
		clear(e.tries)
	}
	e.keep(next)
	for _, t := range []topic{topicStore, topicRestored} {
		e.tellAll(ctx, now, t)
	}
}

// announce writes a change to the log.
func (e *Emergency) announce(a alarm) {
	switch a.Phase {
	case phaseDown:
		e.opts.Logger.Error("store lost, telling all channels", "since", clock(a.Since), telemetry.KeyCount, len(e.journal.channels))
	case phaseBack:
		e.opts.Logger.Info("store is back, telling the channels that know of its loss", "since", clock(a.At), telemetry.KeyCount, len(a.Told))
	}
}

// currentChannels returns the channels of the store's picture, or those known before it had one.
func (e *Emergency) currentChannels() []*jv1.Channel {
	channels := e.journal.channels
	e.opts.Store.Read(func(v store.View) {
		if v.Revision() == 0 {
			return
		}
		channels = nil
		for _, ch := range store.List[*jv1.Channel](v, store.Channels) {
			channels = append(channels, ch.Msg)
		}
	})
	return channels
}

// withoutStrangers forgets that channels were told which are there no longer.
func withoutStrangers(a alarm, channels []*jv1.Channel) alarm {
	known := map[string]time.Time{}
	for _, ch := range channels {
		if at, ok := a.Told[ch.GetName()]; ok {
			known[ch.GetName()] = at
		}
	}
	if len(known) != len(a.Told) {
		a.Told = known
	}
	return a
}

// keep takes the journal over, and writes it when it has changed.
func (e *Emergency) keep(next journal) {
	before := e.journal
	e.journal = next
	if sameAlarm(before.alarm, next.alarm) && sameAlarm(before.restored, next.restored) && sameChannels(before.channels, next.channels) {
		return
	}
	if err := next.write(e.opts.Path); err != nil {
		e.opts.Logger.Warn("what was told is not written down: a restart may repeat it", telemetry.KeyError, err)
	}
}

func sameAlarm(a, b alarm) bool {
	if len(a.Told) != len(b.Told) {
		return false
	}
	for channel := range a.Told {
		if _, ok := b.Told[channel]; !ok {
			return false
		}
	}
	return a.Phase == b.Phase && a.Since.Equal(b.Since) && a.At.Equal(b.At)
}

// tellAll tells the channels that are owed a message and due, all at the same time, and waits for the last one.
func (e *Emergency) tellAll(ctx context.Context, now time.Time, about topic) {
	var wg sync.WaitGroup
	failures := make([]error, len(e.journal.channels))
	asked := make([]bool, len(e.journal.channels))
	for i, ch := range e.journal.channels {
		t := e.tries[about.key(ch.GetName())]
		if !about.of(&e.journal).owes(ch.GetName()) || t.gaveUp || t.next.After(now) {
			continue
		}
		asked[i] = true
		wg.Go(func() { failures[i] = e.tell(ctx, ch, about) })
	}
	wg.Wait()
	next := e.journal
	for i, err := range failures {
		channel := e.journal.channels[i].GetName()
		switch {
		case !asked[i]:
		case err == nil:
			alarm := about.of(&next)
			*alarm = alarm.told(channel, e.opts.Now())
		case ctx.Err() != nil: // cut off by our own end: owed still
		default:
			e.failed(channel, about, failureOf(err))
		}
	}
	e.keep(next)
}

func (e *Emergency) tell(ctx context.Context, ch *jv1.Channel, about topic) error {
	sender, err := NewSender(ch, e.senders)
	if err != nil {
		return err
	}
	n := e.journal.alarm.message(e.opts.Replica, ch.GetName())
	if about == topicRestored {
		n = e.journal.restored.restoredMessage(ch.GetName())
	}
	_, err = sender.Send(ctx, n)
	return err
}

// failed notes that a channel was not told, and when it is tried again.
func (e *Emergency) failed(channel string, about topic, f *Failure) {
	t := e.tries[about.key(channel)]
	t.attempts++
	t.gaveUp = f.Permanent || t.attempts >= maxAttempts
	wait := delay(t.attempts, f.RetryAfter, chance())
	t.next = e.opts.Now().Add(wait)
	e.tries[about.key(channel)] = t
	e.opts.Logger.Warn("can't tell a channel about the store", telemetry.KeyChannel, channel, telemetry.KeyReason, string(f.Cause),
		telemetry.KeyError, f, "gave_up", t.gaveUp, telemetry.KeyDelay, wait)
}
