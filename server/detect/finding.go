package detect

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// finding is what a probe found, once.
type finding struct {
	// at is when the probe was over.
	at    time.Time
	state jv1.SignalState
	cause jv1.SignalCause
	// reason is a name for it, e.g. `server_error`; it is the metric's label.
	reason string
	// summary is for people.
	summary string
}

// signal is the finding by itself, as one replica's probe of a target made it.
func (f finding) signal(key targetKey, replica string) *jv1.Signal {
	return &jv1.Signal{
		Source: key.detector, Provider: key.provider, State: f.state, Cause: f.cause,
		Class: jv1.EvidenceClass_EVIDENCE_CLASS_PROBE, ObservedAt: timestamppb.New(f.at),
		Summary: f.summary, Vantage: replica, Labels: map[string]string{labelReason: f.reason},
	}
}

// Thresholds of a probe's streaks when its detector names none.
const (
	defaultFailures  = 3
	defaultSuccesses = 5
)

// streak makes a signal's state of findings: so many bad ones in a row until it is failing, so many good ones until it
// is ok again. A finding that could not tell neither counts nor breaks a row.
type streak struct {
	failures, successes int

	state jv1.SignalState // unspecified until something was found
	cause jv1.SignalCause
	since time.Time // when the first finding of the state was made
	said  finding   // the last finding that fits the state

	accused    bool // the last definite state was failing
	bad, good  int  // in a row
	began      time.Time
	blind      int // could not tell, in a row
	blindBegan time.Time
	causes     [4]int // of the bad ones in the row, by cause
	run        int    // bad ones of one cause in a row
	runCause   jv1.SignalCause
	runBegan   time.Time
}

func newStreak(failures, successes int32) streak {
	s := streak{failures: int(failures), successes: int(successes)}
	if s.failures <= 0 {
		s.failures = defaultFailures
	}
	if s.successes <= 0 {
		s.successes = defaultSuccesses
	}
	return s
}

// add takes the next finding and tells whether state or cause changed.
func (s *streak) add(f finding) bool {
	before, cause := s.state, s.cause
	switch f.state {
	case jv1.SignalState_SIGNAL_STATE_OK:
		s.addGood(f)
	case jv1.SignalState_SIGNAL_STATE_FAILING:
		s.addBad(f)
	default:
		s.addBlind(f)
	}
	if f.state == s.state {
		s.said = f
	}
	return s.state != before || s.cause != cause
}

func (s *streak) addGood(f finding) {
	if s.good == 0 {
		s.began = f.at
	}
	s.good++
	s.bad, s.blind, s.run, s.causes = 0, 0, 0, [4]int{}
	need := 1
	if s.accused {
		need = s.successes
	}
	if s.state != jv1.SignalState_SIGNAL_STATE_OK && s.good >= need {
		s.state, s.cause, s.since, s.accused = jv1.SignalState_SIGNAL_STATE_OK, 0, s.began, false
	}
}

func (s *streak) addBad(f finding) {
	if s.bad == 0 {
		s.began = f.at
	}
	if s.run == 0 || s.runCause != f.cause {
		s.run, s.runCause, s.runBegan = 0, f.cause, f.at
	}
	s.bad++
	s.run++
	s.causes[f.cause]++
	s.good, s.blind = 0, 0
	switch {
	case s.state != jv1.SignalState_SIGNAL_STATE_FAILING && s.bad >= s.failures:
		s.state, s.cause, s.since, s.accused = jv1.SignalState_SIGNAL_STATE_FAILING, s.mainCause(), s.began, true
	case s.state == jv1.SignalState_SIGNAL_STATE_FAILING && s.run >= s.failures && s.cause != f.cause:
		s.cause, s.since = f.cause, s.runBegan
	}
}

// mainCause is the most frequent cause of the row; among equals an outage, then our configuration.
func (s *streak) mainCause() jv1.SignalCause {
	best := jv1.SignalCause_SIGNAL_CAUSE_OUTAGE
	for _, c := range []jv1.SignalCause{jv1.SignalCause_SIGNAL_CAUSE_CONFIGURATION, jv1.SignalCause_SIGNAL_CAUSE_THROTTLE} {
		if s.causes[c] > s.causes[best] {
			best = c
		}
	}
	return best
}

func (s *streak) addBlind(f finding) {
	if s.blind == 0 {
		s.blindBegan = f.at
	}
	s.blind++
	if s.state != jv1.SignalState_SIGNAL_STATE_UNKNOWN && s.blind >= s.failures {
		s.state, s.cause, s.since = jv1.SignalState_SIGNAL_STATE_UNKNOWN, 0, s.blindBegan
		s.bad, s.good, s.run, s.causes = 0, 0, 0, [4]int{}
	}
}

// unsettled tells that the last finding does not fit the state, so that it is worth to look again soon.
func (s *streak) unsettled() bool {
	switch s.state {
	case jv1.SignalState_SIGNAL_STATE_OK:
		return s.good == 0
	case jv1.SignalState_SIGNAL_STATE_FAILING:
		return s.bad == 0
	default:
		return true
	}
}

// resume takes up a failing state from before a restart, so that the first bad finding confirms it.
func (s *streak) resume(signal *jv1.Signal) {
	if signal.GetState() != jv1.SignalState_SIGNAL_STATE_FAILING || s.state != 0 {
		return
	}
	s.state, s.cause, s.since, s.accused = signal.GetState(), signal.GetCause(), signal.GetObservedAt().AsTime(), true
	s.said = finding{state: s.state, cause: s.cause, summary: signal.GetSummary(), reason: signal.GetLabels()[labelReason]}
}

// labelReason is the label that holds a finding's reason.
const labelReason = "reason"
