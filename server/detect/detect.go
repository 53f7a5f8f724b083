package detect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Options configure [New].
type Options struct {
	// Store that everything is read from and written to. Needed.
	Store *store.Store
	// Keeper of this replica's session, which leases its votes. Needed.
	Keeper *store.Keeper
	// Replica is the name of this replica, a DNS label: its vantage. Needed.
	Replica string
	// Logger; nil discards.
	Logger hclog.Logger
	// Transport of the probes; nil means [NewTransport].
	Transport http.RoundTripper
	// Canaries are URLs that answer whenever this replica's own network works, whatever they answer. They are asked
	// only when a provider can't be reached. Without them the other providers tell.
	Canaries []string
	// Authorize decides about senders whose detector names no secret. An error that wraps auth.ErrUnauthenticated is
	// answered with 401, any other with 403. Nil refuses them all.
	Authorize func(*http.Request) error
	// Probed is told the services of a target whenever a probe of it has ended, so that a step that waits for good
	// probes looks again. It must not block. Nil: nobody is told.
	Probed func(services []string)
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil: they are not shown.
	Registerer prometheus.Registerer
}

// Detect is the detection of one replica. Safe for concurrent use.
type Detect struct {
	opts    Options
	log     hclog.Logger
	metrics *metrics
	prober  *prober
	ballot  *ballot
	court   *court
}

// New makes the detection of a replica. Its intake works at once; nothing is probed or judged before [Detect.Run].
func New(o Options) (*Detect, error) {
	if o.Store == nil || o.Keeper == nil || o.Replica == "" {
		return nil, fmt.Errorf("detect: store, keeper and replica are needed: %w", ErrInvalid)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	m, err := newMetrics(o.Registerer, o.Store)
	if err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	d := &Detect{opts: o, log: o.Logger, metrics: m}
	d.ballot = newBallot(o.Store, o.Keeper, o.Replica, o.Logger, o.Now)
	d.prober = &prober{
		store: o.Store, replica: o.Replica, log: o.Logger, metrics: m, now: o.Now,
		tools: probeTools{transport: o.Transport, network: newNetwork(o.Canaries, o.Transport, o.Now), now: o.Now},
		cast:  d.ballot.cast, retire: d.ballot.retire, probed: o.Probed,
	}
	d.court = &court{store: o.Store, log: o.Logger, metrics: m, now: o.Now}
	return d, nil
}

// Run probes, votes, judges and sweeps until ctx ends, and returns nil then; ErrClosed of the store when that is closed
// first. Call it once.
func (d *Detect) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{d.prober.run, d.ballot.run, d.court.run, d.sweep}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			defer cancel() // one that ends ends all
			ended <- part(ctx)
		}()
	}
	var all error
	for range parts {
		all = errors.Join(all, <-ended)
	}
	if all != nil {
		return fmt.Errorf("detect: %w", all)
	}
	return nil
}

// Probe runs a detector's probe against a provider once, now, whatever its interval is, and returns what it found, with
// the service left empty: one result, no threshold. Nothing is stored and no vote changes. ErrNotFound when the detector
// doesn't probe the provider, ErrInvalid when it can't.
func (d *Detect) Probe(ctx context.Context, detector, provider string) (*jv1.Signal, error) {
	f, err := d.prober.look(ctx, detector, provider)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return f.signal(targetKey{detector, provider}, d.opts.Replica), nil
}
