package engine

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// cooldown holds the next automatic start of the same runbook for the same provider back, counted from the end of a
// run that changed something. A run that changed nothing leaves none, and neither does one that no provider caused: the
// times of a schedule say themselves how far they are apart.
func cooldown(w *continuity.Workspace, run *jv1.Run, plan *jv1.Runbook) {
	acted := false
	for _, s := range run.GetSteps() {
		acted = acted || s.GetUndo() != nil
	}
	if !acted || run.GetTrigger() == "" || run.GetProvider() == "" || !isLive(run) {
		return
	}
	key := store.CooldownKey(run.GetService(), providerWord(run.GetProvider()), run.GetRunbook())
	last := continuity.Read[*recordv1.Cooldown](w, key).Msg
	d := cooldownAfter(plan.GetGuards(), last, w.Now)
	if d == 0 {
		return
	}
	until := w.Now.Add(d)
	w.Add(store.Put(key, &recordv1.Cooldown{
		Runbook: run.GetRunbook(), Service: run.GetService(), Provider: run.GetProvider(), Run: run.GetName(),
		Until: timestamppb.New(until), Length: durationpb.New(d), ForgetTime: timestamppb.New(until.Add(d)),
	}))
}

// cooldownAfter is how long the cooldown after a run is. A relapse, which is a run that ends while the last cooldown is
// remembered, doubles it: what comes back again and again is not mended by doing the same again and again.
func cooldownAfter(g *jv1.Guards, last *recordv1.Cooldown, now time.Time) time.Duration {
	d, most := runbooks.DefaultCooldown, runbooks.DefaultCooldownMax
	if c := g.GetCooldown(); c != nil {
		d = c.AsDuration()
	}
	if c := g.GetCooldownMax(); c != nil {
		most = c.AsDuration()
	}
	most = max(most, d)
	if last.GetForgetTime() == nil || !now.Before(last.GetForgetTime().AsTime()) {
		return d
	}
	return min(max(d, 2*last.GetLength().AsDuration()), most)
}

// cooling refuses a start while a cooldown for the provider runs: that of the runbook itself, or that of another one with
// the same effect, so that two runbooks don't undo each other's work in turn. The other's does not hold when more is at
// stake: nobody serves now, or the service is failing and the other one only brought it back.
func cooling(w *continuity.Workspace, plan *jv1.Runbook, provider string, failing bool) *continuity.Refusal {
	find := func(name string) *jv1.Runbook { return continuity.Read[*jv1.Runbook](w, store.RunbookKey(name)).Msg }
	var last *continuity.Refusal
	for _, c := range continuity.List[*recordv1.Cooldown](w, store.CooldownKey(w.Name(), providerWord(provider), "")) {
		until := c.Msg.GetUntil().AsTime()
		if !w.Now.Before(until) || last != nil && !until.After(last.Again) {
			continue
		}
		whose := "of it"
		if name := c.Msg.GetRunbook(); name != plan.GetName() {
			other := find(name)
			effect := runbooks.EffectOf(other, find)
			if effect == runbooks.EffectOutside || effect != runbooks.EffectOf(plan, find) || !serves(w) ||
				failing && other.GetOn().GetHealth() == jv1.OnHealth_ON_HEALTH_HEALTHY {
				continue
			}
			whose = "of " + name + ", which changes " + effect.String() + " as well,"
		}
		last = continuity.Refuse(continuity.Cooldown, "run %s %s ended for the same provider; it may start again at %s, or after an acknowledgement",
			c.Msg.GetRun(), whose, until.UTC().Format(time.RFC3339))
		last.Again = until
	}
	return last
}

// serves tells whether somebody serves: nothing is queued, and the active provider isn't known to fail.
func serves(w *continuity.Workspace) bool {
	switch w.Health(w.Active()).Msg.GetState() {
	case jv1.HealthState_HEALTH_STATE_FAILING, jv1.HealthState_HEALTH_STATE_BLOCKED:
		return false
	}
	return !w.State().GetQueueing()
}

// providerWord is a provider as a key part: a run that no provider caused has one too.
func providerWord(provider string) string {
	if provider == "" {
		return "-"
	}
	return provider
}
