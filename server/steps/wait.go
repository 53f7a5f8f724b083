package steps

import "time"

// defaultUntil bounds a wait for a condition whose step has no timeout.
const defaultUntil = 24 * time.Hour

// wait waits for a time, or until a condition holds.
type wait struct{ nothingToUndo }

func (wait) Advance(in *Input) Move {
	spec, now := in.Step.GetWait(), in.Desk.Now
	if in.DryRun() {
		return in.done("would wait")
	}
	if d := spec.GetDuration(); d != nil {
		end := in.started().Add(d.AsDuration())
		if !now.Before(end) {
			return in.done("waited %v", d.AsDuration())
		}
		return in.sleep(end, time.Time{}, "waits until %s", end.UTC().Format(time.RFC3339))
	}
	holds, err := in.Conditions.holds(in, spec.GetUntil())
	deadline := in.deadline(defaultUntil)
	switch {
	case err != nil:
		return in.fail("condition %q: %v", spec.GetUntil(), err)
	case holds:
		return in.done("%s holds", spec.GetUntil())
	case reached(now, deadline):
		return in.fail("%s did not come to hold in time", spec.GetUntil())
	}
	return in.sleep(time.Time{}, deadline, "waits until %s", spec.GetUntil())
}

// nothingToUndo is for kinds that change no state: their records hold nothing to undo, so it is never called.
type nothingToUndo struct{}

func (nothingToUndo) Undo(*Input) string { return "nothing to undo" }
