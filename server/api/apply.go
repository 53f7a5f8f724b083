package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// plan is what an apply comes to on one view of the store.
type plan struct {
	results  []*jv1.ApplyResult
	warnings []string
	// problems are the mistakes; with any, nothing may be stored.
	problems []Violation
	// stale are the resources that aren't at the revision the caller expected.
	stale []string
	// refusal is a guard that refuses; nil: none does.
	refusal error
	// leftovers are services that come anew while records of a deleted one of that name are still there.
	leftovers []string

	compares map[string]store.Compare // by key
	writes   []store.Op
	created  []string
	updated  []string
}

// changes tells whether anything is to be written.
func (p *plan) changes() bool { return len(p.writes) > 0 }

// planApply decides what storing the resources means. It only reads; the same input gives the same plan.
func planApply(v store.View, batch []*declared, actor string, now time.Time) *plan {
	p := &plan{compares: map[string]store.Compare{}}
	given := make([]*jv1.Resource, 0, len(batch))
	for _, d := range batch {
		given = append(given, d.given)
	}
	problems, warnings := runbooks.ValidateResources(given, catalogOf(v))
	for _, found := range problems {
		p.problems = append(p.problems, Violation{Field: found.GetField(), Message: found.GetMessage()})
	}
	if p.warnings = warnings; len(p.problems) > 0 {
		return p
	}
	mine := map[string]bool{}
	for _, d := range batch {
		mine[d.key()] = true
	}
	for _, d := range batch {
		p.one(v, d, actor, now)
		p.refer(v, d, mine)
	}
	return p
}

// one decides about one resource.
func (p *plan) one(v store.View, d *declared, actor string, now time.Time) {
	msg, _, mod, exists := v.Lookup(d.key())
	result := &jv1.ApplyResult{Kind: d.kind.name, Name: d.name, Action: jv1.ApplyAction_APPLY_ACTION_CREATED}
	p.results = append(p.results, result)
	if d.expected != 0 && d.expected != mod {
		p.stale = append(p.stale, fmt.Sprintf("%s is at revision %d, not %d", d.id(), mod, d.expected))
	}
	if exists {
		result.Action = jv1.ApplyAction_APPLY_ACTION_UPDATED
		if d.same(msg) {
			result.Action = jv1.ApplyAction_APPLY_ACTION_UNCHANGED
			return
		}
	}
	p.compare(store.Unchanged(d.key(), mod))
	next := proto.Clone(d.msg)
	switch next := next.(type) {
	case *jv1.Service:
		p.service(v, next, exists, actor, now)
	case *jv1.Runbook:
		p.runbook(v, next)
		if exists {
			// Stored schedules were judged by the runbook as it was; none may join them meanwhile.
			p.compare(store.NoneNewer(store.Schedules, v.Revision()))
		}
	}
	setUpdateTime(next, now)
	p.writes = append(p.writes, store.Put(d.key(), next))
	if rb, ok := next.(*jv1.Runbook); ok {
		p.writes = append(p.writes, store.Put(store.RunbookRevisionKey(rb.GetName(), rb.GetVersion()), rb))
	}
	if exists {
		p.updated = append(p.updated, d.id())
	} else {
		p.created = append(p.created, d.id())
	}
}

// refer compares what a resource names and what was judged by it: a provider that is removed meanwhile, or a service
// that drops it, makes all of this be decided anew.
func (p *plan) refer(v store.View, d *declared, mine map[string]bool) {
	for _, key := range references(d.msg) {
		if _, _, mod, stored := v.Lookup(key); stored && !mine[key] {
			p.compare(store.Unchanged(key, mod))
		}
	}
}

func (p *plan) compare(c store.Compare) { p.compares[c.Key] = c }

// service adds the state of a new service, and keeps an active provider from being taken away. What is stored and names
// the service was judged by it as well, so nothing may join it meanwhile.
func (p *plan) service(v store.View, next *jv1.Service, exists bool, actor string, now time.Time) {
	name := next.GetName()
	key := store.ContinuityKey(name)
	state := store.Get[*jv1.ContinuityState](v, key)
	p.compare(store.Unchanged(key, state.Mod))
	if !exists && len(leftovers(v, name, 1)) > 0 {
		p.leftovers = append(p.leftovers, name)
	}
	if state.Msg == nil || !exists {
		first := continuity.Initial(next, continuity.Author{Actor: actor, Reason: "the service was declared"}, now)
		retired := store.Get[*jv1.ContinuityState](v, store.RetiredKey(name))
		p.compare(store.Unchanged(retired.Key, retired.Mod))
		if retired.Msg != nil {
			first.Epoch += retired.Msg.GetEpoch()
			p.writes = append(p.writes, store.Delete(retired.Key))
		}
		p.writes = append(p.writes, store.Put(key, first))
		return
	}
	p.compare(store.NoneNewer(store.Detectors, v.Revision()))
	p.compare(store.NoneNewer(store.Runbooks, v.Revision()))
	p.compare(store.NoneNewer(store.Schedules, v.Revision()))
	active := state.Msg.GetActiveProvider()
	if !slices.ContainsFunc(next.GetProviders(), func(sp *jv1.ServiceProvider) bool { return sp.GetName() == active }) {
		p.refusal = cmp.Or(p.refusal, refused("provider_active", fmt.Sprintf(
			"%s is the active provider of %s and can't be taken out of it; switch first", active, name)))
	}
}

// runbook gives a changed runbook its version: one more than any that there ever was under its name.
func (p *plan) runbook(v store.View, next *jv1.Runbook) {
	prefix := store.RunbookRevisionKey(next.GetName(), 0)
	prefix = prefix[:strings.LastIndexByte(prefix, '/')+1]
	last := int64(0)
	for _, r := range store.List[*jv1.Runbook](v, prefix) {
		last = max(last, r.Msg.GetVersion())
	}
	next.ContentHash = runbooks.Hash(next)
	next.Version = last + 1
	p.compare(store.Absent(store.RunbookRevisionKey(next.GetName(), next.GetVersion())))
}

func setUpdateTime(m proto.Message, now time.Time) {
	switch m := m.(type) {
	case *jv1.Provider:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Service:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Detector:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Channel:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Runbook:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Schedule:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Maintenance:
		m.UpdateTime = timestamppb.New(now)
	case *jv1.Settings:
		m.UpdateTime = timestamppb.New(now)
	}
}

// preconditions returns the compares in the order of their keys.
func (p *plan) preconditions() []store.Compare {
	var out []store.Compare
	for _, key := range slices.Sorted(maps.Keys(p.compares)) {
		out = append(out, p.compares[key])
	}
	return out
}
