package steps

import (
	"maps"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// setWeight sends a share of the traffic to a provider that is not the active one.
type setWeight struct{}

func (setWeight) Advance(in *Input) Move {
	if r := in.checkAutomation(); r != nil {
		return in.fail("%v", r)
	}
	spec, w := in.Step.GetSetWeight(), in.Desk
	provider, percent := w.Resolve(spec.GetProvider()), spec.GetPercent()
	if in.DryRun() {
		if r := w.CheckWeight(provider, percent); r != nil {
			return in.fail("%v", r)
		}
		return in.done("would send %d %% of %s to %s", percent, w.Name(), provider)
	}
	before := maps.Clone(w.State().GetWeights())
	changed, r := w.SetWeight(provider, percent, in.Author())
	switch {
	case r != nil:
		return in.fail("%v", r)
	case !changed:
		return in.done("%s had %d %% of %s already", provider, percent, w.Name())
	}
	m := in.done("%s has %d %% of %s", provider, percent, w.Name())
	m.Event.Undo = &jv1.Undo{
		Provider: w.Active(), Queueing: w.State().GetQueueing(), Epoch: w.State().GetEpoch(), Weights: before,
	}
	return m
}

// Undo restores the weights only under the route they were set for: a switch has cleared them.
func (setWeight) Undo(in *Input) string {
	w, undo := in.Desk, in.At.GetUndo()
	if w.State().GetRun() != in.Run.GetName() || w.Active() != undo.GetProvider() {
		return "left as it is: the state was set by somebody else, or the route was switched since"
	}
	return w.RestoreWeights(undo.GetWeights(), in.Author())
}
