package detect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// prober probes what the catalog asks for and hands the votes on. One goroutine keeps the time of all targets; each
// probe runs in a goroutine of its own while it lasts.
type prober struct {
	store   *store.Store
	replica string
	tools   probeTools
	log     hclog.Logger
	metrics *metrics
	now     func() time.Time
	// cast takes the votes of a target.
	cast func(targetKey, []*jv1.Signal, rhythm)
	// retire takes the votes of targets that are gone back, those not in keep.
	retire func(keep map[string][]targetKey)

	// probed is told the services of a target whenever a probe of it ends; may be nil.
	probed func(services []string)
	proofs proofs

	targets map[targetKey]*target
	times   *schedule[targetKey]
	results chan result
}

// result is the end of a probe, or that it did not come in time.
type result struct {
	target *target
	found  finding
	stuck  bool
}

// run probes until ctx ends or the store is closed.
func (p *prober) run(ctx context.Context) error {
	p.targets, p.times, p.results = map[targetKey]*target{}, newSchedule[targetKey](), make(chan result)
	changes := follow(ctx, p.store, []string{store.Detectors, store.Services, store.Providers})
	alarm := newAlarm()
	first := true
	for {
		alarm.set(p.times.earliest(), p.now())
		select {
		case <-ctx.Done():
			return nil
		case change, ok := <-changes:
			if !ok {
				return closedOr(ctx, "probe")
			}
			if len(change.Events) > 0 || change.Reset {
				p.replan(first)
				first = false
			}
		case r := <-p.results:
			p.take(r)
		case <-alarm.fired():
			alarm.rang()
			for _, key := range p.times.due(p.now()) {
				p.start(ctx, p.targets[key])
			}
		}
	}
}

// replan brings the targets in line with the catalog.
func (p *prober) replan(first bool) {
	var orders map[targetKey]order
	p.store.Read(func(v store.View) { orders = ordersOf(v) })
	fresh := 0
	for key, o := range orders {
		old := p.targets[key]
		if old != nil && old.defined == o.defined() {
			old.services = o.services
			continue
		}
		t := o.target(key, p.tools)
		if old != nil {
			p.drop(old)
			t.succeed(old)
		}
		p.targets[key] = t
		if t.probe == nil {
			p.log.Warn("detector is not run", telemetry.KeyDetector, key.detector, telemetry.KeyProvider, key.provider, telemetry.KeyReason, t.broken)
			continue
		}
		fresh++
	}
	for key, t := range p.targets {
		if _, ok := orders[key]; !ok {
			p.drop(t)
			p.metrics.forgetProbe(key)
			p.proofs.forget(key)
		}
	}
	if first {
		p.resume()
	}
	p.spread(fresh)
	p.retire(p.votesOf())
}

// drop ends a target. What its probe under way finds is not counted any more.
func (p *prober) drop(t *target) {
	t.gone = true
	delete(p.targets, t.key)
	p.times.set(t.key, time.Time{})
	if h, ok := t.probe.(interface{ host() string }); ok {
		p.tools.network.forget(h.host())
	}
}

// spread gives every target without a time one soon: at once, but not all in the same instant.
func (p *prober) spread(fresh int) {
	const each = 2 * time.Millisecond
	now := p.now()
	for key, t := range p.targets {
		if t.probe == nil || t.running || p.times.slots[key] != nil {
			continue
		}
		within := min(time.Duration(fresh)*each, t.rhythm.interval)
		p.times.set(key, now.Add(time.Duration(rand.Float64()*float64(within))))
	}
}

// resume takes up where this replica was before a restart: what it found failing needs no new row of failures.
func (p *prober) resume() {
	var judged []store.Record[*jv1.Health]
	p.store.Read(func(v store.View) { judged = store.List[*jv1.Health](v, store.HealthPrefix) })
	for _, h := range judged {
		for _, s := range h.Msg.GetEvidence() {
			t := p.targets[keyOf(s)]
			if t != nil && s.GetClass() == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE && s.GetVantage() == p.replica {
				t.streak.resume(s)
			}
		}
	}
}

// votesOf lists the targets of each service.
func (p *prober) votesOf() map[string][]targetKey {
	keep := map[string][]targetKey{}
	for key, t := range p.targets {
		if t.probe == nil {
			continue
		}
		for _, service := range t.services {
			keep[service] = append(keep[service], key)
		}
	}
	return keep
}

// start begins a probe. A target whose last probe is still stuck gets no second one.
func (p *prober) start(ctx context.Context, t *target) {
	if t == nil || t.probe == nil {
		return
	}
	t.started = p.now()
	if t.running {
		p.found(t, finding{at: t.started, state: stateUnknown, reason: "probe_stuck", summary: "the last probe has not ended"})
		p.times.set(t.key, t.next(t.started))
		return
	}
	t.running, t.stuck = true, false
	go func() {
		send := func(r result) {
			select {
			case p.results <- r:
			case <-ctx.Done():
			}
		}
		late := time.AfterFunc(t.rhythm.timeout+stuckGrace, func() { send(result{target: t, stuck: true}) })
		found := p.survive(ctx, t)
		late.Stop()
		send(result{target: t, found: found})
	}()
}

// survive runs a probe and makes a finding of a panic.
func (p *prober) survive(ctx context.Context, t *target) (f finding) {
	defer func() {
		if cause := recover(); cause != nil {
			p.log.Error("probe panicked", telemetry.KeyDetector, t.key.detector, telemetry.KeyProvider, t.key.provider,
				telemetry.KeyError, fmt.Sprint(cause), telemetry.KeyStack, string(debug.Stack()))
			f = finding{at: p.now(), state: stateUnknown, reason: "probe_panicked", summary: "the probe panicked"}
		}
	}()
	return t.probe.look(ctx)
}

// take ends a probe.
func (p *prober) take(r result) {
	t := r.target
	switch {
	case t.gone:
		return
	case r.stuck && t.running && !t.stuck:
		t.stuck = true
		p.found(t, finding{at: p.now(), state: stateUnknown, reason: "probe_stuck", summary: "the probe did not end"})
	case r.stuck:
		return
	default:
		t.running = false
		if t.stuck {
			t.stuck = false
			return // its time was counted already
		}
		p.found(t, r.found)
	}
	p.times.set(t.key, t.next(p.now()))
}

// found counts a finding and casts the vote it comes to.
func (p *prober) found(t *target, f finding) {
	p.metrics.probed(t.key, f)
	p.proofs.add(t.key, t.started, f)
	if p.probed != nil {
		defer p.probed(t.services)
	}
	if t.streak.add(f) {
		p.log.Info("probe says", telemetry.KeyDetector, t.key.detector, telemetry.KeyProvider, t.key.provider,
			"state", stateName(t.streak.state), telemetry.KeyReason, f.reason, "summary", f.summary)
	}
	if f.state == stateUnknown && t.streak.state != stateUnknown {
		return // what could not be seen renews nothing
	}
	if signals := t.signals(f, p.replica); len(signals) > 0 {
		p.cast(t.key, signals, t.rhythm)
	}
}

// look runs one probe of a detector against a provider at once, beside the targets' times.
func (p *prober) look(ctx context.Context, detector, provider string) (finding, error) {
	var o order
	var ok bool
	key := targetKey{detector, provider}
	p.store.Read(func(v store.View) { o, ok = ordersOf(v)[key] })
	if !ok {
		return finding{}, fmt.Errorf("detector %s does not probe provider %s: %w", detector, provider, ErrNotFound)
	}
	t := o.target(key, p.tools)
	if t.probe == nil {
		return finding{}, fmt.Errorf("detector %s, provider %s: %s: %w", detector, provider, t.broken, ErrInvalid)
	}
	return p.survive(ctx, t), nil
}
