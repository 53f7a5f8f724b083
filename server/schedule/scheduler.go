package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// commitTimeout bounds one transaction.
	commitTimeout = 10 * time.Second
	// retryAfter is how long to wait after an error of the store.
	retryAfter = time.Second
	// maxTries is how often a schedule is decided anew in one round when it changes meanwhile.
	maxTries = 5
)

// Sessions gives the replica's session; *store.Keeper does.
type Sessions interface {
	// Wait waits for a session.
	Wait(ctx context.Context) (*store.Session, error)
}

// Options configures a scheduler. Store and Sessions must be set; the zero values of the others mean the defaults.
type Options struct {
	// Store is started and stays the caller's to close.
	Store *store.Store
	// Sessions gives the replica's session.
	Sessions Sessions
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil: they are not exported.
	Registerer prometheus.Registerer
	// Sweep is how often everything is looked at, whatever was watched, and whatever the clock did. 0: 30 s.
	Sweep time.Duration
}

// Scheduler fires the schedules of one replica's store. Any number of replicas may run one.
type Scheduler struct {
	o       Options
	metrics *metrics
}

// New returns a scheduler; Run makes it work.
func New(o Options) *Scheduler {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Sweep = cmp.Or(o.Sweep, 30*time.Second)
	return &Scheduler{o: o, metrics: newMetrics(o.Registerer)}
}

// Run works until ctx ends, and returns its error, or until the store is closed: then store.ErrClosed.
func (s *Scheduler) Run(ctx context.Context) error {
	changes, closed := s.follow(ctx)
	for {
		session, err := s.o.Sessions.Wait(ctx)
		if err != nil {
			return fmt.Errorf("wait for a session: %w", err)
		}
		wait := s.o.Sweep
		next, err := s.round(ctx, session)
		switch {
		case errors.Is(err, store.ErrClosed):
			return err
		case err != nil && ctx.Err() == nil:
			s.metrics.troubles.Inc()
			s.o.Logger.Warn("can't fire schedules now, trying again", telemetry.KeyError, err)
			wait = retryAfter
		case !next.IsZero():
			wait = max(0, min(wait, next.Sub(s.o.Now())))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-closed:
		case <-changes:
		case <-t.C:
		}
		t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return fmt.Errorf("follow schedules: %w", store.ErrClosed)
		default:
		}
	}
}

// follow tells when schedules change; closed is closed when nothing more can be heard.
func (s *Scheduler) follow(ctx context.Context) (changes <-chan struct{}, closed <-chan struct{}) {
	hint, end := make(chan struct{}, 1), make(chan struct{})
	sub := s.o.Store.Subscribe([]string{store.Schedules, store.ScheduleStates}, store.Cursor{})
	go func() {
		defer close(end)
		defer sub.Close()
		for {
			up, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if !up.Reset && len(up.Events) == 0 {
				continue
			}
			select {
			case hint <- struct{}{}:
			default:
			}
		}
	}()
	return hint, end
}

// round looks at every schedule once, and returns when the next time comes. An error of one doesn't keep the others from
// being looked at, unless the store is away.
func (s *Scheduler) round(ctx context.Context, session *store.Session) (next time.Time, err error) {
	var all error
	for _, at := range s.all() {
		soon, err := s.one(ctx, session, at)
		switch {
		case errors.Is(err, store.ErrClosed), ctx.Err() != nil:
			return next, err
		case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrUnknown):
			return next, errors.Join(all, err)
		}
		all = errors.Join(all, err)
		if !soon.IsZero() && (next.IsZero() || soon.Before(next)) {
			next = soon
		}
	}
	return next, all
}

// one does what is due about one schedule, and returns when to look at it again.
func (s *Scheduler) one(ctx context.Context, session *store.Session, at standing) (next time.Time, err error) {
	for try := range maxTries {
		now := s.o.Now()
		d, err := decide(at.schedule, at.state.Msg, s.o.Store.RestoreEpoch(), now)
		if err != nil {
			s.o.Logger.Warn("a schedule can't be reckoned", telemetry.KeyError, err)
			return next, nil // it won't be better before it is stored anew
		}
		if d.state == nil {
			return d.next, nil
		}
		trigger, err := s.wanted(ctx, at, &d, now, try > 0)
		if err != nil {
			return next, err
		}
		done, err := s.carryOut(ctx, session, at, d.state, trigger)
		switch {
		case err != nil:
			return next, err
		case done:
			s.tell(at.schedule.Msg.GetName(), d)
			return d.next, nil
		}
		// Another replica was faster, or the schedule or its runbook has changed.
		if at = s.again(at); at.schedule.Msg == nil {
			return next, nil
		}
	}
	return s.o.Now().Add(retryAfter), nil
}
