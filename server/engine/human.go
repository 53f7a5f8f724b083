package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// Cancel asks a run to end. It is a compare-and-set on the record by whoever is asked; a run whose owner is gone is
// ended by the one that adopts it. A run that has ended already is returned as it is.
func (e *Engine) Cancel(ctx context.Context, req *jv1.CancelRunRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason(), endedIsFine: true},
		func(run *jv1.Run, _ *jv1.Runbook, now time.Time, actor string) (runs.Event, error) {
			if run.GetCancelRequested() || run.GetState() == jv1.RunState_RUN_STATE_COMPENSATING {
				return runs.Event{}, nil
			}
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED, Time: now, Actor: actor,
				Message: "canceled by " + actor + ": " + req.GetReason(),
			}, nil
		})
}

// Pause asks a run to wait for a human before its next step. What a run asks already stays asked; once that is answered it
// waits to be resumed.
func (e *Engine) Pause(ctx context.Context, req *jv1.PauseRunRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason()},
		func(run *jv1.Run, _ *jv1.Runbook, now time.Time, actor string) (runs.Event, error) {
			switch {
			case run.GetPauseRequested() || run.GetWait() == jv1.RunWait_RUN_WAIT_RESUME:
				return runs.Event{}, nil
			case run.GetState() != jv1.RunState_RUN_STATE_RUNNING && run.GetState() != jv1.RunState_RUN_STATE_WAITING:
				return runs.Event{}, fmt.Errorf("run %s is %v and can't be paused: %w", run.GetName(), run.GetState(), ErrNotPossible)
			}
			return runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED, Time: now, Actor: actor, Message: req.GetReason(),
			}, nil
		})
}

// Resume lets a run go on that a human paused, whose step failed with `on_failure: pause`, or whose call has an unknown
// outcome: then the request must say what became of it.
func (e *Engine) Resume(ctx context.Context, req *jv1.ResumeRunRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason()},
		func(run *jv1.Run, plan *jv1.Runbook, now time.Time, actor string) (runs.Event, error) {
			ev := runs.Event{Kind: jv1.RunEventKind_RUN_EVENT_KIND_RESUMED, Time: now, Actor: actor, Message: req.GetReason()}
			i := runs.Current(run, plan)
			switch run.GetWait() {
			case jv1.RunWait_RUN_WAIT_RESUME:
				if i >= 0 && run.GetSteps()[i].GetState() == jv1.StepState_STEP_STATE_WAITING {
					ev.Step = run.GetSteps()[i].GetId()
				}
				return ev, nil
			case jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
				ev.Step = run.GetSteps()[i].GetId()
				return outcome(ev, req.GetOutcome())
			}
			if run.GetPauseRequested() {
				return ev, nil
			}
			return ev, fmt.Errorf("run %s does not wait to be resumed (%v %v): %w", run.GetName(), run.GetState(), run.GetWait(), ErrNotPossible)
		})
}

// outcome turns what a human found out about a call into the event it is.
func outcome(ev runs.Event, d jv1.OutcomeDecision) (runs.Event, error) {
	switch d {
	case jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED:
		ev.Kind = jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED
	case jv1.OutcomeDecision_OUTCOME_DECISION_FAILED:
		ev.Kind = jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED
		ev.Error = "found out by " + ev.Actor + ": " + ev.Message
	case jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT:
	default:
		return ev, fmt.Errorf("the run waits because the outcome of a call is not known: say succeeded, failed or repeat: %w", ErrInvalid)
	}
	return ev, nil
}

// Decide answers what a run asks.
func (e *Engine) Decide(ctx context.Context, req *jv1.DecideRunRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetComment()},
		func(run *jv1.Run, plan *jv1.Runbook, now time.Time, actor string) (runs.Event, error) {
			if run.GetWait() != jv1.RunWait_RUN_WAIT_APPROVAL {
				return runs.Event{}, fmt.Errorf("run %s asks nothing (%v %v): %w", run.GetName(), run.GetState(), run.GetWait(), ErrNotPossible)
			}
			word := "approved"
			if !req.GetApprove() {
				word = "rejected"
			}
			ev := runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_DECIDED, Time: now, Actor: actor, Message: word + ": " + req.GetComment(),
				Decision: &jv1.Decision{Actor: actor, Approved: req.GetApprove(), Comment: req.GetComment(), Time: timestamppb.New(now)},
			}
			i := runs.Current(run, plan)
			if i >= 0 && run.GetSteps()[i].GetState() == jv1.StepState_STEP_STATE_WAITING {
				ev.Step = run.GetSteps()[i].GetId()
				return ev, mayDecide(run, plan.GetSteps()[i].GetApproval(), run.GetSteps()[i], audit.From(ctx), req.GetApprove())
			}
			if !req.GetApprove() {
				ev.Kind, ev.Message = jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED, "rejected by "+actor+": "+req.GetComment()
			}
			return ev, nil
		})
}

// steering is what all human actions on a run have in common.
type steering struct {
	name        string
	revision    int64
	reason      string
	endedIsFine bool
}

// steer folds one event into a run by compare-and-set, whoever owns it. An empty event changes nothing.
func (e *Engine) steer(ctx context.Context, s steering,
	decide func(run *jv1.Run, plan *jv1.Runbook, now time.Time, actor string) (runs.Event, error),
) (*jv1.Run, error) {
	actor := audit.From(ctx).Principal
	for range maxTries {
		var next *jv1.Run
		var txn store.Txn
		var err error
		e.o.Store.Read(func(v store.View) { next, txn, err = e.steered(ctx, v, s, actor, decide) })
		if errors.Is(err, ErrNotFound) {
			return e.steerArchived(ctx, s, err)
		}
		if err != nil {
			return nil, err
		}
		if len(txn.Then) == 0 {
			return next, nil
		}
		res, err := e.o.Store.Commit(ctx, txn)
		if err != nil {
			return nil, fmt.Errorf("change run %s: %w", s.name, err)
		}
		if err := e.o.Store.WaitRevision(ctx, res.Revision); err != nil {
			return nil, err
		}
		if res.Committed {
			next.Revision = res.Revision
			return next, nil
		}
	}
	return nil, continuity.Refuse(continuity.Contended, "run %s kept changing; try again", s.name)
}

// steerArchived answers for a run that is not in the mirror: it may have ended long ago.
func (e *Engine) steerArchived(ctx context.Context, s steering, notFound error) (*jv1.Run, error) {
	run, err := e.lookup(ctx, s.name)
	switch {
	case errors.Is(err, ErrNotFound) || (err == nil && !runs.Ended(run.GetState())):
		return nil, notFound
	case err != nil:
		return nil, err
	case s.endedIsFine:
		return run, nil
	}
	return nil, fmt.Errorf("run %s has ended %v: %w", s.name, run.GetState(), ErrNotPossible)
}

func (e *Engine) steered(ctx context.Context, v store.View, s steering, actor string,
	decide func(*jv1.Run, *jv1.Runbook, time.Time, string) (runs.Event, error),
) (*jv1.Run, store.Txn, error) {
	var txn store.Txn
	rec := store.Get[*jv1.Run](v, store.RunKey(s.name))
	plan := store.Get[*jv1.Runbook](v, store.RunbookRevisionKey(rec.Msg.GetRunbook(), rec.Msg.GetRunbookVersion())).Msg
	switch {
	case rec.Msg == nil:
		return nil, txn, fmt.Errorf("run %s: %w", s.name, ErrNotFound)
	case s.revision != 0 && s.revision != rec.Mod:
		return nil, txn, fmt.Errorf("run %s is at revision %d, not %d: %w", s.name, rec.Mod, s.revision, ErrRevision)
	case runs.Ended(rec.Msg.GetState()) && s.endedIsFine:
		return stamped(rec), txn, nil
	case runs.Ended(rec.Msg.GetState()):
		return nil, txn, fmt.Errorf("run %s has ended %v: %w", s.name, rec.Msg.GetState(), ErrNotPossible)
	case plan == nil:
		return nil, txn, fmt.Errorf("version %d of runbook %s: %w", rec.Msg.GetRunbookVersion(), rec.Msg.GetRunbook(), ErrNotFound)
	}
	now := e.o.Now()
	ev, err := decide(rec.Msg, plan, now, actor)
	if err != nil {
		return nil, txn, err
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_UNSPECIFIED {
		return stamped(rec), txn, nil
	}
	next, events, err := runs.Fold(rec.Msg, ev)
	if err != nil {
		return nil, txn, fmt.Errorf("%w: %w", ErrNotPossible, err)
	}
	txn.If = []store.Compare{store.Unchanged(rec.Key, rec.Mod)}
	putRun(&txn, next, events, now)
	txn.Then = append(txn.Then, audit.Op(ctx, now, audit.Change{Target: "runs/" + s.name, Reason: s.reason}))
	return next, txn, nil
}

func stamped(rec store.Record[*jv1.Run]) *jv1.Run {
	run := proto.CloneOf(rec.Msg)
	run.Revision = rec.Mod
	return run
}
