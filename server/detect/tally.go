package detect

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// opinion is what one class of evidence, or one vantage of it, says as a whole.
type opinion uint8

const (
	// silent: nothing that counts.
	silent opinion = iota
	// alive: it answers but throttles us, which is neither good nor bad.
	alive
	// good: it serves.
	good
	// torn: vantages disagree.
	torn
	// refused: our key, credit or configuration.
	refused
	// bad: an outage.
	bad
)

// classes is the number of evidence classes, the unspecified one included.
const classes = int(jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR) + 1

// tally is the evidence about one provider, counted.
type tally struct {
	// opinions by evidence class; the operator's is not among them.
	opinions [classes]opinion
	// voices are the opinions of the probes' vantages.
	voices map[string]opinion
	// failingVantages and vantages count the probes' vantages that speak of an outage, and all that can tell.
	failingVantages, vantages int
	// outage and refusal tell whether any single signal of ours speaks of one, be it a minority's. A status page's
	// does not count.
	outage, refusal bool
	// operator is the operator's word, if one counts.
	operator *jv1.Signal
	// counted are the signals that count, in the order they were given.
	counted []*jv1.Signal
	// expires is when the first of them runs out; the zero time when there is none.
	expires time.Time
}

// count takes stock of the signals that are unexpired and of a class that the rule counts.
func count(rule *jv1.HealthRule, signals []*jv1.Signal, now time.Time) tally {
	t := tally{voices: map[string]opinion{}}
	for _, s := range signals {
		if !counts(rule, s.GetClass()) || !unexpired(s, now) {
			continue
		}
		t.add(s)
	}
	t.poll()
	return t
}

func (t *tally) add(s *jv1.Signal) {
	voice := voiceOf(s)
	if voice == silent {
		return
	}
	t.counted = append(t.counted, s)
	if until := s.GetValidUntil().AsTime(); t.expires.IsZero() || until.Before(t.expires) {
		t.expires = until
	}
	class := s.GetClass()
	if class == jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR {
		if t.operator == nil || t.operator.GetObservedAt().AsTime().Before(s.GetObservedAt().AsTime()) {
			t.operator = s
		}
		return
	}
	if class != jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED {
		t.outage = t.outage || voice == bad
		t.refusal = t.refusal || voice == refused
	}
	if class == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE {
		t.voices[s.GetVantage()] = louder(t.voices[s.GetVantage()], voice)
		return
	}
	t.opinions[class] = louder(t.opinions[class], voice)
}

// poll makes one opinion of the probes' vantages: an outage or a refusal is what more than half of them see, so that
// one replica with a network problem of its own convinces nobody.
func (t *tally) poll() {
	var by [bad + 1]int
	for _, voice := range t.voices {
		by[voice]++
	}
	t.vantages = len(t.voices)
	t.failingVantages = by[bad]
	probe := silent
	switch {
	case t.vantages == 0:
	case 2*by[bad] > t.vantages:
		probe = bad
	case 2*by[refused] > t.vantages:
		probe = refused
	case by[bad]+by[refused] > 0:
		probe = torn
	case by[good] > 0:
		probe = good
	default:
		probe = alive
	}
	t.opinions[jv1.EvidenceClass_EVIDENCE_CLASS_PROBE] = probe
}

// ours calls f with the opinion of every class but the provider's status page.
func (t *tally) ours(f func(opinion)) {
	for class, o := range t.opinions {
		if jv1.EvidenceClass(class) != jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED {
			f(o)
		}
	}
}

// any tells whether a class of ours has the opinion.
func (t *tally) any(want opinion) bool {
	found := false
	t.ours(func(o opinion) { found = found || o == want })
	return found
}

// feedFailing tells whether the provider's status page speaks of an outage.
func (t *tally) feedFailing() bool {
	return t.opinions[jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED] == bad
}

// silentOurs tells whether nothing but perhaps the status page speaks.
func (t *tally) silentOurs() bool {
	speaks := false
	t.ours(func(o opinion) { speaks = speaks || o != silent })
	return !speaks
}

// contradicts tells whether a class, or a vantage of the probes, says that the provider serves that did not say so in
// the earlier evidence. Evidence that is merely gone contradicts nothing.
func (t *tally) contradicts(earlier []*jv1.Signal) bool {
	before := tally{voices: map[string]opinion{}}
	for _, s := range earlier {
		before.add(s)
	}
	for vantage, o := range t.voices {
		if o == good && before.voices[vantage] != good {
			return true
		}
	}
	for class, o := range t.opinions {
		if of := jv1.EvidenceClass(class); of == jv1.EvidenceClass_EVIDENCE_CLASS_PROBE || of == jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED {
			continue
		}
		if o == good && before.opinions[class] != good {
			return true
		}
	}
	return false
}

// voiceOf is what one signal says.
func voiceOf(s *jv1.Signal) opinion {
	switch s.GetState() {
	case jv1.SignalState_SIGNAL_STATE_OK:
		return good
	case jv1.SignalState_SIGNAL_STATE_FAILING:
		switch s.GetCause() {
		case jv1.SignalCause_SIGNAL_CAUSE_THROTTLE:
			return alive
		case jv1.SignalCause_SIGNAL_CAUSE_CONFIGURATION:
			return refused
		default:
			return bad
		}
	default:
		return silent
	}
}

// louder is the opinion that prevails where several speak of one thing: the worst, but a throttled answer says less
// than a good one.
func louder(a, b opinion) opinion { return max(a, b) }

func unexpired(s *jv1.Signal, now time.Time) bool {
	return s.GetValidUntil().IsValid() && s.GetValidUntil().AsTime().After(now)
}

func counts(rule *jv1.HealthRule, class jv1.EvidenceClass) bool {
	switch {
	case class <= 0 || int(class) >= classes:
		return false
	case class == jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR:
		return true
	}
	of := rule.GetFailing().GetOf()
	if len(of) == 0 {
		return true
	}
	for _, c := range of {
		if c == class {
			return true
		}
	}
	return false
}
