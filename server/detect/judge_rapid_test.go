package detect

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// anySignal draws a signal of any kind, expired or not, at the time now.
func anySignal(t *rapid.T, now time.Time) *jv1.Signal {
	s := &jv1.Signal{
		Class: jv1.EvidenceClass(rapid.IntRange(0, classes-1).Draw(t, "class")),
		State: jv1.SignalState(rapid.IntRange(1, 3).Draw(t, "state")),
		Cause: jv1.SignalCause(rapid.IntRange(0, 3).Draw(t, "cause")),
	}
	if s.Class == operator && rapid.IntRange(0, 9).Draw(t, "operator stays") > 0 {
		s.Class = external // else the operator decides nearly everything
	}
	s.ObservedAt = timestamppb.New(now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "age")) * time.Second))
	s.ValidUntil = timestamppb.New(now.Add(time.Duration(rapid.IntRange(-20, 60).Draw(t, "validity")) * time.Second))
	if s.Class == probing {
		s.Vantage = rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(t, "vantage")
	}
	return s
}

func anyRule(t *rapid.T) *jv1.HealthRule {
	r := &jv1.HealthRule{Failing: &jv1.FailingRule{Agree: int32(rapid.IntRange(0, 4).Draw(t, "agree"))}}
	if rapid.Bool().Draw(t, "has for") {
		r.Failing.For = durationpb.New(time.Duration(rapid.IntRange(0, 40).Draw(t, "for")) * time.Second)
	}
	for class := passive; class <= external; class++ {
		if rapid.IntRange(0, 3).Draw(t, "of") == 0 {
			r.Failing.Of = append(r.Failing.Of, class)
		}
	}
	if rapid.Bool().Draw(t, "recovers soon") {
		r.RecoveredAfter = durationpb.New(time.Duration(rapid.IntRange(1, 90).Draw(t, "recovered_after")) * time.Second)
	}
	return r
}

// says is what an independent reading of the signals finds: the classes that speak of an outage (of probes: more than
// half of the vantages), and whether anything of ours does, or says that the provider serves.
type says struct {
	outage          map[jv1.EvidenceClass]bool
	accused, served map[string]bool // by class, or by vantage for probes: says so; nobody says otherwise
	vantages        map[bool]int
	bad, good       bool
	operatorFailing bool
	operatorOK      bool
}

func read(rule *jv1.HealthRule, signals []*jv1.Signal, now time.Time) says {
	r := says{outage: map[jv1.EvidenceClass]bool{}, accused: map[string]bool{}, served: map[string]bool{}, vantages: map[bool]int{}}
	vantages := map[string]bool{}
	var newest *jv1.Signal
	for _, s := range signals {
		if !s.GetValidUntil().AsTime().After(now) || s.GetClass() == 0 || s.GetState() == jv1.SignalState_SIGNAL_STATE_UNKNOWN {
			continue
		}
		if s.GetClass() == operator {
			if newest == nil || newest.GetObservedAt().AsTime().Before(s.GetObservedAt().AsTime()) {
				newest = s
			}
			continue
		}
		of := rule.GetFailing().GetOf()
		listed := len(of) == 0
		for _, c := range of {
			listed = listed || c == s.GetClass()
		}
		if !listed {
			continue
		}
		failing := s.GetState() == jv1.SignalState_SIGNAL_STATE_FAILING
		outage := failing && s.GetCause() != jv1.SignalCause_SIGNAL_CAUSE_THROTTLE && s.GetCause() != jv1.SignalCause_SIGNAL_CAUSE_CONFIGURATION
		if s.GetClass() == probing {
			vantages[s.GetVantage()] = vantages[s.GetVantage()] || outage
		} else if outage {
			r.outage[s.GetClass()] = true
		}
		speaker := s.GetClass().String() + s.GetVantage()
		if failing {
			r.accused[speaker] = true
		}
		r.served[speaker] = !r.accused[speaker]
		if s.GetClass() != feed {
			r.bad = r.bad || outage
			r.good = r.good || !failing
		}
	}
	for _, outage := range vantages {
		r.vantages[outage]++
	}
	if r.vantages[true] > r.vantages[false] {
		r.outage[probing] = true
	}
	if newest != nil {
		r.operatorFailing = newest.GetState() == jv1.SignalState_SIGNAL_STATE_FAILING
		r.operatorOK = newest.GetState() == jv1.SignalState_SIGNAL_STATE_OK
	}
	return r
}

func (r says) quorum(agree int) bool {
	n := len(r.outage)
	if n == 0 || n == 1 && r.outage[feed] {
		return false
	}
	if agree > 0 {
		return n >= agree
	}
	return n >= 2 || r.vantages[true] >= 2 && r.vantages[true] > r.vantages[false]
}

// TestProperties judges random histories and holds every step against the promises.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := anyRule(t)
		failingFor := orDefault(rule.GetFailing().GetFor(), DefaultFailingFor)
		now := t0
		var stored *jv1.Health
		var gap time.Time
		var agreement agreementOracle
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 45).Draw(t, "after")) * time.Second)
			var signals []*jv1.Signal
			for range rapid.IntRange(0, 5).Draw(t, "signals") {
				signals = append(signals, anySignal(t, now))
			}
			f := Facts{Service: "chat", Provider: "openai", Rule: rule, Signals: signals, Previous: stored, Now: now, GapSince: gap}
			j := Judge(f)
			r := read(rule, signals, now)
			agreement.hear(r, r.quorum(int(rule.GetFailing().GetAgree())), now)
			checkStep(t, f, j, r)
			from, to := stateOf(stored), j.Health.GetState()
			calm := from == unknown || from == healthy || from == suspect
			if calm && to == failing && !r.operatorFailing && now.Sub(agreement.since) < failingFor {
				t.Fatalf("failing after an agreement of %v, must last %v", now.Sub(agreement.since), failingFor)
			}
			gap = j.GapSince
			if j.Changed {
				stored = j.Health
			}
			again := f
			again.Previous, again.GapSince = stored, gap
			if second := Judge(again); second.Changed {
				t.Fatalf("the same facts judged again changed %v into %v", stored, second.Health)
			}
		}
	})
}

// agreementOracle follows since when enough agrees. An agreement ends when all that accused say that it serves, or when
// it was gone for the time of GapGrace.
type agreementOracle struct {
	since, gap time.Time
	accusers   map[string]bool
}

func (a *agreementOracle) hear(r says, quorum bool, now time.Time) {
	if quorum {
		if a.accusers == nil {
			a.since = now
		}
		a.gap, a.accusers = time.Time{}, r.accused
		return
	}
	acquitted := 0
	for speaker := range a.accusers {
		if r.served[speaker] {
			acquitted++
		}
	}
	if a.gap.IsZero() {
		a.gap = now
	}
	if acquitted == len(a.accusers) || now.Sub(a.gap) >= GapGrace {
		a.accusers = nil
	}
}

func checkStep(t *rapid.T, f Facts, j Judgement, r says) {
	from, to := stateOf(f.Previous), j.Health.GetState()
	agree := int(f.Rule.GetFailing().GetAgree())
	if !j.LookAgain.IsZero() && !j.LookAgain.After(f.Now) {
		t.Fatalf("look again at %v, which is not after %v", j.LookAgain, f.Now)
	}
	if to == failing && from != failing && !r.operatorFailing && !r.quorum(agree) {
		t.Fatalf("failing without quorum or operator: %v", f.Signals)
	}
	entered := (to == failing || to == blocked) && from != to
	if entered && !r.operatorFailing && !r.bad && !anyRefusal(f) {
		t.Fatalf("%v though nothing of ours speaks against it: %v", to, f.Signals)
	}
	troubled := from == failing || from == blocked || from == recovering
	if troubled && (to == healthy || to == recovering && from != recovering) && !r.operatorOK && !r.good {
		t.Fatalf("%v cleared to %v though nothing of ours says that it serves: %v", from, to, f.Signals)
	}
	if troubled && to == healthy && !r.operatorOK && from != recovering {
		t.Fatalf("%v became healthy without recovering", from)
	}
	if troubled && (to == unknown || to == suspect) {
		t.Fatalf("%v became %v", from, to)
	}
	opened := !episodeOpen(from) && episodeOpen(to)
	before, after := f.Previous.GetGeneration(), j.Health.GetGeneration()
	if opened && after != before+1 || !opened && after != before {
		t.Fatalf("generation went from %d to %d on the way from %v to %v", before, after, from, to)
	}
	if episodeOpen(to) != (to != healthy && to != unknown) || episodeOpen(to) && j.Health.GetOnset() == nil {
		t.Fatalf("episode of %v: %v", to, j.Health)
	}
	if episodeOpen(from) && episodeOpen(to) && !proto.Equal(f.Previous.GetOnset(), j.Health.GetOnset()) {
		t.Fatal("the onset moved within an episode")
	}
	if (to == failing || to == blocked) && !j.Health.GetFailed() {
		t.Fatal("not marked as failed")
	}
}

// anyRefusal tells whether an unexpired signal speaks of our configuration.
func anyRefusal(f Facts) bool {
	for _, s := range f.Signals {
		if voiceOf(s) == refused && s.GetValidUntil().AsTime().After(f.Now) && s.GetClass() != feed {
			return true
		}
	}
	return false
}
