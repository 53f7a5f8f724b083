package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
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
	results chan runs.Event
	stop    context.CancelFunc // of the call under way; nil without one
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
		wake: make(chan struct{}, 1), results: make(chan runs.Event, 1),
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
		x.loop(ctx, first)
		e.mu.Lock()
		if e.executors[x.name] == x {
			delete(e.executors, x.name)
		}
		e.mu.Unlock()
		if x.stop != nil {
			x.stop()
		}
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
			pending, breath = nil, minBreath
		}
		switch t.then {
		case thenEnd:
			x.e.ended(t.run)
			return
		case thenMore:
			t = nil
			continue
		case thenCall:
			x.begin(ctx, t)
		case thenWait:
		}
		pending = x.await(ctx, t)
		t = nil
	}
}

// begin makes the outside call in the background.
func (x *executor) begin(ctx context.Context, t *turn) {
	ctx, x.stop = context.WithCancel(ctx)
	call := t.call
	x.e.spawn(func() {
		select {
		case x.e.calls <- struct{}{}:
			defer func() { <-x.e.calls }()
		case <-ctx.Done():
		}
		x.results <- call(ctx)
	})
}

// await waits until there is a reason to take the next turn, and returns what happened meanwhile. While a call is
// under way only its end, or a human's wish to cancel, is a reason.
func (x *executor) await(ctx context.Context, t *turn) []runs.Event {
	var timer <-chan time.Time
	if at := earliest(t.until, deadlineOf(t.run)); !at.IsZero() && x.stop == nil {
		tm := time.NewTimer(max(0, at.Sub(x.e.o.Now())))
		defer tm.Stop()
		timer = tm.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-x.results:
			x.stop()
			x.stop = nil
			if ctx.Err() != nil {
				return nil
			}
			ev.Time = x.e.o.Now()
			return []runs.Event{ev}
		case <-timer:
			return nil
		case <-x.wake:
			if x.stop == nil {
				return nil
			}
			if x.cancelRequested() {
				x.stop()
			}
		}
	}
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
		plan := store.Get[*jv1.Runbook](v, store.RunbookRevisionKey(rec.Msg.GetRunbook(), rec.Msg.GetRunbookVersion())).Msg
		if rec.Msg == nil || runs.Ended(rec.Msg.GetState()) || plan == nil {
			return
		}
		now := e.o.Now()
		mine := ownerOf(x.session)
		compares := []store.Compare{x.session.Fence(), store.Unchanged(rec.Key, rec.Mod)}
		turn := &turn{e: e, desk: continuity.Open(v, rec.Msg.GetService(), now), plan: plan, owner: mine, run: rec.Msg}
		if !owns(x.session, rec.Msg.GetOwner()) {
			if ownerLives(v, rec.Msg.GetOwner()) {
				return
			}
			compares = append(compares, store.Compare{
				Key: rec.Msg.GetOwner().GetSession(), Field: store.CreateRevision, Relation: store.NotEqual, Revision: rec.Msg.GetOwner().GetToken(),
			})
			err = turn.fold(runs.Event{
				Kind: jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED, Time: now, Owner: mine, Message: "taken over from a session that is gone",
			})
			pending = nil
		}
		for _, ev := range pending {
			if err == nil {
				err = turn.fold(ev)
			}
		}
		if errors.Is(err, runs.ErrIllegal) {
			// The run was changed under the call; what came back can't be told to it any more. Decide on what is there.
			e.log.Warn("result of a call came too late", "run", x.name, "error", err)
			err, turn.run, turn.events = nil, rec.Msg, nil
		}
		if err == nil {
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
