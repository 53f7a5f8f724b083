package detect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// pair is what is judged: a provider of a service.
type pair struct{ service, provider string }

// court judges every pair whose evidence, rule or time changed, and stores what came of it. One runs on every replica;
// the transactions see to it that one of them wins.
type court struct {
	store   *store.Store
	log     hclog.Logger
	metrics *metrics
	now     func() time.Time

	times  *schedule[pair]
	gaps   map[pair]time.Time
	open   map[pair]bool // a verdict is being stored; true: judge again afterwards
	closed chan ruling
}

// ruling is the end of an attempt to store a verdict.
type ruling struct {
	pair  pair
	again time.Duration // how long to wait before judging again
}

// How long to wait after a verdict that could not be stored, and how long to try.
const (
	atOnce         = time.Nanosecond
	retryVerdict   = time.Second
	verdictTimeout = 10 * time.Second
	// observedVerdict is for a store that may not be written to.
	observedVerdict = 15 * time.Second
)

// run judges until ctx ends or the store is closed.
func (c *court) run(ctx context.Context) error {
	c.times, c.gaps = newSchedule[pair](), map[pair]time.Time{}
	c.open, c.closed = map[pair]bool{}, make(chan ruling)
	changes := follow(ctx, c.store, []string{store.VotesPrefix, store.Reports, store.Services, store.Detectors, store.HealthPrefix})
	alarm := newAlarm()
	for {
		alarm.set(c.times.earliest(), c.now())
		var touched []pair
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-changes:
			if !ok {
				return closedOr(ctx, "judge health")
			}
			touched = c.touched(u)
		case r := <-c.closed:
			again := c.open[r.pair]
			delete(c.open, r.pair)
			switch {
			case r.again > 0:
				c.times.set(r.pair, c.now().Add(r.again))
			case again:
				touched = []pair{r.pair}
			}
		case <-alarm.fired():
			alarm.rang()
			touched = c.times.due(c.now())
		}
		for _, p := range touched {
			c.hear(ctx, p)
		}
	}
}

// touched are the pairs that an update may change, each once.
func (c *court) touched(u store.Update) []pair {
	var pairs []pair
	seen := map[pair]bool{}
	add := func(p pair) {
		if !seen[p] {
			seen[p] = true
			pairs = append(pairs, p)
		}
	}
	c.store.Read(func(v store.View) {
		if u.Reset {
			everyPair(v, "", add)
			return
		}
		services := map[string]bool{}
		for _, e := range u.Events {
			switch {
			case strings.HasPrefix(e.Key, store.Reports):
				parts := after(store.Reports, e.Key)
				add(pair{parts[0], parts[1]})
			case strings.HasPrefix(e.Key, store.HealthPrefix):
				parts := after(store.HealthPrefix, e.Key)
				add(pair{parts[0], parts[1]})
			case strings.HasPrefix(e.Key, store.VotesPrefix):
				services[after(store.VotesPrefix, e.Key)[0]] = true
			case strings.HasPrefix(e.Key, store.Services):
				services[after(store.Services, e.Key)[0]] = true
			default: // a detector: what it spoke of before is known to nobody
				services[""] = true
			}
		}
		for service := range services {
			everyPair(v, service, add)
		}
	})
	return pairs
}

// everyPair calls add with the pairs that are declared or have a health record, of one service or of all.
func everyPair(v store.View, service string, add func(pair)) {
	declared := store.Services
	judged := store.HealthPrefix
	if service != "" {
		declared, judged = store.ServiceKey(service), store.HealthKey(service, "")
	}
	for _, s := range store.List[*jv1.Service](v, declared) {
		if service != "" && s.Msg.GetName() != service {
			continue
		}
		for _, p := range s.Msg.GetProviders() {
			add(pair{s.Msg.GetName(), p.GetName()})
		}
	}
	for _, h := range store.List[*jv1.Health](v, judged) {
		add(pair{h.Msg.GetService(), h.Msg.GetProvider()})
	}
}

// hear judges a pair now, and has a changed judgement stored. While that goes on, the pair is not judged again.
func (c *court) hear(ctx context.Context, p pair) {
	if _, busy := c.open[p]; busy {
		c.open[p] = true
		return
	}
	var v verdict
	c.store.Read(func(view store.View) { v = deliberate(view, p, c.gaps[p], c.now()) })
	c.times.set(p, v.lookAgain)
	if v.gapSince.IsZero() {
		delete(c.gaps, p)
	} else {
		c.gaps[p] = v.gapSince
	}
	if len(v.txn.Then) == 0 {
		return
	}
	c.open[p] = false
	go func() {
		r := ruling{pair: p}
		r.again = c.enter(ctx, p, v)
		select {
		case c.closed <- r:
		case <-ctx.Done():
		}
	}()
}

// enter stores a verdict and returns how long to wait before the pair is judged again; 0 when the picture is up to
// date and it may be judged whenever something changes.
func (c *court) enter(ctx context.Context, p pair, v verdict) time.Duration {
	log := c.log.With(telemetry.KeyService, p.service, telemetry.KeyProvider, p.provider)
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	res, err := c.store.Commit(ctx, v.txn)
	if err == nil {
		// Without this the next judgement would rest on the picture from before.
		err = c.store.WaitRevision(ctx, res.Revision)
	}
	switch {
	case errors.Is(err, store.ErrObserveOnly):
		// Judged, and not stored: a human has to confirm the restore first, which wakes everybody.
		c.metrics.judged("observed")
		return observedVerdict
	case err != nil:
		if !errors.Is(err, store.ErrClosed) && !errors.Is(err, context.Canceled) {
			c.metrics.judged("failed")
			log.Warn("health could not be stored, trying again", telemetry.KeyHealth, v.name(), telemetry.KeyError, err)
		}
		return retryVerdict
	case !res.Committed:
		c.metrics.judged("conflict")
		return atOnce
	}
	c.metrics.judged("committed")
	log.Info("health judged", telemetry.KeyHealth, v.name(), telemetry.KeyReason, v.reason, telemetry.KeyTrigger, v.trigger)
	return 0
}

// name is the judged state in lower case.
func (v verdict) name() string {
	if v.health == nil {
		return "none"
	}
	return healthName(v.health.GetState())
}

// explain is a trigger's reason in words.
func explain(h *jv1.Health) string {
	return fmt.Sprintf("provider %s of service %s is %s: %s", h.GetProvider(), h.GetService(), healthName(h.GetState()),
		strings.ReplaceAll(h.GetReason(), "_", " "))
}
