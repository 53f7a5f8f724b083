package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// maxTries is how often facts may change under a decision before the executor breathes (protocol P6).
	maxTries = 5
	// minBreath and maxBreath bound the pause after trouble with the store.
	minBreath = 20 * time.Millisecond
	maxBreath = 2 * time.Second
)

// executor takes the turns of one run for as long as this session owns it. It keeps nothing that matters: another
// replica's executor goes on from the record.
type executor struct {
	e       *Engine
	session *store.Session
	name    string
	service string
	wake    chan struct{}

	rev     int64 // of the record as this executor wrote or read it last
	tree    *runbooks.Tree
	calls   map[string]*flight // under way, by step
	results chan *flight
	told    []*flight       // whose results are in the turn that is being stored
	paces   map[string]pace // how long steps may take, by step, as far as it was asked
}

// create commits the transaction that creates the run of a turn and begins its executor. Until that is done nobody here
// adopts the run: what its first turn is about to call would be taken for a call whose executor was lost. A run whose
// creation stays unknown is adopted by the next sweep.
func (e *Engine) create(ctx context.Context, s *store.Session, t *turn, txn store.Txn) (store.Result, error) {
	name := t.run.GetName()
	e.mu.Lock()
	e.creating[name] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.creating, name)
		e.mu.Unlock()
	}()
	res, err := e.o.Store.Commit(ctx, txn)
	if err != nil || !res.Committed {
		return res, err
	}
	e.committed(t)
	if t.then == thenEnd {
		e.ended(t.run)
		return res, nil
	}
	if _, live, err := e.current(); err == nil {
		e.execute(live, s, t.run, res.Revision, t)
	}
	return res, nil
}

// execute begins an executor unless the run has one. first is a committed turn to go on from, or nil.
func (e *Engine) execute(ctx context.Context, s *store.Session, run *jv1.Run, rev int64, first *turn) {
	e.mu.Lock()
	_, creating := e.creating[run.GetName()]
	if e.session != s || e.executors[run.GetName()] != nil || (creating && first == nil) {
		e.mu.Unlock()
		return
	}
	x := &executor{
		e: e, session: s, name: run.GetName(), service: run.GetService(), rev: rev,
		wake: make(chan struct{}, 1), calls: map[string]*flight{}, results: make(chan *flight), paces: map[string]pace{},
	}
	e.executors[x.name] = x
	e.group.Add(1)
	e.mu.Unlock()
	e.o.Store.Read(func(v store.View) {
		if v.Revision() > rev {
			x.poke() // what has changed since may have been told before there was anybody to wake
		}
	})
	e.metrics.live.Inc()
	go func() {
		defer e.group.Done()
		defer e.metrics.live.Dec()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if first == nil {
			x.rejoin(ctx, run)
		}
		x.loop(ctx, first)
		x.part(ctx)
		e.mu.Lock()
		if e.executors[x.name] == x {
			delete(e.executors, x.name)
		}
		e.mu.Unlock()
	}()
}

func (x *executor) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// loop takes turns until the run has ended, is somebody else's, or ctx ends.
func (x *executor) loop(ctx context.Context, t *turn) {
	var pending []runs.Event
	breath := minBreath
	for ctx.Err() == nil {
		if t == nil {
			var err error
			if t, err = x.next(ctx, pending); err != nil {
				x.e.trouble(ctx, x.name, err)
				pause(ctx, &breath)
				continue
			}
			if t == nil {
				return
			}
			x.e.forget(x.told...)
			x.told, pending, breath = nil, nil, minBreath
		}
		if t.then == thenEnd {
			x.e.ended(t.run)
			return
		}
		x.carry(ctx, t)
		if t.then == thenWait {
			pending = x.await(ctx, t)
		}
		t = nil
	}
}

// carry begins the outside calls of a turn that is stored, and stops those that are over.
func (x *executor) carry(ctx context.Context, t *turn) {
	for _, c := range t.calls {
		x.begin(ctx, t, c)
	}
	for _, step := range t.stops {
		if f := x.calls[step]; f != nil {
			f.stopped = true
			f.stop()
		}
	}
}

// await waits until there is a reason to take the next turn, and returns what happened meanwhile. Where every branch is in
// a call only the end of one, or a human's wish to cancel, is a reason.
func (x *executor) await(ctx context.Context, t *turn) []runs.Event {
	var timer <-chan time.Time
	at := earliest(t.until, x.slowNext(t))
	if len(t.stops) == 0 { // else the run's time may be up, and only the calls are waited for
		at = earliest(at, deadlineOf(t.run))
	}
	if !at.IsZero() {
		tm := time.NewTimer(max(0, at.Sub(x.e.o.Now())))
		defer tm.Stop()
		timer = tm.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-x.results:
			if ctx.Err() != nil {
				return nil
			}
			return x.landed(f)
		case <-timer:
			return nil
		case <-x.wake:
			if len(x.calls) == 0 || !x.onlyCalls(t) || x.cancelRequested() {
				return nil
			}
		}
	}
}

// onlyCalls tells whether every branch of the run was in a call after the turn, so that no change but the end of one of
// them matters.
func (x *executor) onlyCalls(t *turn) bool {
	for _, d := range runs.Next(t.run, t.tree, t.desk.Now) {
		if d.Index < 0 || x.calls[t.tree.Nodes[d.Index].ID] == nil {
			return false
		}
	}
	return true
}

// landed takes the result of a call, and of all others that have ended by now.
func (x *executor) landed(f *flight) []runs.Event {
	var out []runs.Event
	for {
		delete(x.calls, f.step)
		x.told = append(x.told, f)
		ev := f.ev
		ev.Time = x.e.o.Now()
		if f.stopped {
			ev = overcome(ev)
		}
		out = append(out, ev)
		select {
		case f = <-x.results:
		default:
			return out
		}
	}
}

// overcome is the result of a call that was stopped because what its step is part of is over: it has not failed. What was
// carried out, and what nobody knows, stays so.
func overcome(ev runs.Event) runs.Event {
	switch ev.Kind {
	case jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED,
		jv1.RunEventKind_RUN_EVENT_KIND_WAITING:
		// What is certain of the call stays so: by it the step is undone, or not.
		attempt := ev.Attempt
		if attempt == jv1.AttemptState_ATTEMPT_STATE_UNSPECIFIED {
			attempt = jv1.AttemptState_ATTEMPT_STATE_FAILED
		}
		return runs.Event{
			Kind: jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED, Step: ev.Step, Time: ev.Time, Error: ev.Error, Attempt: attempt,
			Details: ev.Details, Message: "stopped during its call: what it is part of is over",
		}
	}
	return ev
}

// deadlineOf is when a run that acts fails; the zero time while it waits for a human.
func deadlineOf(run *jv1.Run) time.Time {
	if run.GetState() != jv1.RunState_RUN_STATE_RUNNING || run.GetDeadline() == nil {
		return time.Time{}
	}
	return run.GetDeadline().AsTime()
}

func (x *executor) cancelRequested() bool {
	asked := false
	x.e.o.Store.Read(func(v store.View) {
		run := store.Get[*jv1.Run](v, store.RunKey(x.name)).Msg
		asked = run.GetCancelRequested() || runs.Ended(run.GetState())
	})
	return asked
}

// next decides and commits the next turn. It returns nil when the run is not ours any more.
func (x *executor) next(ctx context.Context, pending []runs.Event) (*turn, error) {
	for range maxTries {
		if err := x.e.o.Store.WaitRevision(ctx, x.rev); err != nil {
			return nil, err
		}
		t, txn, err := x.decide(pending)
		if err != nil || t == nil {
			return nil, err
		}
		if len(txn.Then) == 0 {
			return t, nil
		}
		res, err := x.e.o.Store.Commit(ctx, txn)
		if err != nil {
			return nil, err
		}
		x.rev = res.Revision
		if res.Committed {
			x.e.committed(t)
			return t, nil
		}
		x.e.metrics.conflicts.Inc()
	}
	return nil, errContended
}

// errContended says that the facts kept changing; the executor breathes and tries again.
var errContended = errors.New("the facts kept changing")

// decide takes a turn on the present view. A nil turn says that the run is not ours.
func (x *executor) decide(pending []runs.Event) (t *turn, txn store.Txn, err error) {
	e := x.e
	e.o.Store.Read(func(v store.View) {
		rec := store.Get[*jv1.Run](v, store.RunKey(x.name))
		if rec.Msg == nil || runs.Ended(rec.Msg.GetState()) {
			return
		}
		if what := foreign(rec.Msg); what != "" {
			e.leave(rec.Key, what)
			return
		}
		if x.tree == nil {
			if x.tree = treeOf(v, rec.Msg); x.tree == nil {
				e.log.Error("the revisions a run was created from can't be read; it is left as it is", "run", x.name)
				return
			}
		}
		mine := ownerOf(x.session)
		compares := []store.Compare{x.session.Fence(), store.Unchanged(rec.Key, rec.Mod)}
		turn := &turn{
			e: e, desk: continuity.Open(v, rec.Msg.GetService(), e.o.Now()), tree: x.tree, plan: x.tree.Plan(), owner: mine,
			calling: map[string]bool{}, paces: x.paces, run: rec.Msg,
		}
		if !owns(x.session, rec.Msg.GetOwner()) {
			if ownerLives(v, rec.Msg.GetOwner()) {
				return
			}
			compares = append(compares, store.Compare{
				Key: rec.Msg.GetOwner().GetSession(), Field: store.CreateRevision, Relation: store.NotEqual, Revision: rec.Msg.GetOwner().GetToken(),
			})
			err = turn.fold(runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED, Time: turn.desk.Now, Owner: mine, Message: "taken over from a session that is gone",
			})
			pending = nil
		}
		for step := range x.calls {
			turn.calling[step] = true
		}
		if err = errors.Join(err, x.tell(turn, pending)); err == nil {
			err = turn.take()
		}
		if err != nil {
			return
		}
		t = turn
		var write bool
		if txn, write = turn.txn(); write {
			txn.If = append(compares, txn.If...)
		}
	})
	return t, txn, err
}

// tell folds the results of calls. Where the run was changed under a call, what came back can't be told to it any more;
// it is decided on what is there.
func (x *executor) tell(t *turn, results []runs.Event) error {
	for _, ev := range results {
		err := t.fold(ev)
		if errors.Is(err, runs.ErrIllegal) {
			x.e.log.Warn("result of a call came too late", "run", x.name, "step", ev.Step, "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pause waits a little, longer each time, or until ctx ends.
func pause(ctx context.Context, breath *time.Duration) {
	t := time.NewTimer(*breath/2 + rand.N(*breath/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	*breath = min(2**breath, maxBreath)
}
