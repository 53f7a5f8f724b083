package detect

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// verdict is what a picture of the store comes to for one pair, with the transaction that makes it true.
type verdict struct {
	health    *jv1.Health // nil: the pair is not declared any more
	reason    Reason
	trigger   string // id of the trigger it makes; empty: none
	lookAgain time.Time
	gapSince  time.Time
	txn       store.Txn // without writes when nothing changed
}

// deliberate judges a pair by a picture of the store. The transaction compares the health record, the rule, every record
// that was counted and that nothing was added to those that could have been.
func deliberate(v store.View, p pair, gap time.Time, now time.Time) verdict {
	service := store.Get[*jv1.Service](v, store.ServiceKey(p.service))
	health := store.Get[*jv1.Health](v, store.HealthKey(p.service, p.provider))
	basis := []store.Compare{store.Unchanged(health.Key, health.Mod), store.Unchanged(service.Key, service.Mod)}
	if !declares(service.Msg, p.provider) {
		return dismiss(v, p, health, basis, now)
	}
	e := gather(v, p, now)
	f := Facts{
		Service: p.service, Provider: p.provider, Rule: service.Msg.GetHealth(), Signals: e.signals,
		Previous: health.Msg, Now: now, GapSince: gap,
	}
	if health.Msg == nil {
		f.Generation = lastGeneration(v, p)
	}
	j := Judge(f)
	out := verdict{health: j.Health, reason: j.Reason, lookAgain: j.LookAgain, gapSince: j.GapSince}
	if !j.Changed {
		return out
	}
	put := store.Put(health.Key, j.Health)
	out.txn = store.Txn{
		If: append(basis, e.compares...), Then: []store.Op{put}, Witness: put.Key,
		Mine: func(value []byte) bool { return bytes.Equal(value, put.Value) },
	}
	out.fire(v, health.Msg, now)
	return out
}

func declares(s *jv1.Service, provider string) bool {
	for _, p := range s.GetProviders() {
		if p.GetName() == provider {
			return true
		}
	}
	return false
}

// dismiss removes the health of a provider that the service does not name any more, and ends what waits for it.
func dismiss(v store.View, p pair, health store.Record[*jv1.Health], basis []store.Compare, now time.Time) verdict {
	if health.Msg == nil {
		return verdict{}
	}
	out := verdict{reason: notDeclared, txn: store.Txn{If: basis, Then: []store.Op{store.Delete(health.Key)}}}
	out.clear(v, p, now, func(*jv1.Trigger) bool { return true })
	return out
}

// notDeclared says that the service does not name the provider any more.
const notDeclared Reason = "not_declared"

// bench is the evidence of a pair with the compares that hold it still.
type bench struct {
	signals  []*jv1.Signal
	compares []store.Compare
}

// maxCompares is the most compares of counted records. Beyond it, a record that is changed is still noticed by the
// compare of its prefix; one that is removed is not, and we remove only what has long expired.
const maxCompares = store.MaxOps - 10

// gather reads the evidence about a pair: votes and reports of detectors that are declared and bound to it, and the
// operator's word.
func gather(v store.View, p pair, now time.Time) bench {
	votes, reports := store.VotesKey(p.service, ""), store.Reports+p.service+"/"+p.provider+"/"
	b := bench{compares: []store.Compare{store.NoneNewer(votes, v.Revision()), store.NoneNewer(reports, v.Revision())}}
	bound := map[string]bool{}
	speaks := func(source string) bool {
		ok, known := bound[source]
		if !known {
			d := store.Get[*jv1.Detector](v, store.DetectorKey(source))
			ok = d.Msg != nil && speaksOf(d.Msg, p.service, p.provider)
			bound[source] = ok
			b.compare(d.Key, d.Mod)
		}
		return ok
	}
	for _, r := range store.List[*recordv1.Votes](v, votes) {
		counted := false
		for _, s := range r.Msg.GetSignals() {
			if s.GetProvider() == p.provider && speaks(s.GetSource()) {
				b.signals = append(b.signals, s)
				counted = true
			}
		}
		if counted {
			b.compare(r.Key, r.Mod)
		}
	}
	for _, r := range store.List[*recordv1.Report](v, reports) {
		s := r.Msg.GetSignal()
		if !unexpired(s, now) || s.GetClass() != jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR && !speaks(s.GetSource()) {
			continue
		}
		b.signals = append(b.signals, s)
		b.compare(r.Key, r.Mod)
	}
	return b
}

func (b *bench) compare(key string, revision int64) {
	if len(b.compares) < maxCompares {
		b.compares = append(b.compares, store.Unchanged(key, revision))
	}
}

// fire adds the trigger that a change of health makes, and clears the ones it makes moot. A relapse within an episode
// finds its trigger there already and makes no second one.
func (out *verdict) fire(v store.View, previous *jv1.Health, now time.Time) {
	h := out.health
	p := pair{h.GetService(), h.GetProvider()}
	before := stateOf(previous)
	var suffix string
	switch state := h.GetState(); {
	case state == before:
		return
	case state == jv1.HealthState_HEALTH_STATE_FAILING, state == jv1.HealthState_HEALTH_STATE_BLOCKED:
		suffix = healthName(state)
		out.clear(v, p, now, func(t *jv1.Trigger) bool { return t.GetHealth() == jv1.HealthState_HEALTH_STATE_HEALTHY })
	case state == jv1.HealthState_HEALTH_STATE_HEALTHY && h.GetFailed():
		suffix = healthName(state)
		out.clear(v, p, now, func(t *jv1.Trigger) bool { return t.GetHealth() != jv1.HealthState_HEALTH_STATE_HEALTHY })
	default:
		return
	}
	id := triggerPrefix(p) + strconv.FormatInt(h.GetGeneration(), 10) + "." + suffix
	key := store.TriggerKey(id)
	if store.Get[*jv1.Trigger](v, key).Msg != nil {
		return
	}
	out.trigger = id
	out.txn.If = append(out.txn.If, store.Absent(key))
	out.txn.Then = append(out.txn.Then, store.Put(key, &jv1.Trigger{
		Name: id, Cause: jv1.TriggerCause_TRIGGER_CAUSE_HEALTH, State: jv1.TriggerState_TRIGGER_STATE_PENDING,
		Service: p.service, Provider: p.provider, Health: h.GetState(), Generation: h.GetGeneration(),
		Reason: explain(h), Actor: actor(h), Evidence: h.GetEvidence(), Onset: h.GetOnset(), CreateTime: timestamppb.New(now),
	}))
}

// actor is who made the health what it is: the operator whose word counted, else the machine.
func actor(h *jv1.Health) string {
	if reason := Reason(h.GetReason()); reason == OperatorFailing || reason == OperatorOK {
		for _, s := range h.GetEvidence() {
			if who := s.GetLabels()[labelPrincipal]; who != "" && s.GetClass() == jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR {
				return who
			}
		}
	}
	return audit.Machine
}

// triggerPrefix begins the ids of a pair's triggers. Names hold dashes but no dots, so no two pairs share an id.
func triggerPrefix(p pair) string { return fmt.Sprintf("h.%s.%s.", p.service, p.provider) }

// clear marks the pair's pending triggers that fit as cleared.
func (out *verdict) clear(v store.View, p pair, now time.Time, fits func(*jv1.Trigger) bool) {
	for _, t := range store.List[*jv1.Trigger](v, store.TriggerKey(triggerPrefix(p))) {
		if t.Msg.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING || !fits(t.Msg) {
			continue
		}
		cleared := proto.CloneOf(t.Msg)
		cleared.State, cleared.EndTime = jv1.TriggerState_TRIGGER_STATE_CLEARED, timestamppb.New(now)
		out.txn.If = append(out.txn.If, store.Unchanged(t.Key, t.Mod))
		out.txn.Then = append(out.txn.Then, store.Put(t.Key, cleared))
	}
}

// lastGeneration is the highest generation that triggers or episodes of a pair know. A provider that is taken out of a
// service and comes back goes on from there: its old triggers would else be taken for those of the new episode.
func lastGeneration(v store.View, p pair) int64 {
	var last int64
	for _, t := range store.List[*jv1.Trigger](v, store.TriggerKey(triggerPrefix(p))) {
		last = max(last, t.Msg.GetGeneration())
	}
	prefix := store.Episodes + p.service + "/" + p.provider + "/"
	v.Each(prefix, func(key string, _ proto.Message, _, _ int64) bool {
		if n, err := strconv.ParseInt(after(prefix, key)[0], 10, 64); err == nil {
			last = max(last, n)
		}
		return true
	})
	return last
}
