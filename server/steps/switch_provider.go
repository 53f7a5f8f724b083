package steps

import (
	"slices"
	"strconv"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
)

const (
	defaultWithin = time.Minute
	outTo         = "to"
	outFrom       = "from"
	outSince      = "since"
)

// Probes tells what a detector saw of a provider from this replica.
type Probes interface {
	// Successes returns how many probes in a row succeeded, counted from the first that was begun after since.
	Successes(detector, service, provider string, since time.Time) int
}

// switchProvider makes the first candidate that passes the guards the active provider. With `confirm` the switch is
// provisional until proven; a candidate that is not proven in time gives way to the next, and when none is left the
// provider the step began with is taken back if it passes the guards itself (protocol P9).
type switchProvider struct{ probes Probes }

func (k switchProvider) Advance(in *Input) Move {
	if r := in.checkAutomation(); r != nil {
		return in.fail("%v", r)
	}
	spec := in.Step.GetSwitchProvider()
	if in.At.GetOutput()[outTo] == "" {
		return k.pick(in, spec)
	}
	return k.confirm(in, spec)
}

func (k switchProvider) pick(in *Input, spec *jv1.SwitchProviderStep) Move {
	w := in.Desk
	var refused []string
	for _, candidate := range w.Candidates(spec.GetTo()) {
		if slices.Contains(in.At.GetTried(), candidate) {
			refused = append(refused, candidate+" was not confirmed")
			continue
		}
		from, provisional := w.Active(), spec.GetConfirm() != nil && candidate != w.Active()
		if in.DryRun() {
			if r := w.CheckTarget(candidate); r != nil {
				refused = append(refused, r.Error())
				continue
			}
			return in.done("would switch %s from %s to %s", w.Name(), from, candidate)
		}
		weights := w.State().GetWeights()
		r := w.Switch(candidate, provisional, in.Author())
		if r != nil && r.Guard == continuity.SwitchLimit {
			return k.limited(in, r)
		}
		if r != nil {
			refused = append(refused, r.Error())
			continue
		}
		return k.picked(in, spec, picked{from: from, to: candidate, weights: weights})
	}
	return k.exhausted(in, refused)
}

// limited waits until machines may switch again, all services together. Only the step's timeout bounds it: the
// candidate is well, and there is no better one.
func (switchProvider) limited(in *Input, r *continuity.Refusal) Move {
	deadline := in.deadline(0)
	if reached(in.Desk.Now, deadline) {
		return in.fail("%v", r)
	}
	m := in.sleep(r.Again, deadline, "waits: %v", r)
	m.Held = r
	return m
}

// picked is a switch that was made, and what it replaced.
type picked struct {
	from, to string
	weights  map[string]int32
}

func (k switchProvider) picked(in *Input, spec *jv1.SwitchProviderStep, p picked) Move {
	w, from, candidate := in.Desk, p.from, p.to
	undo := in.At.GetUndo()
	if undo == nil && (from != candidate || len(p.weights) > 0) {
		undo = &jv1.Undo{Provider: from, Queueing: w.State().GetQueueing(), Epoch: w.State().GetEpoch(), Weights: p.weights}
	}
	output := map[string]string{outTo: candidate, outFrom: from, outSince: strconv.FormatInt(w.Now.UnixNano(), 10)}
	if spec.GetConfirm() == nil || from == candidate {
		m := in.done("%s is served by %s", w.Name(), candidate)
		if from == candidate {
			w.Confirm() // it may be provisional since an earlier try of this step
			m.Event.Message = candidate + " already serves " + w.Name()
		}
		m.Event.Output, m.Event.Undo, m.Event.Restored = output, undo, true
		return m
	}
	within := defaultWithin
	if d := spec.GetConfirm().GetWithin(); d != nil {
		within = d.AsDuration()
	}
	m := Move{Then: Sleep, Until: w.Now.Add(within)}
	m.Event = in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING,
		"switched %s from %s to %s, to be confirmed within %v", w.Name(), from, candidate, within)
	m.Event.Wake, m.Event.Output, m.Event.Undo = m.Until, output, undo
	return m
}

// confirm looks whether the provisional switch is proven, refuted, or out of time.
func (k switchProvider) confirm(in *Input, spec *jv1.SwitchProviderStep) Move {
	w, candidate := in.Desk, in.At.GetOutput()[outTo]
	if w.Active() != candidate {
		return in.fail("%v", continuity.Refuse(continuity.Overtaken, "%s was switched to %s by %s meanwhile",
			w.Name(), w.Active(), w.State().GetActor()))
	}
	if k.proven(in, spec.GetConfirm(), candidate) {
		w.Confirm()
		m := in.done("%s is served by %s, confirmed", w.Name(), candidate)
		m.Event.Restored = true
		return m
	}
	why := ""
	switch w.Health(candidate).Msg.GetState() {
	case jv1.HealthState_HEALTH_STATE_FAILING, jv1.HealthState_HEALTH_STATE_BLOCKED:
		why = candidate + " came to fail"
	default:
		if reached(w.Now, in.At.GetWakeTime().AsTime()) {
			why = candidate + " was not confirmed in time"
		}
	}
	if why == "" {
		return Move{Then: Sleep, Until: in.At.GetWakeTime().AsTime()}
	}
	m := Move{Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_CANDIDATE_FAILED, "%s", why)}
	m.Event.Candidate = candidate
	m.Event.Output = map[string]string{outTo: ""}
	return m
}

// proven tells whether the target showed, after the switch, what the step asks for.
func (k switchProvider) proven(in *Input, c *jv1.Confirm, candidate string) bool {
	if c.GetDetector() == "" {
		return reached(in.Desk.Now, in.At.GetWakeTime().AsTime()) && in.Desk.CheckTarget(candidate) == nil
	}
	nanos, err := strconv.ParseInt(in.At.GetOutput()[outSince], 10, 64)
	if err != nil {
		return false
	}
	return k.probes.Successes(c.GetDetector(), in.Desk.Name(), candidate, time.Unix(0, nanos)) >= max(1, int(c.GetSuccesses()))
}

// exhausted is what happens when no candidate is left: a provisional route is taken back if the provider before passes
// the guards, else it is kept, for it serves no worse.
func (k switchProvider) exhausted(in *Input, refused []string) Move {
	text := "no candidate passes: " + strings.Join(refused, "; ")
	if undo := in.At.GetUndo(); undo != nil && len(in.At.GetTried()) > 0 {
		if r := in.Desk.Switch(undo.GetProvider(), false, in.Author()); r != nil {
			in.Desk.Confirm()
			text += "; kept " + in.Desk.Active() + ", because " + r.Error()
		} else {
			text += "; back to " + undo.GetProvider()
		}
	}
	m := in.fail("%s", text)
	m.Event.Output = map[string]string{outTo: ""}
	return m
}

func (k switchProvider) Undo(in *Input) string {
	w, undo := in.Desk, in.At.GetUndo()
	if w.State().GetRun() != in.Run.GetName() {
		return "left as it is: " + w.Active() + " was set by somebody else"
	}
	text := w.Active() + " is back already"
	if w.Active() != undo.GetProvider() {
		if r := w.Switch(undo.GetProvider(), false, in.Author()); r != nil {
			return "kept " + w.Active() + ", because " + r.Error()
		}
		text = "switched back to " + undo.GetProvider()
	}
	if len(undo.GetWeights()) > 0 {
		text += "; " + w.RestoreWeights(undo.GetWeights(), in.Author())
	}
	return text
}
