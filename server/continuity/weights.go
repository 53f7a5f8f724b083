package continuity

import (
	"maps"
	"slices"
	"strings"
)

// maxWeight is the most that may go elsewhere: all of it would be a switch.
const maxWeight = 99

// SetWeight sends percent of the traffic to a provider that is not the active one; 0 takes it back. A share is only
// given to a provider that a switch could go to. changed is false when the share is as asked already.
func (w *Workspace) SetWeight(provider string, percent int32, a Author) (changed bool, r *Refusal) {
	if r := w.CheckWeight(provider, percent); r != nil {
		return false, r
	}
	next := maps.Clone(w.State().GetWeights())
	if next == nil {
		next = map[string]int32{}
	}
	if percent == 0 {
		delete(next, provider)
	} else {
		next[provider] = percent
	}
	return w.setWeights(next, a), nil
}

// CheckWeight refuses a share that a provider must not have.
func (w *Workspace) CheckWeight(provider string, percent int32) *Refusal {
	switch {
	case w.Service.Msg == nil || w.State() == nil:
		return refuse(UnknownService, "there is no service %s", w.name)
	case !slices.Contains(w.Candidates([]string{"any"}), provider):
		return refuse(UnknownProvider, "%s is not a provider of %s", provider, w.name)
	case provider == w.Active():
		return refuse(TargetActive, "%s is the active provider of %s: it has what the others leave", provider, w.name)
	case percent == 0:
		return nil
	}
	sum := percent
	for p, share := range w.State().GetWeights() {
		if p != provider {
			sum += share
		}
	}
	if sum > maxWeight {
		return refuse(WeightTooLarge, "%d %% for %s makes %d %% for others than %s: at most %d %% may go elsewhere, all of it is a switch",
			percent, provider, sum, w.Active(), maxWeight)
	}
	return w.CheckTarget(provider)
}

// RestoreWeights gives the shares that were before, as far as the providers may have them now, and says in words what
// came of it.
func (w *Workspace) RestoreWeights(weights map[string]int32, a Author) string {
	next := map[string]int32{}
	var left []string
	for _, p := range slices.Sorted(maps.Keys(weights)) {
		if r := w.CheckTarget(p); r != nil || p == w.Active() {
			left = append(left, p)
			continue
		}
		next[p] = weights[p]
	}
	text := "the weights are as before"
	if !w.setWeights(next, a) {
		text = "the weights were as before already"
	}
	if len(left) > 0 {
		text += ", except that of " + strings.Join(left, ", ") + ", which can't have one now"
	}
	return text
}

// setWeights tells whether it changed anything.
func (w *Workspace) setWeights(next map[string]int32, a Author) bool {
	if maps.Equal(next, w.State().GetWeights()) {
		return false
	}
	s := w.change(a)
	s.Weights = next
	if len(next) == 0 {
		s.Weights = nil
	}
	return true
}
