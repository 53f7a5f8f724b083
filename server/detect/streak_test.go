package detect

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// letters are findings: g good, b bad (an outage), c our configuration, t throttled, u could not tell.
var letters = map[rune]finding{
	'g': {state: stateOK},
	'b': {state: stateFailing, cause: causeOutage},
	'c': {state: stateFailing, cause: causeConfiguration},
	't': {state: stateFailing, cause: causeThrottle},
	'u': {state: stateUnknown},
}

func TestStreak(t *testing.T) {
	for _, test := range []struct {
		findings string // one each second
		state    jv1.SignalState
		cause    jv1.SignalCause
		since    int // number of the finding that began the state
		hurry    bool
	}{
		{findings: "", hurry: true},
		{findings: "g", state: stateOK, since: 0},
		{findings: "bb", hurry: true},
		{findings: "bbb", state: stateFailing, cause: causeOutage, since: 0},
		{findings: "ggbb", state: stateOK, since: 0, hurry: true},
		{findings: "ggbbg", state: stateOK, since: 0},
		{findings: "gbbgbb", state: stateOK, since: 0, hurry: true},
		{findings: "gbbb", state: stateFailing, cause: causeOutage, since: 1},
		{findings: "bbbg", state: stateFailing, cause: causeOutage, since: 0, hurry: true},
		{findings: "bbbgggg", state: stateFailing, cause: causeOutage, since: 0, hurry: true},
		{findings: "bbbggggbgggg", state: stateFailing, cause: causeOutage, since: 0, hurry: true},
		{findings: "bbbggggg", state: stateOK, since: 3},
		{findings: "ccc", state: stateFailing, cause: causeConfiguration, since: 0},
		{findings: "cbc", state: stateFailing, cause: causeConfiguration, since: 0},
		{findings: "cbt", state: stateFailing, cause: causeOutage, since: 0},
		{findings: "ctc", state: stateFailing, cause: causeConfiguration, since: 0},
		{findings: "bbbcc", state: stateFailing, cause: causeOutage, since: 0},
		{findings: "bbbccc", state: stateFailing, cause: causeConfiguration, since: 3},
		{findings: "ttt", state: stateFailing, cause: causeThrottle, since: 0},
		{findings: "uu", hurry: true},
		{findings: "uuu", state: stateUnknown, since: 0, hurry: true},
		{findings: "bubub", state: stateFailing, cause: causeOutage, since: 0},
		{findings: "gbuubb", state: stateFailing, cause: causeOutage, since: 1},
		{findings: "gbbuuub", state: stateUnknown, since: 3, hurry: true},
		{findings: "guuug", state: stateOK, since: 4},
		{findings: "bbbuuugggg", state: stateUnknown, since: 3, hurry: true},
		{findings: "bbbuuuggggg", state: stateOK, since: 6},
		{findings: "bbbuuubbb", state: stateFailing, cause: causeOutage, since: 6},
	} {
		t.Run(test.findings, func(t *testing.T) {
			s := newStreak(0, 0)
			for i, letter := range test.findings {
				f := letters[letter]
				f.at = t0.Add(time.Duration(i) * time.Second)
				before := [2]int32{int32(s.state), int32(s.cause)}
				if changed := s.add(f); changed != (before != [2]int32{int32(s.state), int32(s.cause)}) {
					t.Errorf("finding %d: changed %v", i, changed)
				}
			}
			if s.state != test.state || s.cause != test.cause {
				t.Errorf("state %v, cause %v, want %v, %v", s.state, s.cause, test.state, test.cause)
			}
			if test.state != 0 && !s.since.Equal(t0.Add(time.Duration(test.since)*time.Second)) {
				t.Errorf("since finding %v, want %d", s.since.Sub(t0).Seconds(), test.since)
			}
			if s.unsettled() != test.hurry {
				t.Errorf("unsettled is %v", s.unsettled())
			}
		})
	}
}

func TestStreakSaysWhatFitsItsState(t *testing.T) {
	s := newStreak(1, 2)
	s.add(finding{state: stateFailing, cause: causeOutage, summary: "bad"})
	s.add(finding{state: stateOK, summary: "good"})
	if s.state != stateFailing || s.said.summary != "bad" {
		t.Errorf("%v because of %q", s.state, s.said.summary)
	}
	s.add(finding{state: stateOK, summary: "good again"})
	if s.state != stateOK || s.said.summary != "good again" {
		t.Errorf("%v because of %q", s.state, s.said.summary)
	}
}

func TestStreakResumesOnlyWhatFailed(t *testing.T) {
	s := newStreak(3, 2)
	s.resume(&jv1.Signal{State: stateOK})
	if s.state != 0 {
		t.Errorf("resumed %v", s.state)
	}
	s.resume(&jv1.Signal{State: stateFailing, Cause: causeConfiguration, ObservedAt: timestamppb.New(t0), Summary: "before"})
	if s.state != stateFailing || s.cause != causeConfiguration || !s.since.Equal(t0) || s.said.summary != "before" {
		t.Errorf("resumed %v, %v, since %v, %q", s.state, s.cause, s.since, s.said.summary)
	}
	s.add(finding{state: stateOK})
	if s.state != stateFailing {
		t.Error("one good finding cleared what was resumed")
	}
	s.add(finding{state: stateOK})
	if s.state != stateOK {
		t.Error("two good findings did not clear it")
	}
}

// TestStreakProperties: it never fails without a row of failures, and never clears without a row of successes.
func TestStreakProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		failures, successes := rapid.IntRange(1, 5).Draw(t, "failures"), rapid.IntRange(1, 5).Draw(t, "successes")
		s := newStreak(int32(failures), int32(successes))
		history := ""
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			letter := rapid.SampledFrom([]rune("gggbbbctu")).Draw(t, "finding")
			f := letters[letter]
			f.at = t0.Add(time.Duration(len(history)) * time.Second)
			before := s.state
			s.add(f)
			if letter != 'u' {
				history += string(letter)
			}
			row := history[len(strings.TrimRight(history, "bct")):]
			if before != stateFailing && s.state == stateFailing && len(row) < failures {
				t.Fatalf("failing after %q", history)
			}
			good := len(history) - len(strings.TrimRight(history, "g"))
			if before == stateFailing && s.state == stateOK && good < successes {
				t.Fatalf("cleared after %q", history)
			}
			if s.since.After(f.at) {
				t.Fatalf("since %v, now %v", s.since, f.at)
			}
		}
	})
}

func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule[int]()
		model := map[int]time.Time{}
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			key := rapid.IntRange(0, 9).Draw(t, "key")
			var at time.Time
			if n := rapid.IntRange(-1, 20).Draw(t, "at"); n >= 0 {
				at = t0.Add(time.Duration(n) * time.Second)
				model[key] = at
			} else {
				delete(model, key)
			}
			s.set(key, at)
			var first time.Time
			for _, at := range model {
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
			if !s.earliest().Equal(first) {
				t.Fatalf("earliest %v, want %v", s.earliest(), first)
			}
		}
		now := t0.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "now")) * time.Second)
		last := time.Time{}
		for _, key := range s.due(now) {
			if at := model[key]; at.After(now) || at.Before(last) {
				t.Fatalf("key %d of %v is due at %v, after one of %v", key, at, now, last)
			}
			last = model[key]
			delete(model, key)
		}
		for key, at := range model {
			if !at.After(now) {
				t.Fatalf("key %d of %v is not due at %v", key, at, now)
			}
		}
	})
}
