package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// ErrClosed says that the client was closed, or was started before.
var ErrClosed = errors.New("client is closed or was started before")

// Client follows the state of services. Make one with New; all methods are safe for concurrent use.
type Client struct {
	o   Options
	log hclog.Logger

	entries sync.Map // service -> *entry; read by State without a lock
	link    atomic.Pointer[link]
	teller  *teller
	keeper  *keeper
	pulse   pulse

	// Only the goroutine of follow uses these.
	cursor   string
	snapshot bool // the server sends all it knows

	mu     sync.Mutex
	begun  bool
	closed bool
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns a client that already knows what the cache on disk holds, and connects to nobody before Start or Run. A
// cache that can't be used is no error: it is logged, shown by Status and set aside. The error wraps ErrOptions.
func New(o Options) (*Client, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, log: o.Logger, teller: newTeller(),
		keeper: &keeper{dir: o.CacheDir, wake: make(chan struct{}, 1)},
		done:   make(chan struct{}),
	}
	c.link.Store(&link{})
	c.restore()
	return c, nil
}

// Start begins to follow in the background, until ctx ends or Close is called. A client starts once; ErrClosed
// otherwise.
func (c *Client) Start(ctx context.Context) error {
	ctx, err := c.begin(ctx)
	if err != nil {
		return err
	}
	go c.run(ctx)
	return nil
}

// Run follows until ctx ends or Close is called, and returns nil then. A client runs once; ErrClosed otherwise.
func (c *Client) Run(ctx context.Context) error {
	ctx, err := c.begin(ctx)
	if err != nil {
		return err
	}
	c.run(ctx)
	return nil
}

func (c *Client) begin(ctx context.Context) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun || c.closed {
		return nil, ErrClosed
	}
	c.begun = true
	ctx, c.cancel = context.WithCancel(ctx)
	return ctx, nil
}

func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer c.cancel()
	var all sync.WaitGroup
	all.Go(func() { c.follow(ctx) })
	all.Go(func() { c.tell(ctx) })
	all.Go(func() { c.keep(ctx) })
	all.Wait()
	c.teller.close()
	c.pulse.beat()
}

// Close ends what Start began, waits for it, and writes the cache. State goes on answering. Must not be called from
// OnChange. Safe to call twice.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	begun := c.begun
	if begun {
		c.cancel()
	}
	c.mu.Unlock()
	if !begun {
		c.teller.close()
		return nil
	}
	<-c.done
	return c.keeper.lastError()
}

// WaitLive waits until a server vouches for every given service, or, with none given, until all that a server knows
// has come. It returns ctx's error with the last reason why no server is followed, or ErrClosed.
func (c *Client) WaitLive(ctx context.Context, services ...string) error {
	for {
		changed := c.pulse.next()
		if c.isLive(services) {
			return nil
		}
		select {
		case <-changed:
		case <-c.done:
			return ErrClosed
		case <-ctx.Done():
			if err := c.Status().Err; err != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return ctx.Err()
		}
	}
}

func (c *Client) isLive(services []string) bool {
	if l := c.link.Load(); !l.synced || !l.store {
		return false
	}
	return !slices.ContainsFunc(services, func(service string) bool {
		s, ok := c.State(service)
		return !ok || !s.Live
	})
}

// Status is how the client itself is.
type Status struct {
	// Address of the server that is followed. Empty: none is.
	Address string
	// Live tells that all that the server knows has come and that it hears its store.
	Live bool
	// Heard is when a live server was heard last; zero: never since New.
	Heard time.Time
	// Err is why no server is followed; nil while one is.
	Err error
	// CacheErr is what is wrong with the cache on disk; it wraps ErrCache. Nil: nothing, or no cache is kept.
	CacheErr error
	// Regressions are the services whose newest word from a server was kept out, by name.
	Regressions []Regression
}

// Regression is a state that was kept out because it is older than the one held.
type Regression struct {
	// Service it is of.
	Service string
	// Reason it was kept out for.
	Reason Verdict
	// Held is the state that was kept. Shared; not to be changed.
	Held *jv1.ContinuityState
	// Offered is the state that was kept out. Shared; not to be changed.
	Offered *jv1.ContinuityState
}

// Status returns how the client itself is.
func (c *Client) Status() Status {
	l := c.link.Load()
	s := Status{Address: l.address, Live: l.synced && l.store, Heard: l.heard, Err: l.err, CacheErr: c.keeper.lastError()}
	known := c.known()
	for _, service := range sortedKeys(known) {
		if e := known[service]; e.refused != "" {
			s.Regressions = append(s.Regressions, Regression{Service: service, Reason: e.refused, Held: e.state, Offered: e.offered})
		}
	}
	return s
}
