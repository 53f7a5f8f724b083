package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// Cancel asks a run to end. It is a compare-and-set on the record by whoever is asked; a run whose owner is gone is
// ended by the one that adopts it. A run that has ended already is returned as it is.
func (e *Engine) Cancel(ctx context.Context, req *jv1.CancelRunRequest) (*jv1.Run, error) {
	return e.steer(ctx, steering{name: req.GetName(), revision: req.GetExpectedRevision(), reason: req.GetReason(), endedIsFine: true},
		func(run *jv1.Run, _ *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
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
		func(run *jv1.Run, _ *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
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
		func(run *jv1.Run, tree *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
			ev := runs.Event{Kind: jv1.RunEventKind_RUN_EVENT_KIND_RESUMED, Time: now, Actor: actor, Message: req.GetReason()}
			step, err := waiting(run, req.GetStep(), "to be resumed", jv1.RunWait_RUN_WAIT_RESUME, jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN)
			switch {
			case req.GetStep() == "" && req.GetOutcome() == 0 && (runs.Held(run) && run.GetWait() == jv1.RunWait_RUN_WAIT_RESUME ||
				step == nil && run.GetPauseRequested()):
				return ev, nil
			case err != nil:
				return ev, err
			}
			ev.Step = step.GetId()
			if runs.WaitOf(run, step) == jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN {
				return outcome(ev, req.GetOutcome())
			}
			return ev, nil
		})
}

// waiting returns the step of that id, or the only one if none is given, that waits for one of what is listed.
func waiting(run *jv1.Run, id, what string, waits ...jv1.RunWait) (*jv1.StepRun, error) {
	var fit []*jv1.StepRun
	for _, s := range runs.Waiting(run) {
		if slices.Contains(waits, runs.WaitOf(run, s)) && (id == "" || s.GetId() == id) {
			fit = append(fit, s)
		}
	}
	return only(run, fit, id, "waits "+what)
}

// only returns the one step of a list. what says what they have in common.
func only(run *jv1.Run, fit []*jv1.StepRun, id, what string) (*jv1.StepRun, error) {
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		ids := make([]string, 0, len(fit))
		for _, s := range fit {
			ids = append(ids, s.GetId())
		}
		return nil, fmt.Errorf("more than one step of run %s %s, say which: %s: %w", run.GetName(), what, strings.Join(ids, ", "), ErrInvalid)
	case id != "" && runs.StepOf(run, id) == nil:
		return nil, fmt.Errorf("run %s has no step %s: %w", run.GetName(), id, ErrInvalid)
	case id != "":
		return nil, fmt.Errorf("step %s of run %s is %v, not one that %s: %w", id, run.GetName(), runs.StepOf(run, id).GetState(), what, ErrNotPossible)
	}
	return nil, fmt.Errorf("run %s (%v %v) has no step that %s: %w", run.GetName(), run.GetState(), run.GetWait(), what, ErrNotPossible)
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
		func(run *jv1.Run, tree *runbooks.Tree, now time.Time, actor string) (runs.Event, error) {
			// A proposal asks for the run as a whole, before any of its steps.
			whole := req.GetStep() == "" && runs.Held(run) && run.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL
			step, err := waiting(run, req.GetStep(), "for an answer", jv1.RunWait_RUN_WAIT_APPROVAL)
			if err != nil && !whole {
				return runs.Event{}, err
			}
			word := "approved"
			if !req.GetApprove() {
				word = "rejected"
			}
			ev := runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_DECIDED, Time: now, Actor: actor, Message: word + ": " + req.GetComment(),
				Decision: &jv1.Decision{Actor: actor, Approved: req.GetApprove(), Comment: req.GetComment(), Time: timestamppb.New(now)},
			}
			if !whole {
				ev.Step = step.GetId()
				spec := tree.Nodes[tree.Index(step.GetId())].Step.GetApproval()
				return ev, mayDecide(run, spec, step, audit.From(ctx), req.GetApprove())
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
	decide func(run *jv1.Run, tree *runbooks.Tree, now time.Time, actor string) (runs.Event, error),
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
	decide func(*jv1.Run, *runbooks.Tree, time.Time, string) (runs.Event, error),
) (*jv1.Run, store.Txn, error) {
	var txn store.Txn
	rec := store.Get[*jv1.Run](v, store.RunKey(s.name))
	tree := treeOf(v, rec.Msg)
	switch {
	case rec.Msg == nil:
		return nil, txn, fmt.Errorf("run %s: %w", s.name, ErrNotFound)
	case s.revision != 0 && s.revision != rec.Mod:
		return nil, txn, fmt.Errorf("run %s is at revision %d, not %d: %w", s.name, rec.Mod, s.revision, ErrRevision)
	case runs.Ended(rec.Msg.GetState()) && s.endedIsFine:
		return stamped(rec), txn, nil
	case runs.Ended(rec.Msg.GetState()):
		return nil, txn, fmt.Errorf("run %s has ended %v: %w", s.name, rec.Msg.GetState(), ErrNotPossible)
	case foreign(rec.Msg) != "":
		return nil, txn, fmt.Errorf("run %s has %s, which this version does not know: ask a replica of a newer one: %w",
			s.name, foreign(rec.Msg), ErrNotPossible)
	case tree == nil:
		return nil, txn, fmt.Errorf("version %d of runbook %s, or of one that it runs: %w", rec.Msg.GetRunbookVersion(), rec.Msg.GetRunbook(), ErrNotFound)
	}
	now := e.o.Now()
	ev, err := decide(rec.Msg, tree, now, actor)
	if err != nil {
		return nil, txn, err
	}
	if ev.Kind == jv1.RunEventKind_RUN_EVENT_KIND_UNSPECIFIED {
		return stamped(rec), txn, nil
	}
	next, events, err := runs.Fold(rec.Msg, tree, ev)
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
