package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

const (
	tsPending = jv1.TriggerState_TRIGGER_STATE_PENDING
	tsSettled = jv1.TriggerState_TRIGGER_STATE_SETTLED
	tsCleared = jv1.TriggerState_TRIGGER_STATE_CLEARED
)

// causeGone tells whether the health that caused a trigger is over: another episode, or the opposite state; or whether the
// schedule that fired it fires no more. What a client asked for outside of any episode has no such cause.
func causeGone(w *continuity.Workspace, t *jv1.Trigger) *continuity.Refusal {
	if t.GetCause() == jv1.TriggerCause_TRIGGER_CAUSE_SCHEDULE {
		return scheduleGone(w, t)
	}
	if t.GetCause() != jv1.TriggerCause_TRIGGER_CAUSE_HEALTH && t.GetGeneration() == 0 {
		return nil
	}
	h := w.Health(t.GetProvider()).Msg
	healthy := h.GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY
	wantHealthy := t.GetHealth() == jv1.HealthState_HEALTH_STATE_HEALTHY
	if h.GetGeneration() == t.GetGeneration() && healthy == wantHealthy {
		return nil
	}
	return continuity.Refuse(continuity.CauseGone, "%s is %s now (episode %d)", t.GetProvider(), h.GetState(), h.GetGeneration())
}

// scheduleGone tells whether a schedule is removed or paused.
func scheduleGone(w *continuity.Workspace, t *jv1.Trigger) *continuity.Refusal {
	s := continuity.Read[*jv1.Schedule](w, store.ScheduleKey(t.GetSchedule())).Msg
	switch {
	case s == nil:
		return continuity.Refuse(continuity.CauseGone, "there is no schedule %s any more", t.GetSchedule())
	case s.GetPaused():
		return continuity.Refuse(continuity.CauseGone, "the schedule %s is paused", t.GetSchedule())
	}
	return nil
}

// matches tells whether a runbook starts on a trigger; the refusal says why not.
func matches(w *continuity.Workspace, rb *jv1.Runbook, t *jv1.Trigger) *continuity.Refusal {
	if !slices.Contains(rb.GetServices(), t.GetService()) {
		return continuity.Refuse(continuity.NoRunbook, "%s is not for %s", rb.GetName(), t.GetService())
	}
	if t.GetRunbook() != "" {
		if t.GetRunbook() == rb.GetName() {
			return nil
		}
		return continuity.Refuse(continuity.NoRunbook, "only %s was asked for", t.GetRunbook())
	}
	want := map[jv1.HealthState]jv1.OnHealth{
		jv1.HealthState_HEALTH_STATE_FAILING: jv1.OnHealth_ON_HEALTH_FAILING,
		jv1.HealthState_HEALTH_STATE_HEALTHY: jv1.OnHealth_ON_HEALTH_HEALTHY,
		jv1.HealthState_HEALTH_STATE_BLOCKED: jv1.OnHealth_ON_HEALTH_BLOCKED,
	}[t.GetHealth()]
	if rb.GetOn() == nil || rb.GetOn().GetHealth() != want {
		return continuity.Refuse(continuity.NoRunbook, "%s does not start on %s", rb.GetName(), t.GetHealth())
	}
	word := rb.GetOn().GetProvider()
	if word == "" && want == jv1.OnHealth_ON_HEALTH_HEALTHY {
		word = "preferred"
	}
	if word == "any" || w.Resolve(word) == t.GetProvider() {
		return nil
	}
	return continuity.Refuse(continuity.NotActive, "%s starts for %s, which is %s and not %s", rb.GetName(), wordOr(word, "active"),
		w.Resolve(word), t.GetProvider())
}

func wordOr(word, other string) string {
	if word == "" {
		return other
	}
	return word
}

// evaluation is what is done about a pending trigger in one transaction.
type evaluation struct {
	trigger *jv1.Trigger
	started *verdict
	txn     store.Txn
	write   bool
	again   time.Time // when a time changes a guard; zero: none does
	held    []string  // guards that newly hold something back
	tell    store.Txn // what people are told of that
}

// evaluate passes a pending trigger's runbooks through the guards: the first that can start starts; what holds the
// others back is written down. rev is the trigger's revision, 0 for one that is not stored yet.
func (e *Engine) evaluate(v store.View, session *store.Session, trigger *jv1.Trigger, rev int64) (ev evaluation, err error) {
	now := e.o.Now()
	next := proto.CloneOf(trigger)
	ev.trigger = next
	if what := foreign(trigger); what != "" {
		e.leave(store.TriggerKey(trigger.GetName()), what)
		return ev, nil
	}
	desk := continuity.Open(v, trigger.GetService(), now)
	if gone := causeGone(desk, trigger); gone != nil {
		clearTrigger(next, gone.Detail, now)
		return e.finish(ev, desk, session, trigger, rev)
	}
	if expired(trigger, now) {
		expire(next, now)
		return e.finish(ev, desk, session, trigger, rev)
	}
	matched, open := 0, false
	for _, plan := range store.List[*jv1.Runbook](v, store.Runbooks) {
		if matches(desk, plan.Msg, trigger) != nil {
			continue
		}
		matched++
		if what := foreign(plan.Msg); what != "" {
			e.leave(plan.Key, what)
			open = true // for a replica of a newer version
			continue
		}
		if o := outcomeOf(next, plan.Msg.GetName()); o != nil && o.GetState() != jv1.OutcomeState_OUTCOME_STATE_BLOCKED {
			continue
		}
		if ev.started != nil {
			open = true
			continue
		}
		desk = continuity.Open(v, trigger.GetService(), now)
		verdict, derr := e.startFor(session, desk, plan, next).decide()
		if derr != nil {
			return ev, derr
		}
		news := setOutcome(next, plan.Msg.GetName(), verdict, now)
		switch verdict.outcome {
		case jv1.OutcomeState_OUTCOME_STATE_BLOCKED:
			open = true
			ev.again = earliest(ev.again, verdict.again)
			if news {
				ev.held = append(ev.held, string(verdict.refusal.Guard))
			}
			if news && verdict.refusal.Guard == continuity.SwitchLimit {
				ev.tell = tellLimited(v, ownerOf(session), next, plan.Msg, verdict.refusal, timestamppb.New(now))
			}
		case jv1.OutcomeState_OUTCOME_STATE_STARTED:
			ev.started = &verdict
			ev.txn = verdict.txn
		}
	}
	// A failing trigger that nothing starts on yet is kept while the provider fails: it may become the active one. A
	// client's word is about now; kept, it would start something on the day its provider serves again.
	keep := trigger.GetCause() == jv1.TriggerCause_TRIGGER_CAUSE_HEALTH && trigger.GetHealth() != jv1.HealthState_HEALTH_STATE_HEALTHY
	if !open && (matched > 0 || !keep) {
		next.State, next.EndTime = tsSettled, timestamppb.New(now)
	} else if at := next.GetExpireTime(); at != nil {
		ev.again = earliest(ev.again, at.AsTime())
	}
	return e.finish(ev, desk, session, trigger, rev)
}

// finish adds the trigger itself to the evaluation's transaction.
func (e *Engine) finish(ev evaluation, desk *continuity.Workspace, session *store.Session, before *jv1.Trigger, rev int64) (evaluation, error) {
	ev.write = rev == 0 || ev.started != nil || !proto.Equal(before, ev.trigger)
	if !ev.write {
		return ev, nil
	}
	key := store.TriggerKey(ev.trigger.GetName())
	if ev.started == nil {
		compares, _ := desk.Txn()
		ev.txn.If = append([]store.Compare{session.Fence()}, compares...)
		ev.txn.Witness = key
		want := proto.CloneOf(ev.trigger)
		ev.txn.Mine = func(value []byte) bool {
			var stored jv1.Trigger
			return value != nil && store.Open(value, &stored) == nil && proto.Equal(&stored, want)
		}
	}
	ev.txn.If = append(ev.txn.If, store.Unchanged(key, rev))
	ev.txn.Then = append(ev.txn.Then, store.Put(key, ev.trigger))
	if ev.started == nil { // what started tells more
		ev.txn.If = append(ev.txn.If, ev.tell.If...)
		ev.txn.Then = append(ev.txn.Then, ev.tell.Then...)
	}
	return ev, nil
}

func (e *Engine) startFor(session *store.Session, desk *continuity.Workspace, plan store.Record[*jv1.Runbook], t *jv1.Trigger) *start {
	reason := t.GetReason()
	if reason == "" {
		reason = fmt.Sprintf("provider %s is %s", t.GetProvider(), healthWord(t.GetHealth()))
	}
	mode := t.GetMode()
	if mode == jv1.RunMode_RUN_MODE_UNSPECIFIED {
		mode = jv1.RunMode_RUN_MODE_LIVE
	}
	return &start{
		e: e, session: session, desk: desk, plan: plan, trigger: t, mode: mode,
		params: t.GetParameters(), reason: reason, actor: wordOr(t.GetActor(), "jurymast"),
	}
}

func outcomeOf(t *jv1.Trigger, runbook string) *jv1.TriggerOutcome {
	for _, o := range t.GetOutcomes() {
		if o.GetRunbook() == runbook {
			return o
		}
	}
	return nil
}

// setOutcome writes a verdict down. One that says the same as before is left, so that nothing is written again and
// again while a guard holds. It tells whether it says something new.
func setOutcome(t *jv1.Trigger, runbook string, v verdict, now time.Time) bool {
	o := outcomeOf(t, runbook)
	if o == nil {
		o = &jv1.TriggerOutcome{Runbook: runbook}
		t.Outcomes = append(t.Outcomes, o)
	}
	guard, detail := "", ""
	if v.refusal != nil {
		guard, detail = string(v.refusal.Guard), v.refusal.Detail
	}
	if o.GetState() == v.outcome && o.GetGuard() == guard && o.GetRun() == v.run {
		o.Detail = detail // which window, which run: the guard is the same
		return false
	}
	o.State, o.Guard, o.Detail, o.Run, o.Time = v.outcome, guard, detail, v.run, timestamppb.New(now)
	return true
}

// pending evaluates the pending triggers of a service until nothing changes, and returns when to look again. One that can't
// be written does not keep the others waiting.
func (e *Engine) pending(ctx context.Context, session *store.Session, service string) (again time.Time, err error) {
	for _, name := range e.pendingOf(service) {
		at, serr := e.settle(ctx, session, name)
		if serr != nil {
			err = errors.Join(err, fmt.Errorf("evaluate trigger %s: %w", name, serr))
		}
		if serr != nil && !errors.Is(serr, store.ErrTooLarge) && !errors.Is(serr, store.ErrInvalid) && !errors.Is(serr, runs.ErrIllegal) {
			break // the store's trouble, not the trigger's
		}
		again = earliest(again, at)
	}
	return again, err
}

func (e *Engine) pendingOf(service string) (names []string) {
	e.o.Store.Read(func(v store.View) {
		for _, t := range store.List[*jv1.Trigger](v, store.Triggers) {
			if t.Msg.GetState() == tsPending && t.Msg.GetService() == service {
				names = append(names, t.Msg.GetName())
			}
		}
	})
	return names
}

// settle evaluates one trigger until it is settled, held back, or cleared.
func (e *Engine) settle(ctx context.Context, session *store.Session, name string) (again time.Time, err error) {
	for range maxTries {
		var ev evaluation
		e.o.Store.Read(func(v store.View) {
			rec := store.Get[*jv1.Trigger](v, store.TriggerKey(name))
			if rec.Msg.GetState() == tsPending {
				ev, err = e.evaluate(v, session, rec.Msg, rec.Mod)
			}
		})
		if err != nil || !ev.write {
			return ev.again, err
		}
		done, err := e.carryOut(ctx, session, ev)
		if err != nil {
			return again, err
		}
		if done && (ev.started == nil || ev.trigger.GetState() != tsPending) {
			return ev.again, nil
		}
	}
	return e.o.Now().Add(minBreath), nil
}

// carryOut commits an evaluation and waits until the mirror shows what came of it.
func (e *Engine) carryOut(ctx context.Context, session *store.Session, ev evaluation) (committed bool, err error) {
	var res store.Result
	if ev.started != nil {
		res, err = e.create(ctx, session, ev.started.turn, ev.txn)
	} else {
		res, err = e.o.Store.Commit(ctx, ev.txn)
	}
	if err != nil {
		return false, err
	}
	if !res.Committed {
		e.metrics.conflicts.Inc()
	} else {
		for _, guard := range ev.held {
			e.metrics.held.WithLabelValues(guard).Inc()
		}
	}
	return res.Committed, e.o.Store.WaitRevision(ctx, res.Revision)
}

func healthWord(h jv1.HealthState) string {
	switch h {
	case jv1.HealthState_HEALTH_STATE_FAILING:
		return "failing"
	case jv1.HealthState_HEALTH_STATE_HEALTHY:
		return "healthy again"
	case jv1.HealthState_HEALTH_STATE_BLOCKED:
		return "blocked"
	default:
		return h.String()
	}
}
