package detect

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// targetKey names what is probed: one provider by one detector.
type targetKey struct{ detector, provider string }

// target is something that is probed. Only the prober's goroutine touches it.
type target struct {
	key      targetKey
	services []string // whose votes it gives
	// defined are the revisions of the detector and the provider it was made of.
	defined [2]int64
	probe   probe
	broken  string // why there is no probe
	rhythm  rhythm
	streak  streak
	started time.Time // of the probe under way
	running bool
	stuck   bool // the probe under way did not end in time
	gone    bool
}

// Intervals of probes.
const (
	// soonest bounds how soon an unsettled target is looked at again.
	soonest = 500 * time.Millisecond
	// hurry is by how much an unsettled target is looked at sooner.
	hurry = 3
	// stuckGrace is how long a probe may take beyond its timeout before it is left to itself.
	stuckGrace = 2 * time.Second
	// minValidity bounds from below how long a vote counts: three intervals, but not so short that votes are written
	// all the time.
	minValidity = 20 * time.Second
)

// validity is how long a vote counts after the finding it rests on.
func (r rhythm) validity() time.Duration { return max(3*r.interval, minValidity) }

// pause is the time from the beginning of one probe to that of the next; chance is in [0, 1).
func (t *target) pause(chance float64) time.Duration {
	d := t.rhythm.interval
	if t.streak.unsettled() {
		d = max(d/hurry, min(d, soonest))
	}
	return time.Duration(float64(d) * (1 + t.rhythm.jitter*(2*chance-1)))
}

// next is when to look again after a probe that began at a time.
func (t *target) next(now time.Time) time.Time {
	at := t.started.Add(t.pause(rand.Float64()))
	if at.Before(now) {
		return now
	}
	return at
}

// signals are the votes the target gives: one for each service. None before anything was found.
func (t *target) signals(last finding, replica string) []*jv1.Signal {
	s := &t.streak
	if s.state == 0 {
		return nil
	}
	until := last.at.Add(t.rhythm.validity())
	signals := make([]*jv1.Signal, 0, len(t.services))
	for _, service := range t.services {
		signals = append(signals, &jv1.Signal{
			Source: t.key.detector, Service: service, Provider: t.key.provider,
			State: s.state, Cause: s.cause, Class: jv1.EvidenceClass_EVIDENCE_CLASS_PROBE,
			ObservedAt: timestamppb.New(s.since), ValidUntil: timestamppb.New(until),
			Summary: s.said.summary, Vantage: replica, Labels: map[string]string{labelReason: s.said.reason},
		})
	}
	return signals
}

// order is a target that the catalog asks for.
type order struct {
	kind     kind
	detector store.Record[*jv1.Detector]
	provider store.Record[*jv1.Provider]
	services []string
}

// defined are the revisions of what the order is made of.
func (o order) defined() [2]int64 { return [2]int64{o.detector.Mod, o.provider.Mod} }

// ordersOf are the targets that the catalog asks for. Detectors of kinds that don't probe ask for none.
func ordersOf(v store.View) map[targetKey]order {
	orders := map[targetKey]order{}
	add := func(o order, s *jv1.Service) {
		for _, sp := range s.GetProviders() {
			if !speaksOf(o.detector.Msg, s.GetName(), sp.GetName()) {
				continue
			}
			key := targetKey{o.detector.Msg.GetName(), sp.GetName()}
			known, ok := orders[key]
			if !ok {
				known = o
				known.provider = store.Get[*jv1.Provider](v, store.ProviderKey(sp.GetName()))
			}
			known.services = append(known.services, s.GetName())
			orders[key] = known
		}
	}
	services := store.List[*jv1.Service](v, store.Services)
	for _, d := range store.List[*jv1.Detector](v, store.Detectors) {
		k, ok := kindOf(d.Msg)
		if !ok {
			continue
		}
		o := order{kind: k, detector: d}
		if name := d.Msg.GetService(); name != "" {
			add(o, store.Get[*jv1.Service](v, store.ServiceKey(name)).Msg)
			continue
		}
		for _, s := range services {
			add(o, s.Msg)
		}
	}
	return orders
}

// target makes the target of an order; one that can't be probed says why.
func (o order) target(key targetKey, tools probeTools) *target {
	r := o.kind.rhythm(o.detector.Msg)
	t := &target{key: key, services: o.services, defined: o.defined(), rhythm: r, streak: newStreak(r.failures, r.successes)}
	if o.provider.Msg == nil {
		t.broken = "there is no such provider"
		return t
	}
	probe, err := o.kind.probe(o.detector.Msg, o.provider.Msg, tools)
	if err != nil {
		t.broken = fmt.Sprintf("can't be probed: %v", err)
		return t
	}
	t.probe = probe
	return t
}

// succeed takes over what an older definition of the target has learnt.
func (t *target) succeed(old *target) {
	failures, successes := t.streak.failures, t.streak.successes
	t.streak = old.streak
	t.streak.failures, t.streak.successes = failures, successes
}
