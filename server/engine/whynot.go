package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// WhyNot explains, for each runbook of a service, what holds it back: what the pending triggers were told, or what a
// trigger would be told now.
func (e *Engine) WhyNot(_ context.Context, service string) (*jv1.WhyNotResponse, error) {
	out := &jv1.WhyNotResponse{}
	var err error
	e.o.Store.Read(func(v store.View) {
		desk := continuity.Open(v, service, e.o.Now())
		if desk.Service.Msg == nil {
			err = fmt.Errorf("service %s: %w", service, ErrNotFound)
			return
		}
		for _, plan := range store.List[*jv1.Runbook](v, store.Runbooks) {
			entries := e.whyNot(v, desk, plan.Msg)
			out.Entries = append(out.Entries, entries...)
		}
	})
	return out, err
}

func (e *Engine) whyNot(v store.View, desk *continuity.Workspace, rb *jv1.Runbook) []*jv1.WhyNotEntry {
	var out []*jv1.WhyNotEntry
	entry := func(t *jv1.Trigger, guard continuity.Guard, text string, since *timestamppb.Timestamp) {
		out = append(out, &jv1.WhyNotEntry{
			Runbook: rb.GetName(), Trigger: t.GetName(), Reason: string(guard), Explanation: text, Since: since,
		})
	}
	pending := false
	for _, rec := range store.List[*jv1.Trigger](v, store.Triggers) {
		t := rec.Msg
		if t.GetState() != tsPending || t.GetService() != desk.Name() {
			continue
		}
		pending = true
		o := outcomeOf(t, rb.GetName())
		switch r := matches(desk, rb, t); {
		case o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED:
			entry(t, continuity.Guard(o.GetGuard()), explained(continuity.Guard(o.GetGuard()), o.GetDetail(), desk.Name()), o.GetTime())
		case r != nil && r.Guard != continuity.NoRunbook:
			entry(t, r.Guard, r.Detail, t.GetCreateTime())
		}
	}
	if pending || !slices.Contains(rb.GetServices(), desk.Name()) {
		return out
	}
	due := scheduled(v, desk.Name(), rb)
	switch {
	case rb.GetOn() != nil && due != "":
		entry(nil, "no_trigger", e.quiet(desk, rb)+"; "+due, nil)
	case rb.GetOn() != nil:
		entry(nil, "no_trigger", e.quiet(desk, rb), nil)
	case due != "":
		entry(nil, "no_trigger", "nothing asks for it: "+due, nil)
	}
	return out
}

// scheduled says when schedules start a runbook for a service. Empty: none does.
func scheduled(v store.View, service string, rb *jv1.Runbook) string {
	var texts []string
	for _, rec := range store.List[*jv1.Schedule](v, store.Schedules) {
		of, err := runbooks.ScheduledService(rec.Msg, rb)
		if rec.Msg.GetRunbook() != rb.GetName() || err != nil || of != service {
			continue
		}
		state := store.Get[*recordv1.ScheduleState](v, store.ScheduleStateKey(rec.Msg.GetName())).Msg
		switch {
		case rec.Msg.GetPaused():
			texts = append(texts, "schedule "+rec.Msg.GetName()+" is paused")
		case state.GetNextTime() != nil:
			texts = append(texts, "schedule "+rec.Msg.GetName()+" starts it at "+state.GetNextTime().AsTime().UTC().Format(time.RFC3339))
		}
	}
	return strings.Join(texts, ", ")
}

// quiet explains why nothing has asked for a runbook.
func (e *Engine) quiet(desk *continuity.Workspace, rb *jv1.Runbook) string {
	text := "nothing asks for it:"
	for _, p := range desk.Service.Msg.GetProviders() {
		h := desk.Health(p.GetName()).Msg
		text += fmt.Sprintf(" %s is %s", p.GetName(), continuity.StateName(h))
		if h.GetReason() != "" {
			text += " (" + h.GetReason() + ")"
		}
		text += ";"
	}
	return text + " it starts when " + whose(rb.GetOn().GetProvider()) + " becomes " + onWord(rb.GetOn().GetHealth())
}

// whose is the word for a provider in a sentence.
func whose(word string) string {
	switch word {
	case "", "active":
		return "the active provider"
	case "preferred":
		return "the preferred provider"
	case "any":
		return "any provider"
	default:
		return word
	}
}

func onWord(h jv1.OnHealth) string {
	switch h {
	case jv1.OnHealth_ON_HEALTH_HEALTHY:
		return "healthy again"
	case jv1.OnHealth_ON_HEALTH_BLOCKED:
		return "blocked"
	default:
		return "failing"
	}
}
