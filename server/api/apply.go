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
	c := newCatalog(v, batch)
	first := map[string]*declared{}
	for _, d := range batch {
		if other, twice := first[d.key()]; twice {
			p.wrong(d, "name", fmt.Sprintf("%s is in this request already, as %s", d.id(), other.field))
			continue
		}
		first[d.key()] = d
		p.one(c, d, actor, now)
	}
	p.problems = append(p.problems, checkAll(c, batch)...)
	p.warnings = append(p.warnings, warnings(c, batch)...)
	return p
}

func (p *plan) wrong(d *declared, field, message string) {
	p.problems = append(p.problems, Violation{Field: joinPath(d.field, field), Message: message})
}

func joinPath(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "." + b
}

// one decides about one resource.
func (p *plan) one(c *catalog, d *declared, actor string, now time.Time) {
	msg, _, mod, exists := c.view.Lookup(d.key())
	result := &jv1.ApplyResult{Kind: d.kind.name, Name: d.name, Action: jv1.ApplyAction_APPLY_ACTION_CREATED}
	p.results = append(p.results, result)
	if d.expected != 0 && d.expected != mod {
		p.stale = append(p.stale, fmt.Sprintf("%s is at revision %d, not %d", d.id(), mod, d.expected))
	}
	p.refer(c, d)
	if exists {
		result.Action = jv1.ApplyAction_APPLY_ACTION_UPDATED
		if proto.Equal(strip(msg), d.msg) {
			result.Action = jv1.ApplyAction_APPLY_ACTION_UNCHANGED
			return
		}
	}
	p.compare(store.Unchanged(d.key(), mod))
	next := proto.Clone(d.msg)
	switch next := next.(type) {
	case *jv1.Service:
		p.service(c, d, next, exists, actor, now)
	case *jv1.Runbook:
		p.runbook(c.view, next)
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

// refer looks at what a resource names: it must be there, and stay until this is stored.
func (p *plan) refer(c *catalog, d *declared) {
	for _, r := range references(d.msg) {
		key := r.kind.key(r.name)
		switch _, create, _, stored := c.view.Lookup(key); {
		case !isName(r.name) || !c.has(key):
			p.wrong(d, r.field, fmt.Sprintf("there is no %s %q, neither stored nor in this request", r.kind.name, shortened(r.name)))
		case stored && c.batch[key] == nil:
			p.compare(store.Compare{Key: key, Field: store.CreateRevision, Relation: store.Equal, Revision: create})
		}
	}
}

// compare adds a precondition; for one key the stricter one, on its last change, counts.
func (p *plan) compare(c store.Compare) {
	if known, ok := p.compares[c.Key]; ok && known.Field == store.ModRevision {
		return
	}
	p.compares[c.Key] = c
}

// service adds the state of a new service, and keeps an active provider from being taken away.
func (p *plan) service(c *catalog, d *declared, next *jv1.Service, exists bool, actor string, now time.Time) {
	key := store.ContinuityKey(d.name)
	state := store.Get[*jv1.ContinuityState](c.view, key)
	p.compare(store.Unchanged(key, state.Mod))
	if !exists && hasLeftovers(c.view, d.name) {
		p.leftovers = append(p.leftovers, d.name)
	}
	if state.Msg == nil || !exists {
		p.writes = append(p.writes, store.Put(key, continuity.Initial(next, continuity.Author{Actor: actor, Reason: "the service was declared"}, now)))
		return
	}
	active := state.Msg.GetActiveProvider()
	if !slices.ContainsFunc(next.GetProviders(), func(sp *jv1.ServiceProvider) bool { return sp.GetName() == active }) {
		p.refusal = cmp.Or(p.refusal, refused("provider_active", fmt.Sprintf(
			"%s is the active provider of %s and can't be taken out of it; switch first", active, d.name)))
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
	next.ContentHash = contentHash(next)
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
