package steps

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// graceOfVerify is how much longer than what must hold a verify may take when its step has no timeout.
const graceOfVerify = 5 * time.Minute

// verify proves health: it must hold without a break for a time, counted from the later of the step's begin and the
// begin of the health itself.
type verify struct{ nothingToUndo }

func (verify) Advance(in *Input) Move {
	spec, w := in.Step.GetVerify(), in.Desk
	if in.DryRun() {
		return in.done("would prove that %s is healthy", w.Resolve(spec.GetProvider()))
	}
	provider, need := w.Resolve(spec.GetProvider()), spec.GetFor().AsDuration()
	deadline := in.deadline(need + graceOfVerify)
	h := w.Health(provider).Msg
	if h.GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY && w.Proven(provider) {
		from := in.started()
		if s := h.GetSince().AsTime(); s.After(from) {
			from = s
		}
		if end := from.Add(need); !w.Now.Before(end) {
			return in.done("%s is healthy since %s", provider, h.GetSince().AsTime().UTC().Format(time.RFC3339))
		} else if !reached(w.Now, deadline) {
			return in.sleep(end, deadline, "%s must stay healthy until %s", provider, end.UTC().Format(time.RFC3339))
		}
	}
	if reached(w.Now, deadline) {
		return in.fail("%s was not healthy for %v in time", provider, need)
	}
	return in.sleep(w.Now.Add(time.Second), deadline, "%s must become healthy", provider)
}
