package detect

import (
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestProofsCountGoodProbesInARowBegunAfterATime(t *testing.T) {
	key, other := targetKey{"probe", "a"}, targetKey{"probe", "b"}
	ok := finding{state: jv1.SignalState_SIGNAL_STATE_OK}
	bad := finding{state: jv1.SignalState_SIGNAL_STATE_FAILING}
	blind := finding{state: jv1.SignalState_SIGNAL_STATE_UNKNOWN}
	t0 := time.Unix(1000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	var p proofs
	for s, f := range []finding{ok, ok, blind, ok, ok} {
		p.add(key, at(s), f)
	}
	p.add(other, at(9), ok)
	for since, want := range map[int]int{-1: 4, 0: 3, 1: 2, 3: 1, 4: 0} {
		if got := p.after(key, at(since)); got != want {
			t.Errorf("after second %d: %d, want %d", since, got, want)
		}
	}
	p.add(key, at(5), bad)
	p.add(key, at(6), ok)
	if got := p.after(key, at(-1)); got != 1 {
		t.Errorf("a failed probe does not break the row: %d", got)
	}
	for s := range 200 {
		p.add(key, at(10+s), ok)
	}
	if got := p.after(key, at(-1)); got != maxProofs {
		t.Errorf("%d are remembered", got)
	}
	p.forget(key)
	if p.after(key, at(-1)) != 0 || p.after(other, at(-1)) != 1 {
		t.Error("forget dropped the wrong one")
	}
}
