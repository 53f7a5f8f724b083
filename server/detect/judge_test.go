package detect

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	unknown    = jv1.HealthState_HEALTH_STATE_UNKNOWN
	healthy    = jv1.HealthState_HEALTH_STATE_HEALTHY
	suspect    = jv1.HealthState_HEALTH_STATE_SUSPECT
	failing    = jv1.HealthState_HEALTH_STATE_FAILING
	recovering = jv1.HealthState_HEALTH_STATE_RECOVERING
	blocked    = jv1.HealthState_HEALTH_STATE_BLOCKED

	passive  = jv1.EvidenceClass_EVIDENCE_CLASS_PASSIVE
	probing  = jv1.EvidenceClass_EVIDENCE_CLASS_PROBE
	feed     = jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED
	external = jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL
	operator = jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR
)

// t0 is when the tables' judgements happen.
var t0 = time.Date(2026, 9, 29, 17, 50, 0, 0, time.UTC)

// signal makes a signal that was seen a second before t0 and counts for a minute.
func signal(class jv1.EvidenceClass, state jv1.SignalState, options ...func(*jv1.Signal)) *jv1.Signal {
	s := &jv1.Signal{
		Source: "d", Service: "chat", Provider: "openai", State: state, Class: class,
		ObservedAt: timestamppb.New(t0.Add(-time.Second)), ValidUntil: timestamppb.New(t0.Add(time.Minute)),
	}
	if class == probing {
		s.Vantage = "r1"
	}
	for _, o := range options {
		o(s)
	}
	return s
}

func bads(class jv1.EvidenceClass, options ...func(*jv1.Signal)) *jv1.Signal {
	return signal(class, jv1.SignalState_SIGNAL_STATE_FAILING, options...)
}

func oks(class jv1.EvidenceClass, options ...func(*jv1.Signal)) *jv1.Signal {
	return signal(class, jv1.SignalState_SIGNAL_STATE_OK, options...)
}

func dunno(class jv1.EvidenceClass, options ...func(*jv1.Signal)) *jv1.Signal {
	return signal(class, jv1.SignalState_SIGNAL_STATE_UNKNOWN, options...)
}

func at(vantage string) func(*jv1.Signal) { return func(s *jv1.Signal) { s.Vantage = vantage } }

func expired(s *jv1.Signal) { s.ValidUntil = timestamppb.New(t0) }

func seen(ago time.Duration) func(*jv1.Signal) {
	return func(s *jv1.Signal) { s.ObservedAt = timestamppb.New(t0.Add(-ago)) }
}

func because(c jv1.SignalCause) func(*jv1.Signal) { return func(s *jv1.Signal) { s.Cause = c } }

var (
	throttled = because(jv1.SignalCause_SIGNAL_CAUSE_THROTTLE)
	config    = because(jv1.SignalCause_SIGNAL_CAUSE_CONFIGURATION)
)

// health makes a stored health of generation 3 that holds since ten minutes.
func health(state jv1.HealthState, reason Reason, options ...func(*jv1.Health)) *jv1.Health {
	h := &jv1.Health{
		Service: "chat", Provider: "openai", State: state, Reason: string(reason), Generation: 3,
		Since: timestamppb.New(t0.Add(-10 * time.Minute)),
	}
	if episodeOpen(state) {
		h.Onset = timestamppb.New(t0.Add(-11 * time.Minute))
		h.Failed = state != suspect
	}
	for _, o := range options {
		o(h)
	}
	return h
}

func agreed(ago time.Duration, evidence ...*jv1.Signal) func(*jv1.Health) {
	return func(h *jv1.Health) {
		h.AgreedSince = timestamppb.New(t0.Add(-ago))
		h.Evidence = evidence
	}
}

func rule(agree int32, of ...jv1.EvidenceClass) *jv1.HealthRule {
	return &jv1.HealthRule{Failing: &jv1.FailingRule{Agree: agree, Of: of}}
}

func immediate(r *jv1.HealthRule) *jv1.HealthRule {
	r.Failing.For = durationpb.New(0)
	return r
}

// probedBefore says that the health rested on a probe.
func probedBefore(h *jv1.Health) { h.Evidence = []*jv1.Signal{oks(probing)} }

func TestJudge(t *testing.T) {
	sigs := func(s ...*jv1.Signal) []*jv1.Signal { return s }
	in := t0.Add
	for _, test := range []struct {
		name      string
		rule      *jv1.HealthRule
		signals   []*jv1.Signal
		previous  *jv1.Health
		gap       time.Duration // how long ago the gap began; 0: no gap
		state     jv1.HealthState
		reason    Reason
		agreed    time.Time
		unchanged bool
		lookAgain time.Time
	}{
		// Nothing known.
		{name: "nothing at all", state: unknown, reason: NoEvidence, unchanged: true},
		{name: "first good word", signals: sigs(oks(probing)), state: healthy, reason: EvidenceOK, lookAgain: in(time.Minute)},
		{name: "only unknown signals", signals: sigs(dunno(probing), dunno(external)), state: unknown, reason: NoEvidence, unchanged: true},
		{name: "only expired signals", signals: sigs(bads(probing, expired), bads(external, expired)), state: unknown, reason: NoEvidence, unchanged: true},
		{name: "signals without an end don't count", signals: sigs(bads(probing, func(s *jv1.Signal) { s.ValidUntil = nil })), state: unknown, reason: NoEvidence, unchanged: true},
		{name: "signals without a class don't count", signals: sigs(bads(0)), state: unknown, reason: NoEvidence, unchanged: true},
		{name: "a good status page proves nothing", signals: sigs(oks(feed)), state: unknown, reason: NoEvidence, unchanged: true},
		{name: "throttled, unknown before", signals: sigs(bads(probing, throttled)), state: unknown, reason: NoEvidence, unchanged: true},

		// One class alone.
		{name: "one class", signals: sigs(bads(probing)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "one class, several detectors", signals: sigs(bads(external), bads(external)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "one class against another", signals: sigs(bads(external), oks(probing)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "a status page alone", signals: sigs(bads(feed)), previous: health(unknown, NoEvidence), state: suspect, reason: ProviderFeedOnly},
		{name: "a status page contradicted", signals: sigs(bads(feed), oks(probing)), previous: health(healthy, EvidenceOK), state: healthy, reason: EvidenceOK, unchanged: true},
		{name: "a status page alone, though one is enough", rule: immediate(rule(1)), signals: sigs(bads(feed)), previous: health(unknown, NoEvidence), state: suspect, reason: ProviderFeedOnly},
		{name: "suspicion over", signals: sigs(oks(probing)), previous: health(suspect, OneClassFailing), state: healthy, reason: EvidenceOK},
		{name: "suspicion goes on", signals: sigs(bads(probing)), previous: health(suspect, OneClassFailing), state: suspect, reason: OneClassFailing, unchanged: true},
		{name: "suspected and gone", previous: health(suspect, OneClassFailing), state: suspect, reason: OneClassFailing, unchanged: true, lookAgain: in(GapGrace)},
		{name: "suspected and gone for long", previous: health(suspect, OneClassFailing), gap: GapGrace, state: unknown, reason: NoEvidence},
		{name: "suspected, now throttled", signals: sigs(bads(probing, throttled)), previous: health(suspect, OneClassFailing), state: suspect, reason: Throttled},
		{name: "healthy, now throttled", signals: sigs(bads(probing, throttled)), previous: health(healthy, EvidenceOK), state: healthy, reason: EvidenceOK, unchanged: true},
		{name: "healthy and its votes vanished", previous: health(healthy, EvidenceOK, probedBefore), state: healthy, reason: EvidenceOK, unchanged: true, lookAgain: in(GapGrace)},
		{name: "healthy and its votes vanished for long", previous: health(healthy, EvidenceOK, probedBefore), gap: GapGrace, state: unknown, reason: NoEvidence},
		{name: "healthy and gone", signals: sigs(oks(probing, expired)), previous: health(healthy, EvidenceOK), state: unknown, reason: NoEvidence},
		{name: "healthy and own network down", signals: sigs(dunno(probing)), previous: health(healthy, EvidenceOK), state: unknown, reason: NoEvidence},
		{name: "healthy, only the status page left", signals: sigs(oks(feed)), previous: health(healthy, EvidenceOK), state: unknown, reason: NoEvidence},

		// Vantages.
		{name: "one of two vantages", signals: sigs(bads(probing), oks(probing, at("r2"))), previous: health(healthy, EvidenceOK), state: suspect, reason: VantagesDisagree},
		{name: "one of three vantages and an alert", rule: immediate(rule(0)), signals: sigs(bads(probing), oks(probing, at("r2")), oks(probing, at("r3")), bads(external)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "two of three vantages", signals: sigs(bads(probing), bads(probing, at("r2")), oks(probing, at("r3"))), previous: health(healthy, EvidenceOK), state: suspect, reason: AgreementPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "two of three vantages for long enough", signals: sigs(bads(probing), bads(probing, at("r2")), oks(probing, at("r3"))), previous: health(suspect, AgreementPending, agreed(DefaultFailingFor)), state: failing, reason: VantagesFailing},
		{name: "two of four vantages", rule: immediate(rule(0)), signals: sigs(bads(probing), bads(probing, at("r2")), oks(probing, at("r3")), oks(probing, at("r4"))), previous: health(healthy, EvidenceOK), state: suspect, reason: VantagesDisagree},
		{name: "two of four vantages and an alert", rule: immediate(rule(0)), signals: sigs(bads(probing), bads(probing, at("r2")), oks(probing, at("r3")), oks(probing, at("r4")), bads(external)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "vantages that can't tell don't count", rule: immediate(rule(0)), signals: sigs(bads(probing), bads(probing, at("r2")), dunno(probing, at("r3")), dunno(probing, at("r4")), dunno(probing, at("r5"))), previous: health(healthy, EvidenceOK), state: failing, reason: VantagesFailing},
		{name: "two detectors at one vantage are one", rule: immediate(rule(0)), signals: sigs(bads(probing), bads(probing)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "vantages don't make two classes", rule: immediate(rule(2)), signals: sigs(bads(probing), bads(probing, at("r2"))), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "one enough, but vantages disagree", rule: immediate(rule(1)), signals: sigs(bads(probing), oks(probing, at("r2"))), previous: health(healthy, EvidenceOK), state: suspect, reason: VantagesDisagree},

		// Agreement and its time.
		{name: "two classes", signals: sigs(bads(probing), bads(external)), previous: health(healthy, EvidenceOK), state: suspect, reason: AgreementPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "two classes, one the status page", signals: sigs(bads(probing), bads(feed)), previous: health(healthy, EvidenceOK), state: suspect, reason: AgreementPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "suspicion becomes agreement", signals: sigs(bads(probing), bads(external)), previous: health(suspect, OneClassFailing), state: suspect, reason: AgreementPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "not long enough", signals: sigs(bads(probing), bads(external)), previous: health(suspect, AgreementPending, agreed(14*time.Second)), state: suspect, reason: AgreementPending, agreed: in(-14 * time.Second), unchanged: true, lookAgain: in(time.Second)},
		{name: "long enough", signals: sigs(bads(probing), bads(external)), previous: health(suspect, AgreementPending, agreed(15*time.Second)), state: failing, reason: QuorumFailing},
		{name: "no waiting", rule: immediate(rule(0)), signals: sigs(bads(probing), bads(external)), previous: health(healthy, EvidenceOK), state: failing, reason: QuorumFailing},
		{name: "one is enough", rule: rule(1), signals: sigs(bads(probing)), previous: health(suspect, AgreementPending, agreed(15*time.Second)), state: failing, reason: QuorumFailing},
		{name: "one is enough, from nothing", rule: immediate(rule(1)), signals: sigs(bads(external)), state: failing, reason: QuorumFailing},
		{name: "three needed, two agree", rule: immediate(rule(3)), signals: sigs(bads(probing), bads(external)), previous: health(healthy, EvidenceOK), state: suspect, reason: OneClassFailing},
		{name: "three needed and there", rule: immediate(rule(3)), signals: sigs(bads(probing), bads(external), bads(passive)), previous: health(healthy, EvidenceOK), state: failing, reason: QuorumFailing},
		{name: "a class that doesn't count", rule: immediate(rule(1, external)), signals: sigs(bads(probing), oks(external)), previous: health(healthy, EvidenceOK), state: healthy, reason: EvidenceOK, unchanged: true},
		{name: "agreement broken by a good word", signals: sigs(oks(probing), bads(external)), previous: health(suspect, AgreementPending, agreed(5*time.Second, bads(probing), bads(external))), state: suspect, reason: OneClassFailing},
		{name: "agreement with a gap", signals: sigs(bads(external)), previous: health(suspect, AgreementPending, agreed(5*time.Second, bads(probing), bads(external))), state: suspect, reason: AgreementPending, agreed: in(-5 * time.Second), unchanged: true, lookAgain: in(time.Minute)},
		{name: "agreement with too long a gap", signals: sigs(bads(external)), previous: health(suspect, AgreementPending, agreed(90*time.Second, bads(probing), bads(external))), gap: GapGrace, state: suspect, reason: OneClassFailing},
		{name: "agreement after a gap", signals: sigs(bads(external), bads(probing)), previous: health(suspect, AgreementPending, agreed(20*time.Second, bads(probing), bads(external))), gap: 10 * time.Second, state: failing, reason: QuorumFailing},
		{name: "agreement of the future", signals: sigs(bads(external), bads(probing)), previous: health(suspect, AgreementPending, agreed(-time.Hour)), state: suspect, reason: AgreementPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "agreement by a clock a little ahead", signals: sigs(bads(external), bads(probing)), previous: health(suspect, AgreementPending, agreed(-time.Second)), state: suspect, reason: AgreementPending, agreed: in(time.Second), unchanged: true, lookAgain: in(16 * time.Second)},

		// Failing.
		{name: "failing goes on", signals: sigs(bads(probing), bads(external)), previous: health(failing, QuorumFailing), state: failing, reason: QuorumFailing, unchanged: true},
		{name: "quorum lost, one still failing", signals: sigs(oks(probing), bads(external)), previous: health(failing, QuorumFailing), state: failing, reason: QuorumFailing, unchanged: true},
		{name: "a minority of vantages still failing", signals: sigs(oks(probing), oks(probing, at("r2")), bads(probing, at("r3"))), previous: health(failing, VantagesFailing), state: failing, reason: VantagesFailing, unchanged: true},
		{name: "evidence expired clears nothing", previous: health(failing, QuorumFailing), state: failing, reason: EvidenceExpired},
		{name: "unknown clears nothing", signals: sigs(dunno(probing), dunno(external)), previous: health(failing, QuorumFailing), state: failing, reason: EvidenceExpired},
		{name: "a good status page clears nothing", signals: sigs(oks(feed)), previous: health(failing, QuorumFailing), state: failing, reason: EvidenceExpired},
		{name: "throttling clears nothing", signals: sigs(bads(probing, throttled)), previous: health(failing, QuorumFailing), state: failing, reason: EvidenceExpired},
		{name: "evidence back", signals: sigs(bads(probing)), previous: health(failing, EvidenceExpired), state: failing, reason: FailingRemains},
		{name: "agreement back", signals: sigs(bads(probing), bads(external)), previous: health(failing, EvidenceExpired), state: failing, reason: QuorumFailing},
		{name: "serves again", signals: sigs(oks(probing)), previous: health(failing, QuorumFailing), state: recovering, reason: OkAgain, agreed: t0, lookAgain: in(time.Minute)},
		{name: "serves again, only the status page says no", signals: sigs(oks(probing), bads(feed)), previous: health(failing, QuorumFailing), state: recovering, reason: OkAgain, agreed: t0},

		// Recovering.
		{name: "recovery goes on", signals: sigs(oks(probing)), previous: health(recovering, OkAgain, agreed(29*time.Minute)), state: recovering, reason: OkAgain, agreed: in(-29 * time.Minute), unchanged: true},
		{name: "recovered", signals: sigs(oks(probing)), previous: health(recovering, OkAgain, agreed(30*time.Minute)), state: healthy, reason: Recovered},
		{name: "recovered by a rule of its own", rule: &jv1.HealthRule{RecoveredAfter: durationpb.New(3 * time.Second)}, signals: sigs(oks(probing)), previous: health(recovering, OkAgain, agreed(3*time.Second)), state: healthy, reason: Recovered},
		{name: "relapse at once", signals: sigs(bads(probing), bads(external)), previous: health(recovering, OkAgain, agreed(time.Minute)), state: failing, reason: Relapsed},
		{name: "doubt interrupts", signals: sigs(oks(probing), bads(external)), previous: health(recovering, OkAgain, agreed(29*time.Minute)), state: recovering, reason: RecoveryInterrupted},
		{name: "after the doubt it begins anew", signals: sigs(oks(probing)), previous: health(recovering, RecoveryInterrupted), state: recovering, reason: OkAgain, agreed: t0},
		{name: "a gap doesn't interrupt", previous: health(recovering, OkAgain, agreed(29*time.Minute)), state: recovering, reason: OkAgain, agreed: in(-29 * time.Minute), unchanged: true, lookAgain: in(GapGrace)},
		{name: "a gap doesn't end it", previous: health(recovering, OkAgain, agreed(31*time.Minute)), state: recovering, reason: OkAgain, agreed: in(-31 * time.Minute), unchanged: true},
		{name: "too long a gap interrupts", previous: health(recovering, OkAgain, agreed(29*time.Minute)), gap: GapGrace, state: recovering, reason: RecoveryUnproven},
		{name: "unknown doesn't recover", signals: sigs(dunno(probing)), previous: health(recovering, RecoveryUnproven), state: recovering, reason: RecoveryUnproven, unchanged: true},
		{name: "the status page doesn't recover", signals: sigs(oks(feed)), previous: health(recovering, RecoveryUnproven), state: recovering, reason: RecoveryUnproven, unchanged: true},
		{name: "healthy keeps why", signals: sigs(oks(probing)), previous: health(healthy, Recovered), state: healthy, reason: Recovered, unchanged: true},

		// Our configuration.
		{name: "key refused", signals: sigs(bads(probing, config)), previous: health(healthy, EvidenceOK), state: suspect, reason: ConfigurationPending, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "key refused for long enough", signals: sigs(bads(probing, config)), previous: health(suspect, ConfigurationPending, agreed(15*time.Second)), state: blocked, reason: ConfigurationRefused},
		{name: "key refused, though one is enough to fail", rule: immediate(rule(1)), signals: sigs(bads(probing, config)), previous: health(healthy, EvidenceOK), state: blocked, reason: ConfigurationRefused},
		{name: "key refused at two vantages", rule: immediate(rule(0)), signals: sigs(bads(probing, config), bads(probing, config, at("r2"))), previous: health(healthy, EvidenceOK), state: blocked, reason: ConfigurationRefused},
		{name: "key refused at one vantage of two", rule: immediate(rule(0)), signals: sigs(bads(probing, config), oks(probing, at("r2"))), previous: health(healthy, EvidenceOK), state: suspect, reason: VantagesDisagree},
		{name: "key refused and one alert", rule: immediate(rule(0)), signals: sigs(bads(probing, config), bads(external)), previous: health(healthy, EvidenceOK), state: blocked, reason: ConfigurationRefused},
		{name: "outage after a refusal waits anew", signals: sigs(bads(external), bads(passive)), previous: health(suspect, ConfigurationPending, agreed(14*time.Second)), state: suspect, reason: AgreementPending, agreed: t0},
		{name: "blocked goes on", signals: sigs(bads(probing, config)), previous: health(blocked, ConfigurationRefused), state: blocked, reason: ConfigurationRefused, unchanged: true},
		{name: "blocked and gone", previous: health(blocked, ConfigurationRefused), state: blocked, reason: EvidenceExpired},
		{name: "blocked and back", signals: sigs(bads(probing, config)), previous: health(blocked, EvidenceExpired), state: blocked, reason: FailingRemains},
		{name: "key accepted", signals: sigs(oks(probing)), previous: health(blocked, ConfigurationRefused), state: recovering, reason: OkAgain, agreed: t0},
		{name: "blocked, then an outage", signals: sigs(bads(probing), bads(external)), previous: health(blocked, ConfigurationRefused), state: blocked, reason: ConfigurationRefused, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "blocked, then an outage for long enough", signals: sigs(bads(probing), bads(external)), previous: health(blocked, ConfigurationRefused, agreed(15*time.Second)), state: failing, reason: QuorumFailing},
		{name: "failing, then the key refused", signals: sigs(bads(probing, config)), previous: health(failing, QuorumFailing), state: failing, reason: QuorumFailing, agreed: t0, lookAgain: in(DefaultFailingFor)},
		{name: "failing, then the key refused for long enough", signals: sigs(bads(probing, config)), previous: health(failing, QuorumFailing, agreed(15*time.Second)), state: blocked, reason: ConfigurationRefused},
		{name: "recovering, then the key refused", signals: sigs(bads(probing, config)), previous: health(recovering, OkAgain, agreed(time.Minute)), state: blocked, reason: ConfigurationRefused},

		// The operator.
		{name: "operator says failing", signals: sigs(bads(operator), oks(probing)), previous: health(healthy, EvidenceOK), state: failing, reason: OperatorFailing},
		{name: "operator says ok", signals: sigs(oks(operator), bads(probing), bads(external)), previous: health(failing, QuorumFailing), state: healthy, reason: OperatorOK},
		{name: "operator says ok of a recovering one", signals: sigs(oks(operator)), previous: health(recovering, OkAgain), state: healthy, reason: OperatorOK},
		{name: "operator counts though not listed", rule: rule(1, external), signals: sigs(bads(operator)), state: failing, reason: OperatorFailing},
		{name: "operator's newest word counts", signals: sigs(bads(operator, seen(time.Minute)), oks(operator)), state: healthy, reason: OperatorOK},
		{name: "operator withdraws", signals: sigs(dunno(operator), oks(probing)), previous: health(failing, OperatorFailing), state: recovering, reason: OkAgain, agreed: t0},
		{name: "operator withdraws, nothing else known", signals: sigs(dunno(operator)), previous: health(failing, OperatorFailing), state: failing, reason: EvidenceExpired},
		{name: "operator withdraws, evidence agrees", signals: sigs(bads(probing), bads(external)), previous: health(failing, OperatorFailing), state: failing, reason: QuorumFailing},
		{name: "operator's ok expired", signals: sigs(oks(operator, expired), oks(probing)), previous: health(healthy, OperatorOK), state: healthy, reason: EvidenceOK},
		{name: "maintenance of a later version", signals: sigs(oks(probing)), previous: health(jv1.HealthState_HEALTH_STATE_MAINTENANCE, "window"), state: healthy, reason: EvidenceOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Facts{Service: "chat", Provider: "openai", Rule: test.rule, Signals: test.signals, Previous: test.previous, Now: t0}
			if test.gap > 0 {
				f.GapSince = t0.Add(-test.gap)
			}
			j := Judge(f)
			if j.Health.GetState() != test.state || j.Reason != test.reason || j.Health.GetReason() != string(test.reason) {
				t.Errorf("judged %v because of %s (%s stored), want %v because of %s", j.Health.GetState(), j.Reason, j.Health.GetReason(), test.state, test.reason)
			}
			if j.Changed == test.unchanged {
				t.Errorf("changed is %v", j.Changed)
			}
			var agreedSince time.Time
			if j.Health.GetAgreedSince() != nil {
				agreedSince = j.Health.GetAgreedSince().AsTime()
			}
			if !agreedSince.Equal(test.agreed) {
				t.Errorf("agreed since %v, want %v", agreedSince, test.agreed)
			}
			if !test.lookAgain.IsZero() && !j.LookAgain.Equal(test.lookAgain) {
				t.Errorf("look again at %v, want %v", j.LookAgain, test.lookAgain)
			}
		})
	}
}

func TestEpisodes(t *testing.T) {
	now := t0
	var stored *jv1.Health
	step := func(after time.Duration, signals ...*jv1.Signal) *jv1.Health {
		t.Helper()
		now = now.Add(after)
		for _, s := range signals {
			s.ObservedAt = timestamppb.New(now.Add(-3 * time.Second))
			s.ValidUntil = timestamppb.New(now.Add(time.Minute))
		}
		j := Judge(Facts{Service: "chat", Provider: "openai", Signals: signals, Previous: stored, Now: now})
		if j.Changed {
			stored = j.Health
		}
		return stored
	}
	want := func(h *jv1.Health, state jv1.HealthState, generation int64, failed bool) {
		t.Helper()
		if h.GetState() != state || h.GetGeneration() != generation || h.GetFailed() != failed {
			t.Errorf("is %v, generation %d, failed %v; want %v, %d, %v", h.GetState(), h.GetGeneration(), h.GetFailed(), state, generation, failed)
		}
	}
	want(step(0, oks(probing)), healthy, 0, false)
	want(step(time.Minute, bads(probing)), suspect, 1, false)
	onset := stored.GetOnset().AsTime()
	if !onset.Equal(now.Add(-3 * time.Second)) {
		t.Errorf("the first episode began at %v, judged at %v", onset, now)
	}
	want(step(time.Second, oks(probing)), healthy, 1, false)
	want(step(time.Minute, bads(probing)), suspect, 2, false)
	onset = stored.GetOnset().AsTime()
	want(step(time.Second, bads(probing), bads(external)), suspect, 2, false)
	want(step(DefaultFailingFor, bads(probing), bads(external)), failing, 2, true)
	if !stored.GetOnset().AsTime().Equal(onset) {
		t.Errorf("the onset moved from %v to %v", onset, stored.GetOnset().AsTime())
	}
	since := stored.GetSince()
	want(step(time.Minute, oks(probing)), recovering, 2, true)
	want(step(time.Minute, bads(probing), bads(external)), failing, 2, true)
	if proto.Equal(since, stored.GetSince()) {
		t.Error("since did not move with the state")
	}
	want(step(time.Minute, oks(probing)), recovering, 2, true)
	want(step(DefaultRecoveredAfter, oks(probing)), healthy, 2, true)
	want(step(time.Minute, dunno(probing)), unknown, 2, false)
	if stored.GetOnset() != nil {
		t.Error("unknown has an onset")
	}
	want(step(time.Minute, oks(probing)), healthy, 2, false)
	want(step(time.Minute, bads(probing), bads(external)), suspect, 3, false)
	want(step(time.Minute, bads(operator)), failing, 3, true)
}

func TestGenerationGoesOnWhereAnEarlierLifeEnded(t *testing.T) {
	j := Judge(Facts{Rule: immediate(rule(1)), Signals: []*jv1.Signal{bads(external)}, Now: t0, Generation: 7})
	if j.Health.GetGeneration() != 8 {
		t.Errorf("generation %d, want 8", j.Health.GetGeneration())
	}
}

func TestEvidenceStaysSmall(t *testing.T) {
	var signals []*jv1.Signal
	for range 100 {
		signals = append(signals, oks(external))
	}
	long := bads(external)
	for range 1000 {
		long.Summary += "é"
	}
	long.Labels = map[string]string{}
	for i := range 64 {
		long.Labels[string(rune('A'+i))] = "x"
	}
	signals = append(signals, long)
	before := proto.CloneOf(long)
	kept := Judge(Facts{Signals: signals, Now: t0}).Health.GetEvidence()
	if len(kept) != maxEvidence {
		t.Fatalf("%d signals kept", len(kept))
	}
	first := kept[0]
	if first.GetState() != jv1.SignalState_SIGNAL_STATE_FAILING {
		t.Error("the failing signal is not the first")
	}
	if n := len(first.GetSummary()); n > maxEvidenceSummary || n < maxEvidenceSummary-1 || first.GetSummary()[n-2:] != "é" {
		t.Errorf("summary of %d bytes ends in %q", n, first.GetSummary()[n-2:])
	}
	if len(first.GetLabels()) != maxEvidenceLabels || first.GetLabels()["A"] == "" {
		t.Errorf("labels %v", first.GetLabels())
	}
	var most []*jv1.Signal
	for range 100 {
		s := proto.CloneOf(long)
		for name := range s.GetLabels() {
			delete(s.GetLabels(), name)
			s.Labels[name+strings.Repeat("n", maxLabelName-1)] = strings.Repeat("v", maxLabelValue)
		}
		s.SignalId = strings.Repeat("i", maxSignalID)
		most = append(most, s)
	}
	if n := proto.Size(Judge(Facts{Signals: most, Now: t0}).Health); n > 64<<10 {
		t.Errorf("a health record of %d bytes", n)
	}
	if !proto.Equal(before, long) {
		t.Error("the signal itself was changed")
	}
}
