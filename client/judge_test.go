package client

import (
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestJudge(t *testing.T) {
	at := func(life string, revision, epoch int64) *jv1.ContinuityState {
		return &jv1.ContinuityState{RestoreEpoch: life, Revision: revision, Epoch: epoch}
	}
	for _, test := range []struct {
		name      string
		held, got *jv1.ContinuityState
		want      Verdict
	}{
		{"nothing held", nil, at("5-a", 1, 1), VerdictFirst},
		{"next revision", at("5-a", 10, 3), at("5-a", 11, 4), VerdictNewer},
		{"same revision, other derived facts", at("5-a", 10, 3), at("5-a", 10, 3), VerdictNewer},
		{"older revision", at("5-a", 10, 3), at("5-a", 9, 3), VerdictOlderRevision},
		{"older revision with a greater epoch", at("5-a", 10, 3), at("5-a", 9, 4), VerdictOlderRevision},
		{"older epoch", at("5-a", 10, 3), at("5-a", 11, 2), VerdictOlderEpoch},
		{"later life goes before revision and epoch", at("5-a", 10, 3), at("6-b", 1, 1), VerdictNewer},
		{"numbers, not words", at("9-a", 10, 3), at("10-a", 1, 1), VerdictNewer},
		{"leading zeros", at("0009-a", 10, 3), at("010-a", 1, 1), VerdictNewer},
		{"earlier life", at("6-a", 10, 3), at("5-z", 99, 99), VerdictOlderLife},
		{"same number, other suffix", at("5-a", 10, 3), at("5-b", 99, 99), VerdictForeignLife},
		{"zero and nothing", at("", 10, 3), at("0", 1, 1), VerdictNewer},
		{"a life after none", at("", 10, 3), at("5-a", 1, 1), VerdictNewer},
		{"no life after one", at("5-a", 10, 3), at("", 99, 99), VerdictOlderLife},
		{"no number", at("x", 10, 3), at("y", 99, 99), VerdictForeignLife},
		{"no number, same", at("x", 10, 3), at("x", 11, 3), VerdictNewer},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := judge(test.held, test.got); got != test.want {
				t.Errorf("judged %s, want %s", got, test.want)
			}
		})
	}
}
