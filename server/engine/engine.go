package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// ErrNoSession says that the replica has no session at the moment and can't own anything; try again.
var ErrNoSession = errors.New("this replica has no session")

// ErrNotFound says that there is no such run, runbook or service.
var ErrNotFound = errors.New("not found")

// ErrRevision says that the record is not at the revision the caller expected.
var ErrRevision = errors.New("revision has changed")

// ErrNotPossible says that the run's state does not allow what was asked.
var ErrNotPossible = errors.New("not possible in this state")

// ErrInvalid says that the request can't be carried out as it stands.
var ErrInvalid = errors.New("invalid request")

// ErrForbidden says that this caller may not do this.
var ErrForbidden = errors.New("not allowed")

// ErrBusy says that too many runs are live; try again.
var ErrBusy = errors.New("too many live runs")

// Sessions gives the replica's session; *store.Keeper does.
type Sessions interface {
	// Current returns the session, nil when there is none.
	Current() *store.Session
	// Wait waits for a session.
	Wait(ctx context.Context) (*store.Session, error)
}

// Options configures an engine. Store, Sessions and Kinds must be set.
type Options struct {
	// Store is started and stays the caller's to close.
	Store *store.Store
	// Sessions gives the replica's session.
	Sessions Sessions
	// Kinds names the kinds of steps.
	Kinds *steps.Registry
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil: they are not exported.
	Registerer prometheus.Registerer
	// MaxRuns is the most live runs this replica owns before it refuses new ones. Zero: 10 000.
	MaxRuns int
	// MaxCalls is the most outside calls under way. Zero: 64.
	MaxCalls int
	// Sweep is how often everything is looked at, whatever was watched. Zero: 30 s.
	Sweep time.Duration
}

// Engine executes runs. Its methods are safe for concurrent use.
type Engine struct {
	o          Options
	log        hclog.Logger
	metrics    *metrics
	conditions steps.Conditions
	calls      chan struct{}

	mu        sync.Mutex
	session   *store.Session
	executors map[string]*executor // by run
	creating  map[string]struct{}  // runs whose creating transaction is under way here
	flights   map[flightKey]*flight
	outside   sync.WaitGroup      // of the flights
	base      context.Context     // of the engine: that of its calls
	left      map[string]struct{} // keys of records that were reported as left to a newer version
	services  map[string]chan struct{}
	group     sync.WaitGroup
	ctx       context.Context // of the present session; nil without one
}

// New returns an engine; Run makes it work.
func New(o Options) *Engine {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.MaxRuns, 10_000)
	setDefault(&o.MaxCalls, 64)
	setDefault(&o.Sweep, 30*time.Second)
	return &Engine{
		o: o, log: o.Logger, metrics: newMetrics(o.Registerer), calls: make(chan struct{}, o.MaxCalls),
		executors: map[string]*executor{}, creating: map[string]struct{}{}, flights: map[flightKey]*flight{},
		left: map[string]struct{}{}, services: map[string]chan struct{}{},
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Run works until ctx ends. Each session of the replica is a life of its own: when it is lost everything under way is
// stopped, and begins anew with what the store says; only outside calls go on.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.base = ctx
	e.mu.Unlock()
	defer e.outside.Wait()
	for {
		s, err := e.o.Sessions.Wait(ctx)
		if err != nil {
			return fmt.Errorf("wait for a session: %w", err)
		}
		e.live(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// live works for as long as the session does.
func (e *Engine) live(ctx context.Context, s *store.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	e.session, e.ctx = s, ctx
	e.executors = map[string]*executor{}
	e.services = map[string]chan struct{}{}
	e.mu.Unlock()
	e.log.Debug("session begins", "session", s.Key)

	e.spawn(func() { e.dispatch(ctx) })
	e.spawn(func() { e.sweep(ctx, s) })
	select {
	case <-ctx.Done():
	case <-s.Done():
		e.log.Warn("session lost; everything under way is stopped", "session", s.Key)
	}
	e.mu.Lock()
	e.session, e.ctx = nil, nil
	e.mu.Unlock()
	cancel()
	e.group.Wait()
}

func (e *Engine) spawn(f func()) {
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		f()
	}()
}

// current returns the session and its context.
func (e *Engine) current() (*store.Session, context.Context, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil {
		return nil, nil, ErrNoSession
	}
	return e.session, e.ctx, nil
}

// Poke has the pending triggers of a service evaluated, and its runs look at the facts again.
func (e *Engine) Poke(service string) {
	e.pokeTriggers(service)
	e.wakeService(service)
}

// Ready tells whether the replica has a session, so that it can own runs.
func (e *Engine) Ready() bool {
	_, _, err := e.current()
	return err == nil
}
