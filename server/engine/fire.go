package engine

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/store"
)

// defaultExpiry is how long a client's word is about now when no episode says how long.
const defaultExpiry = time.Hour

// Fire stores a trigger and starts what it asks for, in one transaction where a runbook can start at once. The trigger
// returned says what became of each runbook. Errors are as those of [Engine.Start].
func (e *Engine) Fire(ctx context.Context, req *jv1.FireTriggerRequest) (*jv1.Trigger, error) {
	session, _, err := e.current()
	if err != nil {
		return nil, err
	}
	if e.full() {
		return nil, ErrBusy
	}
	actor := audit.From(ctx).Principal
	for range maxTries {
		guard, err := request.Begin(ctx, e.o.Store, actor, req.GetRequestId(), req, e.o.Now())
		if err != nil {
			return nil, err
		}
		if name, again := guard.Result(); again {
			return e.triggerOf(ctx, name)
		}
		var ev evaluation
		e.o.Store.Read(func(v store.View) {
			var t *jv1.Trigger
			if t, err = e.asked(v, req, actor); err == nil {
				ev, err = e.evaluate(v, session, t, 0)
			}
		})
		if err != nil {
			return nil, err
		}
		ev.txn.Then = append(ev.txn.Then, audit.Op(ctx, e.o.Now(), audit.Change{
			Target: "triggers/" + ev.trigger.GetName(), Reason: req.GetReason(),
			Details: map[string]string{"service": req.GetService(), "provider": ev.trigger.GetProvider(), "runbook": req.GetRunbook()},
		}))
		guard.Guard(&ev.txn, ev.trigger.GetName())
		committed, err := e.carryOut(ctx, session, ev)
		if err != nil {
			return nil, fmt.Errorf("fire trigger: %w", err)
		}
		if committed {
			return e.triggerOf(ctx, ev.trigger.GetName())
		}
	}
	return nil, continuity.Refuse(continuity.Contended, "the facts changed %d times while it was decided; try again", maxTries)
}

// asked makes the trigger a client asks for. It belongs to the provider's open episode if there is one, so that it
// attaches to a run that is there already.
func (e *Engine) asked(v store.View, req *jv1.FireTriggerRequest, actor string) (*jv1.Trigger, error) {
	desk := continuity.Open(v, req.GetService(), e.o.Now())
	if desk.Service.Msg == nil {
		return nil, fmt.Errorf("service %s: %w", req.GetService(), ErrNotFound)
	}
	provider := desk.Resolve(req.GetProvider())
	known := false
	for _, p := range desk.Service.Msg.GetProviders() {
		known = known || p.GetName() == provider
	}
	if !known {
		return nil, fmt.Errorf("%s is not a provider of %s: %w", provider, req.GetService(), ErrInvalid)
	}
	if req.GetRunbook() != "" {
		plan := store.Get[*jv1.Runbook](v, store.RunbookKey(req.GetRunbook())).Msg
		if plan == nil {
			return nil, fmt.Errorf("runbook %s: %w", req.GetRunbook(), ErrNotFound)
		}
		if _, err := serviceOf(plan, req.GetService()); err != nil {
			return nil, err
		}
		if err := checkParameters(v, plan, req.GetService(), req.GetParameters()); err != nil {
			return nil, err
		}
	}
	t := &jv1.Trigger{
		Name: store.NewID("g", desk.Now), Cause: jv1.TriggerCause_TRIGGER_CAUSE_CLIENT, Service: req.GetService(), Provider: provider,
		Health: jv1.HealthState_HEALTH_STATE_FAILING, Runbook: req.GetRunbook(), Parameters: req.GetParameters(),
		Reason: req.GetReason(), Actor: actor, State: tsPending, CreateTime: timestamppb.New(desk.Now),
	}
	h := desk.Health(provider).Msg
	switch h.GetState() {
	case jv1.HealthState_HEALTH_STATE_SUSPECT, jv1.HealthState_HEALTH_STATE_FAILING, jv1.HealthState_HEALTH_STATE_BLOCKED:
		t.Generation, t.Onset, t.Evidence = h.GetGeneration(), h.GetOnset(), h.GetEvidence()
	}
	switch d := req.GetExpireIn(); {
	case d != nil:
		t.ExpireTime = timestamppb.New(desk.Now.Add(d.AsDuration()))
	case t.GetGeneration() == 0:
		t.ExpireTime = timestamppb.New(desk.Now.Add(defaultExpiry))
	}
	return t, nil
}

// triggerOf returns the trigger of that name, also when it is archived.
func (e *Engine) triggerOf(ctx context.Context, name string) (*jv1.Trigger, error) {
	rec, err := recorded[*jv1.Trigger](ctx, e.o.Store, store.TriggerKey(name), name, archive.Trigger)
	switch {
	case err != nil:
		return nil, fmt.Errorf("trigger %s: %w", name, err)
	case rec.Msg == nil:
		return nil, fmt.Errorf("trigger %s: %w", name, ErrNotFound)
	}
	t := proto.CloneOf(rec.Msg)
	t.Revision = rec.Mod
	return t, nil
}

// expired tells whether a trigger is no longer wanted.
func expired(t *jv1.Trigger, now time.Time) bool {
	return t.GetExpireTime() != nil && !now.Before(t.GetExpireTime().AsTime())
}

// expire clears a trigger that was held back for too long, and says so for each runbook that it asked for in vain.
func expire(t *jv1.Trigger, now time.Time) {
	clearTrigger(t, "expired at "+t.GetExpireTime().AsTime().UTC().Format(time.RFC3339), now)
}

// clearTrigger ends a trigger before all that it asked for has started, and writes down why.
func clearTrigger(t *jv1.Trigger, why string, now time.Time) {
	t.State, t.EndTime = tsCleared, timestamppb.New(now)
	for _, o := range t.GetOutcomes() {
		if o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED {
			o.Detail = fmt.Sprintf("%s, held back until then: %s", why, o.GetDetail())
			o.Time = timestamppb.New(now)
		}
	}
}
