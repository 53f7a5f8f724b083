package retention

import (
	"strconv"
	"strings"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// pair is a provider of a service.
type pair struct{ service, provider string }

// episodes holds the newest episode of each pair, as its health, its triggers and the marks of episodes know it.
type episodes map[pair]int64

func newestEpisodes(v store.View) episodes {
	e := episodes{}
	note := func(service, provider string, generation int64) {
		p := pair{service, provider}
		e[p] = max(e[p], generation)
	}
	for _, h := range store.List[*jv1.Health](v, store.HealthPrefix) {
		note(h.Msg.GetService(), h.Msg.GetProvider(), h.Msg.GetGeneration())
	}
	for _, t := range store.List[*jv1.Trigger](v, store.Triggers) {
		note(t.Msg.GetService(), t.Msg.GetProvider(), t.Msg.GetGeneration())
	}
	for _, rec := range store.List[*recordv1.Episode](v, store.Episodes) {
		if p, generation, ok := episodeOf(rec.Key); ok {
			note(p.service, p.provider, generation)
		}
	}
	return e
}

// episodeOf reads what the key of an episode's mark says.
func episodeOf(key string) (p pair, generation int64, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, store.Episodes), "/")
	if len(parts) != 4 {
		return p, 0, false
	}
	generation, err := strconv.ParseInt(parts[2], 10, 64)
	return pair{parts[0], parts[1]}, generation, err == nil
}

// triggerOver tells whether nothing rests on a trigger any more: it has ended, so has the run it started, and it is not
// of its provider's newest episode. That one would be fired a second time if it were not found, and tells from where a
// provider that leaves and comes back counts on.
func (e episodes) triggerOver(v store.View, t *jv1.Trigger) bool {
	if t.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING {
		return false
	}
	for _, o := range t.GetOutcomes() {
		if !over(v, o.GetRun()) {
			return false
		}
	}
	return t.GetGeneration() == 0 || t.GetGeneration() < e[pair{t.GetService(), t.GetProvider()}]
}

// markOver tells whether the mark of an episode keeps nothing back any more: its provider is in a later one, and its run
// is over. That of the newest episode stays, also when its run is long archived: it is what keeps the runbook to one run.
func (e episodes) markOver(v store.View, rec store.Record[*recordv1.Episode]) bool {
	p, generation, ok := episodeOf(rec.Key)
	return ok && generation < e[p] && over(v, rec.Msg.GetRun())
}

// over tells whether a run is not live: it has ended, or is not in the mirror.
func over(v store.View, run string) bool {
	rec := store.Get[*jv1.Run](v, store.RunKey(run))
	return rec.Msg == nil || runs.Ended(rec.Msg.GetState())
}
