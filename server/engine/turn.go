package engine

import (
	"context"
	"fmt"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxTurnOps ends a turn before its transaction grows too large; what is left is the next turn's (protocol P6).
	maxTurnOps = 60
	// maxTurnEvents bounds a turn's events likewise.
	maxTurnEvents = 60
)

// turn is what is done with a run in one transaction, and what follows it. It begins with a record, folds what
// happened and what is decided, and goes on until each branch of the run waits, is in an outside call, or has ended.
type turn struct {
	e     *Engine
	desk  *continuity.Workspace
	tree  *runbooks.Tree
	plan  *jv1.Runbook // the tree's
	owner *jv1.Owner
	// calling are the steps whose outside calls are under way here.
	calling map[string]bool
	// paces say how long steps may take, by step; what is not known is not judged.
	paces map[string]pace

	run    *jv1.Run
	events []*jv1.RunEvent
	then   then
	until  time.Time
	// held is the guard that the turn stopped at; nil: none.
	held  *continuity.Refusal
	calls []call   // to be begun
	stops []string // steps whose calls are to be stopped
}

// call is an outside call of a step, whose intent the turn stores.
type call struct {
	step string
	make func(context.Context) runs.Event
}

// then is what follows a turn.
type then uint8

const (
	thenWait then = iota // for a change, the end of a call, or until a time
	thenMore             // take the next turn at once
	thenEnd              // the run has ended
)

// fold applies events to the turn's record.
func (t *turn) fold(events ...runs.Event) error {
	next, stored, err := runs.Fold(t.run, t.tree, events...)
	if err != nil {
		return err
	}
	t.run = next
	t.events = append(t.events, stored...)
	return nil
}

// take decides until there is nothing more to do now in any branch.
func (t *turn) take() error {
	defer t.settleDrain()
	settled := map[int]bool{} // branches that wait, by the index of the step
	for {
		if t.full(maxTurnOps) {
			t.then = thenMore
			return nil
		}
		again, err := t.round(settled)
		if err != nil {
			return fmt.Errorf("run %s: %w", t.run.GetName(), err)
		}
		if !again {
			return t.slow()
		}
	}
}

// full tells whether the turn has more writes, or events, than may stand before what comes next.
func (t *turn) full(writes int) bool {
	return t.desk.Writes() > writes || len(t.events) > maxTurnEvents
}

// roomFor is how many writes may stand before a step: a question tells its own channels and those of the escalation.
func roomFor(run *jv1.Run, i int) int {
	if i >= 0 && run.GetSteps()[i].GetKind() == "approval" {
		return maxTurnOps / 2
	}
	return maxTurnOps
}

// round carries the decisions about the branches out up to the first that changes the record, and tells whether one did.
func (t *turn) round(settled map[int]bool) (again bool, err error) {
	decisions := runs.Next(t.run, t.tree, t.desk.Now)
	if len(decisions) == 0 {
		t.then = thenEnd
	}
	for _, d := range decisions {
		if settled[d.Index] {
			continue
		}
		if t.full(roomFor(t.run, d.Index)) {
			t.then = thenMore
			return false, nil
		}
		again, err := t.act(d)
		if again || err != nil || t.then == thenEnd {
			return again, err
		}
		settled[d.Index] = true
	}
	t.until = earliest(t.until, t.timeout())
	return false, nil
}

// timeout is when the next step that is made of steps has used its time up; the zero time while the run waits for a human,
// which counts against none.
func (t *turn) timeout() (next time.Time) {
	for _, s := range t.run.GetSteps() {
		if at := s.GetDeadline().AsTime(); s.GetDeadline() != nil && at.After(t.desk.Now) && runbooks.IsContainer(s.GetKind()) &&
			!runs.StepEnded(s.GetState()) && t.run.GetState() == jv1.RunState_RUN_STATE_RUNNING {
			next = earliest(next, at)
		}
	}
	return next
}

// act carries a decision out and tells whether to decide again.
func (t *turn) act(d runs.Decision) (again bool, err error) {
	switch d.Action {
	case runs.End:
		t.then = thenEnd
		return false, t.end(d.State, d.Reason)
	case runs.Compensate:
		return true, t.fold(runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING, Time: t.desk.Now, State: d.State, Message: d.Reason,
		})
	case runs.Undo:
		return t.undo(d.Index)
	case runs.Hold:
		return true, t.fold(runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_WAITING, Time: t.desk.Now, Wait: jv1.RunWait_RUN_WAIT_RESUME, Message: d.Reason,
		})
	case runs.Await:
		return t.await(d.Index)
	case runs.Stop:
		return t.stop(d.Index)
	case runs.Cancel:
		return true, t.fold(t.event(d.Index, jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED, "stopped: what it is part of is over"))
	case runs.Complete:
		return true, t.fold(t.event(d.Index, jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED, "the steps inside are done"))
	case runs.Fail:
		return true, t.fold(t.input(d.Index).Failure(d.Reason))
	default:
		return t.advance(d.Index)
	}
}

// event is one of the step at i.
func (t *turn) event(i int, kind jv1.RunEventKind, text string) runs.Event {
	return runs.Event{Kind: kind, Step: t.tree.Nodes[i].ID, Time: t.desk.Now, Message: text}
}

// end closes the run, and with it what it held: the lock of its service, and the cooldown it leaves behind.
func (t *turn) end(state jv1.RunState, reason string) error {
	if err := t.fold(runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_ENDED, Time: t.desk.Now, State: state, Message: reason,
	}); err != nil {
		return err
	}
	if isLive(t.run) { // the only one: a provisional route is its own, whoever changed the state last
		t.desk.Confirm() // nobody is left who would
	}
	release(t.desk, t.run)
	cooldown(t.desk, t.run, t.plan)
	return nil
}

// cause tells whether what asked for the run is over.
func (t *turn) cause() *continuity.Refusal {
	trigger := store.Get[*jv1.Trigger](t.desk.View(), store.TriggerKey(t.run.GetTrigger())).Msg
	if trigger == nil || trigger.GetCause() != jv1.TriggerCause_TRIGGER_CAUSE_HEALTH {
		return nil
	}
	return causeGone(t.desk, trigger)
}

// untouched tells whether nothing was done yet: no step has begun, or the first waits for leave to switch.
func (t *turn) untouched() bool {
	for _, s := range t.run.GetSteps() {
		if s.GetStartTime() != nil && !idle(s) && !runbooks.IsContainer(s.GetKind()) {
			return false
		}
	}
	return true
}

// idle tells whether a step that has begun did nothing but wait for a guard.
func idle(s *jv1.StepRun) bool {
	return s.GetKind() == "switch_provider" && s.GetState() == jv1.StepState_STEP_STATE_RUNNING && s.GetWakeTime() != nil &&
		len(s.GetOutput()) == 0 && s.GetUndo() == nil && len(s.GetTried()) == 0
}

func (t *turn) input(i int) *steps.Input {
	return &steps.Input{
		Run: t.run, At: t.run.GetSteps()[i], Step: t.tree.Nodes[i].Step, Plan: t.plan, Tree: t.tree, Node: i, Desk: t.desk,
		Owner: t.owner, Conditions: &t.e.conditions,
	}
}

// advance lets the step's kind decide. A step whose call is under way here has nothing to decide.
func (t *turn) advance(i int) (again bool, err error) {
	in := t.input(i)
	if t.calling[in.At.GetId()] {
		return false, nil
	}
	if t.untouched() {
		if gone := t.cause(); gone != nil {
			t.then = thenEnd
			return false, t.end(jv1.RunState_RUN_STATE_CANCELED, gone.Error())
		}
	}
	if in.At.GetStartTime() == nil {
		if skip, ev := t.condition(in); skip {
			return true, t.fold(ev)
		}
	}
	if runbooks.IsContainer(in.At.GetKind()) {
		return true, t.fold(in.Enter())
	}
	kind, ok := t.e.o.Kinds.Kind(in.At.GetKind())
	if !ok {
		return true, t.fold(stepFailed(in, "this version does not know steps of kind "+in.At.GetKind()))
	}
	return t.follow(i, kind.Advance(in))
}

// stop has the call of a step stopped: what it is part of is over. A call that an executor before this one made can't be
// stopped any more; where it must not be made again a human says what became of it, and where the receiver can be asked
// it is.
func (t *turn) stop(i int) (again bool, err error) {
	in := t.input(i)
	if t.calling[in.At.GetId()] {
		t.stops = append(t.stops, in.At.GetId())
		return false, nil
	}
	if kind, ok := t.e.o.Kinds.Kind(in.At.GetKind()); ok {
		m := kind.Advance(in)
		asks := m.Then == steps.Call && m.Event.Kind == jv1.RunEventKind_RUN_EVENT_KIND_UNSPECIFIED &&
			in.Step.GetHttpRequest().GetRepeat() == jv1.Repeatability_REPEATABILITY_CHECKABLE
		if asks || m.Event.Kind == jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN {
			return t.follow(i, m)
		}
	}
	ev := t.event(i, jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED, "stopped while its call may have been under way: what it is part of is over")
	ev.Error = "its executor was lost"
	return true, t.fold(ev)
}

// follow folds a move of the step at i and says what comes after it.
func (t *turn) follow(i int, m steps.Move) (again bool, err error) {
	if m.Event.Kind != jv1.RunEventKind_RUN_EVENT_KIND_UNSPECIFIED {
		if err := t.fold(m.Event); err != nil {
			return false, err
		}
	}
	switch m.Then {
	case steps.Again:
		return true, nil
	case steps.Call:
		t.calls = append(t.calls, call{step: t.tree.Nodes[i].ID, make: m.Call})
	default:
		t.until = earliest(t.until, m.Until)
		if m.Held != nil {
			t.held = m.Held
		}
		return false, t.attend(i)
	}
	return false, nil
}

func (t *turn) condition(in *steps.Input) (skip bool, ev runs.Event) {
	holds, err := t.e.conditions.Holds(in)
	if err != nil {
		return true, stepFailed(in, fmt.Sprintf("condition %q: %v", in.Step.GetIf(), err))
	}
	return !holds, runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED, Step: in.At.GetId(), Time: t.desk.Now,
		Message: in.Step.GetIf() + " does not hold",
	}
}

func stepFailed(in *steps.Input, text string) runs.Event {
	return runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED, Step: in.At.GetId(), Time: in.Desk.Now, Error: text, Message: text,
	}
}

// undo takes a step back: a state step by its inverse in this transaction, one with an effect outside by the call or the
// message its plan has for it.
func (t *turn) undo(i int) (again bool, err error) {
	in := t.input(i)
	if in.At.GetUndo() == nil && in.Step.GetCompensate() != nil {
		if t.calling[in.At.GetId()] {
			return false, nil
		}
		return t.follow(i, t.e.o.Kinds.Compensate(in))
	}
	text := "this version does not know steps of kind " + in.At.GetKind()
	if kind, ok := t.e.o.Kinds.Kind(in.At.GetKind()); ok {
		text = kind.Undo(in)
	}
	return true, t.fold(t.event(i, jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, text))
}

// txn returns the transaction of the turn; ok is false when there is nothing to write.
func (t *turn) txn() (txn store.Txn, ok bool) {
	txn.If, txn.Then = t.desk.Txn()
	if len(t.events) == 0 && len(txn.Then) == 0 {
		return txn, false
	}
	if len(t.events) > 0 {
		putRun(&txn, t.run, t.events, t.desk.Now)
	}
	return txn, true
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
