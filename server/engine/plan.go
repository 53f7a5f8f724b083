package engine

import (
	"context"
	"fmt"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// Plan says what a run would do if it started now: the guards, then the steps.
func (e *Engine) Plan(_ context.Context, req *jv1.PlanRunbookRequest) (*jv1.Plan, error) {
	var out *jv1.Plan
	var err error
	e.o.Store.Read(func(v store.View) {
		plan := store.Record[*jv1.Runbook]{Msg: req.GetRunbook()}
		if req.GetName() != "" {
			plan = store.Get[*jv1.Runbook](v, store.RunbookKey(req.GetName()))
		}
		if plan.Msg == nil {
			err = fmt.Errorf("runbook %s: %w", req.GetName(), ErrNotFound)
			return
		}
		rb := runbooks.Normalize(plan.Msg)
		service := req.GetService()
		if service == "" {
			service = rb.GetServices()[0]
		}
		if service, err = serviceOf(rb, service); err != nil {
			return
		}
		if err = checkParameters(v, rb, service, req.GetParameters()); err != nil {
			return
		}
		out = runbooks.Outline(rb, func(name string) *jv1.Runbook {
			return store.Get[*jv1.Runbook](v, store.RunbookKey(name)).Msg
		})
		out.Service = service
		if r := e.wouldStart(v, service, rb, e.o.Now()); r != nil {
			out.Guard, out.Detail = string(r.Guard), explained(r.Guard, r.Detail, service)
			return
		}
		out.WouldStart = true
	})
	return out, err
}

// wouldStart passes a runbook through the guards of an automatic start, without a trigger.
func (e *Engine) wouldStart(v store.View, service string, rb *jv1.Runbook, now time.Time) *continuity.Refusal {
	desk := continuity.Open(v, service, now)
	if desk.Service.Msg == nil {
		return continuity.Refuse(continuity.UnknownService, "there is no service %s", service)
	}
	if r := desk.CheckMachines(); r != nil {
		return r
	}
	if _, r := (&start{desk: desk, plan: store.Record[*jv1.Runbook]{Msg: rb}}).layOut(); r != nil {
		return r
	}
	provider := desk.Resolve(rb.GetOn().GetProvider())
	if r := desk.CheckMaintenance(provider); r != nil {
		return r
	}
	if r := cooling(desk, rb, provider, rb.GetOn().GetHealth() != jv1.OnHealth_ON_HEALTH_HEALTHY); r != nil {
		return r
	}
	if runbooks.Switches(rb, func(name string) *jv1.Runbook { return store.Get[*jv1.Runbook](v, store.RunbookKey(name)).Msg }) {
		if r := desk.CheckSwitchLimit(""); r != nil {
			return r
		}
	}
	s := &start{e: e, desk: desk, plan: store.Record[*jv1.Runbook]{Msg: rb}, mode: jv1.RunMode_RUN_MODE_LIVE}
	if _, verdict, done := s.lock(); done {
		return verdict.refusal
	}
	if level := (&start{desk: desk, plan: s.plan}).level(); level != jv1.AutomationLevel_AUTOMATION_LEVEL_ACT {
		return continuity.Refuse(levelGuard, "its automation level is %s: it would ask a human first, or only observe", levelWord(level))
	}
	return nil
}

func levelWord(l jv1.AutomationLevel) string {
	if l == jv1.AutomationLevel_AUTOMATION_LEVEL_OBSERVE {
		return "observe"
	}
	return "propose"
}
