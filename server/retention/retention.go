package retention

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server/store"
)

// Options says what is kept. Store must be set; the zero values of the others mean the defaults.
type Options struct {
	// Store is started and stays the caller's to close.
	Store *store.Store
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil: they are not exported.
	Registerer prometheus.Registerer
	// Interval is how often ended runs and triggers are counted and moved. 0: 5 s.
	Interval time.Duration
	// Forgetting is how often it is looked for what is past its time. 0: 30 s.
	Forgetting time.Duration
	// Recent is how many ended runs, and how many ended triggers, stay in the memory of every replica. 0: 500.
	Recent int
	// Age is how long after its end a run or trigger is kept. 0: 30 days.
	Age time.Duration
	// Archived is how many archived runs, and how many archived triggers, are kept at most. 0: 20 000.
	Archived int
	// AuditAge is how long audit events, and resolved incidents, are kept. 0: 400 days.
	AuditAge time.Duration
	// AuditCount is how many audit events are kept at most. 0: 50 000.
	AuditCount int
	// Revisions is how many revisions of a runbook are kept at most, besides those that live runs need. 0: 50.
	Revisions int
	// Allowed tells whether anything may be deleted now; nil: always.
	Allowed func() bool
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Allowed == nil {
		o.Allowed = func() bool { return true }
	}
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.Forgetting = cmp.Or(o.Forgetting, 30*time.Second)
	o.Recent = cmp.Or(o.Recent, 500)
	o.Age = cmp.Or(o.Age, 30*24*time.Hour)
	o.Archived = cmp.Or(o.Archived, 20_000)
	o.AuditAge = cmp.Or(o.AuditAge, 400*24*time.Hour)
	o.AuditCount = cmp.Or(o.AuditCount, 50_000)
	o.Revisions = cmp.Or(o.Revisions, 50)
	return o
}

// Retention does the work of the package.
type Retention struct {
	o       Options
	metrics *metrics

	// What follows belongs to Run alone. rounds is where the slow round through each family that is not mirrored stands,
	// surplus when its number is next compared with what may be kept.
	rounds     map[string]string
	surplus    time.Time
	compressor store.Compressor
	// forgetting is when it is next looked for what is past its time.
	forgetting time.Time
}

// New returns a retention; Run makes it work.
func New(o Options) *Retention {
	o = o.withDefaults()
	return &Retention{o: o, metrics: newMetrics(o.Registerer), rounds: map[string]string{}}
}

// Run works until ctx ends, and returns its error.
func (r *Retention) Run(ctx context.Context) error {
	for {
		// Replicas that look at different times have fewer transactions that are in vain.
		t := time.NewTimer(r.o.Interval/2 + rand.N(r.o.Interval))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		if !r.o.Allowed() {
			continue
		}
		if err := r.once(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			r.metrics.troubles.Inc()
			r.o.Logger.Warn("can't tidy up now, trying again", "error", err)
		}
	}
}

// once does what is due.
func (r *Retention) once(ctx context.Context) error {
	err := r.archive(ctx)
	if now := r.o.Now(); !now.Before(r.forgetting) {
		r.forgetting = now.Add(r.o.Forgetting)
		err = errors.Join(err, r.forget(ctx), r.round(ctx), r.reduce(ctx))
	}
	return err
}

// metrics of the retention; their names are listed in docs/metrics.md.
type metrics struct {
	archived *prometheus.CounterVec
	deleted  *prometheus.CounterVec
	troubles prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		archived: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_retention_archived_total", Help: "Ended runs and triggers this replica moved into the archive, by kind.",
		}, []string{"kind"}),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jurymast_retention_deleted_total", Help: "Records this replica deleted because their time was up or there were too many, by kind.",
		}, []string{"kind"}),
		troubles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jurymast_retention_errors_total", Help: "Times the store did not let this replica tidy up.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.archived, m.deleted, m.troubles)
	}
	return m
}
