package continuity

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/store"
)

// CheckMachines refuses what machines may not do now because a human said so: automation is off, or the guards were
// overruled. Humans are never refused by it.
func (w *Workspace) CheckMachines() *Refusal { return w.CheckMachine("") }

// CheckMachine is [Workspace.CheckMachines] for a run, which goes on when it stopped the machines itself.
func (w *Workspace) CheckMachine(run string) *Refusal {
	if r := w.CheckAutomationOf(run); r != nil {
		return r
	}
	return w.CheckBreakGlass()
}

// CheckBreakGlass refuses while a human's break-glass stands. It stands until a human takes the switch back, makes
// another one through the guards, or acknowledges.
func (w *Workspace) CheckBreakGlass() *Refusal {
	s := w.State()
	if !s.GetBreakGlass() {
		return nil
	}
	return refuse(BreakGlass, "a human holds %s on %s past the guards; last word of %s: %s", w.name, s.GetActiveProvider(), s.GetActor(), s.GetReason())
}

// CheckTarget refuses a provider that a switch must not go to.
func (w *Workspace) CheckTarget(provider string) *Refusal {
	if w.Service.Msg == nil || w.State() == nil {
		return refuse(UnknownService, "there is no service %s", w.name)
	}
	if !slices.ContainsFunc(w.Service.Msg.GetProviders(), func(p *jv1.ServiceProvider) bool { return p.GetName() == provider }) {
		return refuse(UnknownProvider, "%s is not a provider of %s", provider, w.name)
	}
	if r := w.checkCapabilities(provider); r != nil {
		return r
	}
	if short := runbooks.Shortage(w.Service.Msg, provider); short != "" {
		return refuse(TargetTooSmall, "%s", short)
	}
	if other := runbooks.OtherModels(w.Service.Msg, provider); other != "" {
		return refuse(TargetOtherModels, "%s keeps its models, but %s", w.name, other)
	}
	h := w.Health(provider)
	if h.Msg.GetState() != jv1.HealthState_HEALTH_STATE_HEALTHY {
		state := StateName(h.Msg)
		if active := w.Active(); active != provider &&
			w.Health(active).Msg.GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY {
			return refuse(LastHealthy, "%s is healthy and %s is %s", active, provider, state)
		}
		return refuse(TargetUnhealthy, "%s is %s", provider, state)
	}
	if !w.Proven(provider) {
		return refuse(TargetUnproven, "no unexpired evidence says that %s serves", provider)
	}
	return nil
}

// Switch makes provider the active one, with all of the traffic, if the guards allow. When it already is, only weights
// are taken back and the mark of a break-glass is lifted: the guards would allow the route now. A machine's switch takes
// a slot of the fleet-wide limit.
func (w *Workspace) Switch(provider string, provisional bool, a Author) *Refusal {
	if r := w.CheckTarget(provider); r != nil {
		return r
	}
	if provider == w.Active() {
		w.setWeights(nil, a)
		w.mark(a)
		return nil
	}
	if a.Machine {
		if r := w.takeSlot(a.Run); r != nil {
			return r
		}
	}
	w.route(provider, provisional, a)
	return nil
}

// ForceSwitch makes provider the active one past the guards; only one that the service has. It is marked when a guard
// was overruled; so is the active provider, which then stays.
func (w *Workspace) ForceSwitch(provider string, a Author) *Refusal {
	r := w.CheckTarget(provider)
	if r != nil && (r.Guard == UnknownService || r.Guard == UnknownProvider) {
		return r
	}
	a.BreakGlass = r != nil
	if provider == w.Active() {
		w.setWeights(nil, a)
		w.mark(a)
		return nil
	}
	w.route(provider, false, a)
	return nil
}

func (w *Workspace) checkCapabilities(provider string) *Refusal {
	p := Read[*jv1.Provider](w, store.ProviderKey(provider))
	if p.Msg == nil {
		return refuse(UnknownProvider, "there is no provider %s", provider)
	}
	if len(p.Msg.GetCapabilities()) == 0 {
		return nil
	}
	for _, need := range w.Service.Msg.GetNeeds() {
		if !slices.Contains(p.Msg.GetCapabilities(), need) {
			return refuse(TargetIncapable, "%s needs %s and %s does not offer it", w.name, need, provider)
		}
	}
	return nil
}

// Proven tells whether an unexpired signal says that the provider serves. A provider's own status page does not count.
// Only the record that proves it is compared: others may change meanwhile.
func (w *Workspace) Proven(provider string) bool {
	found := false
	visit := func(key string, mod int64, signals ...*jv1.Signal) bool {
		for _, s := range signals {
			if Proves(s, provider, w.Now) {
				w.read[key] = mod
				found = true
			}
		}
		return !found
	}
	w.view.Each(store.VotesKey(w.name, ""), func(key string, msg proto.Message, _, mod int64) bool {
		v, ok := msg.(*recordv1.Votes)
		return !ok || visit(key, mod, v.GetSignals()...)
	})
	if !found {
		w.view.Each(reportsPrefix(w.name, provider), func(key string, msg proto.Message, _, mod int64) bool {
			r, ok := msg.(*recordv1.Report)
			return !ok || visit(key, mod, r.GetSignal())
		})
	}
	return found
}

// Proves tells whether a signal is unexpired evidence that the provider serves.
func Proves(s *jv1.Signal, provider string, now time.Time) bool {
	return s.GetProvider() == provider && s.GetState() == jv1.SignalState_SIGNAL_STATE_OK &&
		s.GetClass() != jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED && now.Before(s.GetValidUntil().AsTime())
}

func reportsPrefix(service, provider string) string {
	return store.Reports + service + "/" + provider + "/"
}

// StateName is how people read a health: upper case without prefix, UNKNOWN when there is none.
func StateName(h *jv1.Health) string {
	if h == nil {
		return "UNKNOWN"
	}
	return strings.TrimPrefix(h.GetState().String(), "HEALTH_STATE_")
}
