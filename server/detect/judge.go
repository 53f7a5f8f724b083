package detect

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Defaults of a service's health rule, and what the rules allow for restarts and clocks.
const (
	// DefaultFailingFor is how long an agreement must last.
	DefaultFailingFor = 15 * time.Second
	// DefaultRecoveredAfter is how long a provider must be well. Of the outages of one large provider's API, one in
	// eight came back within an hour of its end, and one in twenty-five within half an hour.
	DefaultRecoveredAfter = 30 * time.Minute
	// GapGrace is how long an agreement survives that what agreed is merely gone, as while a replica restarts.
	GapGrace = time.Minute
	// MaxSkew is how far another's clock may be ahead of ours to be believed.
	MaxSkew = 5 * time.Minute
)

// Facts are everything a judgement rests on.
type Facts struct {
	// Service and Provider name what is judged.
	Service, Provider string
	// Rule is the service's; nil means the defaults.
	Rule *jv1.HealthRule
	// Signals speak of this provider and carry class, valid_until and, for probes, the vantage.
	Signals []*jv1.Signal
	// Previous is the stored health; nil when there is none, which is UNKNOWN.
	Previous *jv1.Health
	// Now is the time of the judgement.
	Now time.Time
	// GapSince is what the last judgement of this provider returned as such; the zero time for none.
	GapSince time.Time
	// Generation is the highest generation that is known to have been used when there is no Previous.
	Generation int64
}

// Judgement is what the facts come to.
type Judgement struct {
	// Health is what is true now. It shares nothing with the facts but signals.
	Health *jv1.Health
	// Reason is Health's.
	Reason Reason
	// Changed tells whether Health has to be stored: a state, a reason, an agreement or an episode changed. Evidence
	// that was merely renewed is no change.
	Changed bool
	// LookAgain is when time alone may change the judgement; the zero time: never.
	LookAgain time.Time
	// GapSince is since when an agreement is held although what agreed is gone; the zero time for none. It is passed
	// on to the next judgement and stored nowhere: forgetting it makes the grace begin anew.
	GapSince time.Time
}

// Judge turns evidence into health. It is pure: equal facts give equal judgements. The rules are told in
// docs/health.md, and its table of transitions is checked against this function.
func Judge(f Facts) Judgement {
	h := newHearing(f)
	o := h.decide()
	next := h.record(o)
	j := Judgement{Health: next, Reason: o.reason, GapSince: o.gapSince, LookAgain: o.lookAgain}
	if e := h.tally.expires; !e.IsZero() && (j.LookAgain.IsZero() || e.Before(j.LookAgain)) {
		j.LookAgain = e
	}
	j.Changed = changed(f.Previous, next)
	return j
}

// claim is what the evidence demands, were it to last.
type claim uint8

const (
	noClaim claim = iota
	outageClaim
	refusalClaim
)

// outcome is a decision, before it is made a record.
type outcome struct {
	state       jv1.HealthState
	reason      Reason
	agreedSince time.Time
	lookAgain   time.Time
	gapSince    time.Time
}

// hearing is one judgement under way.
type hearing struct {
	facts          Facts
	tally          tally
	state          jv1.HealthState // before
	reason         Reason          // before
	agreedSince    time.Time       // before
	failingFor     time.Duration
	recoveredAfter time.Duration
	claim          claim
	claimReason    Reason // of the state the claim leads to
}

func newHearing(f Facts) *hearing {
	h := &hearing{
		facts: f, tally: count(f.Rule, f.Signals, f.Now),
		state: stateOf(f.Previous), reason: Reason(f.Previous.GetReason()),
		failingFor:     orDefault(f.Rule.GetFailing().GetFor(), DefaultFailingFor),
		recoveredAfter: DefaultRecoveredAfter,
	}
	if d := f.Rule.GetRecoveredAfter().AsDuration(); d > 0 {
		h.recoveredAfter = d
	}
	if f.Previous.GetAgreedSince() != nil {
		h.agreedSince = f.Previous.GetAgreedSince().AsTime()
	}
	if reason, ok := quorum(f.Rule, &h.tally); ok {
		h.claim, h.claimReason = outageClaim, reason
	} else if h.tally.any(refused) {
		h.claim, h.claimReason = refusalClaim, ConfigurationRefused
	}
	return h
}

// quorum tells whether enough evidence speaks of an outage, were it to last, and what made it enough.
func quorum(rule *jv1.HealthRule, t *tally) (Reason, bool) {
	agreeing := 0
	t.ours(func(o opinion) {
		if o == bad {
			agreeing++
		}
	})
	if agreeing == 0 {
		return "", false // a status page alone never triggers
	}
	if t.feedFailing() {
		agreeing++
	}
	need := int(rule.GetFailing().GetAgree())
	switch {
	case need > 0 && agreeing >= need, need == 0 && agreeing >= 2:
		return QuorumFailing, true
	case need == 0 && t.failingVantages >= 2 && 2*t.failingVantages > t.vantages:
		return VantagesFailing, true
	default:
		return "", false
	}
}

// decide applies the operator's word, which suffices alone and at once, and else the rules of the present state.
func (h *hearing) decide() outcome {
	if h.tally.operator != nil {
		if voiceOf(h.tally.operator) == good {
			return outcome{state: jv1.HealthState_HEALTH_STATE_HEALTHY, reason: OperatorOK}
		}
		return outcome{state: jv1.HealthState_HEALTH_STATE_FAILING, reason: OperatorFailing}
	}
	switch h.state {
	case jv1.HealthState_HEALTH_STATE_FAILING:
		return h.fromFailing()
	case jv1.HealthState_HEALTH_STATE_BLOCKED:
		return h.fromBlocked()
	case jv1.HealthState_HEALTH_STATE_RECOVERING:
		return h.fromRecovering()
	default:
		return h.fromCalm()
	}
}

// fromCalm judges where nothing was triggered yet: UNKNOWN, HEALTHY and SUSPECT.
func (h *hearing) fromCalm() outcome {
	suspect := jv1.HealthState_HEALTH_STATE_SUSPECT
	switch h.claim {
	case outageClaim:
		return h.rise(jv1.HealthState_HEALTH_STATE_FAILING, outcome{state: suspect, reason: AgreementPending})
	case refusalClaim:
		return h.rise(jv1.HealthState_HEALTH_STATE_BLOCKED, outcome{state: suspect, reason: ConfigurationPending})
	}
	t := &h.tally
	if h.state == suspect && (t.silentOurs() || !h.agreedSince.IsZero()) {
		if held, ok := h.hold(); ok {
			return held
		}
	}
	switch {
	case t.any(bad):
		return outcome{state: suspect, reason: OneClassFailing}
	case t.any(torn):
		return outcome{state: suspect, reason: VantagesDisagree}
	case t.any(good):
		return outcome{state: jv1.HealthState_HEALTH_STATE_HEALTHY, reason: h.healthyReason()}
	case t.feedFailing():
		return outcome{state: suspect, reason: ProviderFeedOnly}
	case t.any(alive) && h.state != jv1.HealthState_HEALTH_STATE_UNKNOWN:
		// A throttled provider is neither accused nor cleared.
		if h.state == suspect {
			return outcome{state: suspect, reason: Throttled}
		}
		return outcome{state: h.state, reason: h.healthyReason()}
	default:
		return h.nothingSaid()
	}
}

// nothingSaid judges a calm provider of which nothing is known any more. Votes that are merely gone, as while a replica
// restarts, are waited for; a switch is not fooled by that, as it asks for evidence itself.
func (h *hearing) nothingSaid() outcome {
	probed := slices.ContainsFunc(h.facts.Previous.GetEvidence(), func(s *jv1.Signal) bool {
		return s.GetClass() == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	})
	if h.state == jv1.HealthState_HEALTH_STATE_HEALTHY && len(h.facts.Signals) == 0 && probed {
		if held, ok := h.hold(); ok {
			return held
		}
	}
	return outcome{state: jv1.HealthState_HEALTH_STATE_UNKNOWN, reason: NoEvidence}
}

// rise brings a claim to its state once it lasted long enough; until then the outcome is the one given, with the
// agreement's beginning.
func (h *hearing) rise(to jv1.HealthState, pending outcome) outcome {
	since := h.agreedSince
	if h.foreign(since) || h.state == pending.state && h.reason != pending.reason {
		since = h.facts.Now
	}
	if due := since.Add(h.failingFor); h.facts.Now.Before(due) {
		pending.agreedSince, pending.lookAgain = since, due
		return pending
	}
	return outcome{state: to, reason: h.claimReason}
}

// foreign tells that there is no such time, or that a clock which wrote it was too far ahead to be believed.
func (h *hearing) foreign(since time.Time) bool {
	return since.IsZero() || since.After(h.facts.Now.Add(MaxSkew))
}

// hold keeps state and agreement for the time of [GapGrace] when what agreed, or what made suspicious, is merely gone.
func (h *hearing) hold() (outcome, bool) {
	if h.tally.contradicts(h.facts.Previous.GetEvidence()) {
		return outcome{}, false
	}
	since := h.facts.GapSince
	if since.IsZero() {
		since = h.facts.Now
	}
	end := since.Add(GapGrace)
	if !h.facts.Now.Before(end) {
		return outcome{}, false
	}
	return outcome{state: h.state, reason: h.reason, agreedSince: h.agreedSince, gapSince: since, lookAgain: end}, true
}

// fromFailing judges a provider that does not serve. Evidence that runs out clears nothing.
func (h *hearing) fromFailing() outcome {
	failing := jv1.HealthState_HEALTH_STATE_FAILING
	t := &h.tally
	switch {
	case h.claim == refusalClaim && !t.outage:
		return h.rise(jv1.HealthState_HEALTH_STATE_BLOCKED, outcome{state: failing, reason: h.reason})
	case t.outage || t.refusal:
		reason := h.reason
		switch {
		case reason != OperatorFailing && reason != EvidenceExpired:
		case h.claim == outageClaim:
			reason = h.claimReason
		default:
			reason = FailingRemains
		}
		return outcome{state: failing, reason: reason}
	case t.any(good):
		return h.beginRecovery()
	default:
		return outcome{state: failing, reason: EvidenceExpired}
	}
}

// fromBlocked judges a provider that refuses us.
func (h *hearing) fromBlocked() outcome {
	blocked := jv1.HealthState_HEALTH_STATE_BLOCKED
	t := &h.tally
	switch {
	case h.claim == outageClaim:
		return h.rise(jv1.HealthState_HEALTH_STATE_FAILING, outcome{state: blocked, reason: h.reason})
	case t.outage || t.refusal:
		reason := h.reason
		if reason == EvidenceExpired {
			reason = FailingRemains
		}
		return outcome{state: blocked, reason: reason}
	case t.any(good):
		return h.beginRecovery()
	default:
		return outcome{state: blocked, reason: EvidenceExpired}
	}
}

func (h *hearing) beginRecovery() outcome {
	return outcome{
		state: jv1.HealthState_HEALTH_STATE_RECOVERING, reason: OkAgain,
		agreedSince: h.facts.Now, lookAgain: h.facts.Now.Add(h.recoveredAfter),
	}
}

// fromRecovering judges a provider that serves again. A relapse needs no second wait: the episode is open, nothing new
// is started by it, and every moment of doubt would count as recovery.
func (h *hearing) fromRecovering() outcome {
	recovering := jv1.HealthState_HEALTH_STATE_RECOVERING
	t := &h.tally
	switch {
	case h.claim == outageClaim:
		return outcome{state: jv1.HealthState_HEALTH_STATE_FAILING, reason: Relapsed}
	case h.claim == refusalClaim:
		return outcome{state: jv1.HealthState_HEALTH_STATE_BLOCKED, reason: ConfigurationRefused}
	case t.outage || t.refusal:
		return outcome{state: recovering, reason: RecoveryInterrupted}
	case t.any(good):
		return h.recover()
	}
	if !h.agreedSince.IsZero() {
		if held, ok := h.hold(); ok {
			return held
		}
	}
	return outcome{state: recovering, reason: RecoveryUnproven}
}

// recover ends the episode once the provider served without a break for long enough.
func (h *hearing) recover() outcome {
	o := h.beginRecovery()
	if h.foreign(h.agreedSince) {
		return o
	}
	o.agreedSince, o.lookAgain = h.agreedSince, h.agreedSince.Add(h.recoveredAfter)
	if h.facts.Now.Before(o.lookAgain) {
		return o
	}
	return outcome{state: jv1.HealthState_HEALTH_STATE_HEALTHY, reason: Recovered}
}

// healthyReason keeps what made a provider healthy for as long as it is.
func (h *hearing) healthyReason() Reason {
	if h.state == jv1.HealthState_HEALTH_STATE_HEALTHY && h.reason == Recovered {
		return Recovered
	}
	return EvidenceOK
}

// record makes the outcome a health record, with its episode.
func (h *hearing) record(o outcome) *jv1.Health {
	f, prev := h.facts, h.facts.Previous
	next := &jv1.Health{
		Service: f.Service, Provider: f.Provider, State: o.state, Reason: string(o.reason),
		Since: timestamppb.New(f.Now), Generation: max(prev.GetGeneration(), f.Generation),
		Onset: prev.GetOnset(), Failed: prev.GetFailed(),
		Evidence: evidence(h.tally.counted),
	}
	if prev != nil && o.state == prev.GetState() {
		next.Since = prev.GetSince()
	}
	if !o.agreedSince.IsZero() {
		next.AgreedSince = timestamppb.New(o.agreedSince)
	}
	switch {
	case o.state == jv1.HealthState_HEALTH_STATE_UNKNOWN:
		next.Onset, next.Failed = nil, false
	case !episodeOpen(h.state) && episodeOpen(o.state):
		next.Generation++
		next.Onset, next.Failed = timestamppb.New(onset(h.tally.counted, f.Now)), false
	}
	if o.state == jv1.HealthState_HEALTH_STATE_FAILING || o.state == jv1.HealthState_HEALTH_STATE_BLOCKED {
		next.Failed = true
	}
	return next
}

// episodeOpen tells whether an episode is open in the state. It opens when the provider leaves HEALTHY or UNKNOWN and
// ends at HEALTHY, or at UNKNOWN when nothing came of a suspicion.
func episodeOpen(s jv1.HealthState) bool {
	switch s {
	case jv1.HealthState_HEALTH_STATE_HEALTHY, jv1.HealthState_HEALTH_STATE_UNKNOWN:
		return false
	default:
		return true
	}
}

// onset is when the first of the failing signals was seen: an outage begins before it is judged.
func onset(counted []*jv1.Signal, now time.Time) time.Time {
	first := now
	for _, s := range counted {
		if v := voiceOf(s); v != bad && v != refused || !s.GetObservedAt().IsValid() {
			continue
		}
		if at := s.GetObservedAt().AsTime(); at.Before(first) {
			first = at
		}
	}
	return first
}

// stateOf is the state of a record as the rules know it.
func stateOf(h *jv1.Health) jv1.HealthState {
	switch h.GetState() {
	case jv1.HealthState_HEALTH_STATE_UNSPECIFIED, jv1.HealthState_HEALTH_STATE_MAINTENANCE:
		return jv1.HealthState_HEALTH_STATE_UNKNOWN
	default:
		return h.GetState()
	}
}

func changed(prev, next *jv1.Health) bool {
	if prev == nil {
		return next.GetState() != jv1.HealthState_HEALTH_STATE_UNKNOWN
	}
	return prev.GetState() != next.GetState() || prev.GetReason() != next.GetReason() ||
		prev.GetGeneration() != next.GetGeneration() || prev.GetFailed() != next.GetFailed() ||
		!proto.Equal(prev.GetAgreedSince(), next.GetAgreedSince())
}

func orDefault(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.AsDuration()
}
