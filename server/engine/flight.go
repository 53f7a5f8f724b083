package engine

import (
	"context"
	"path"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// flight is an outside call, from its intent until what became of it is stored. It outlives the session it was begun
// under: a call that is under way when the session is lost goes on, and what becomes of it is told to the run once this
// replica has claimed it again (protocol P2). It does not outlive the process.
type flight struct {
	flightKey
	make func(context.Context) runs.Event
	stop context.CancelFunc
	// begun is closed once it is known whether the call is made, and done once ev, or unmade, is set.
	begun, done chan struct{}
	ev          runs.Event
	// unmade: the session was lost before the call was begun. It was not made, and nobody has to wonder.
	unmade bool
	// stopped because what its step is part of is over; only the run's executor asks.
	stopped bool
}

// flightKey names a call: no two attempts have the same id.
type flightKey struct{ run, step, attempt string }

// openAttempt is the id of the attempt of a step, or of its undoing, whose intent is stored and whose result is not; empty
// when there is none.
func openAttempt(s *jv1.StepRun) string {
	if runs.UndoInFlight(s) {
		return runs.LastUndo(s).GetId()
	}
	if runs.InFlight(s) {
		return runs.LastAttempt(s).GetId()
	}
	return ""
}

// launch makes a call in the background once one of the engine's slots is free. No call begins after ctx, which is the
// session's, has ended; one that has begun ends with the engine, or when it is stopped.
func (e *Engine) launch(ctx context.Context, f *flight) {
	e.mu.Lock()
	calling, stop := context.WithCancel(e.base)
	f.stop, f.begun, f.done = stop, make(chan struct{}), make(chan struct{})
	e.flights[f.flightKey] = f
	e.outside.Add(1)
	e.mu.Unlock()
	go func() {
		defer e.outside.Done()
		defer stop()
		defer close(f.done)
		select {
		case e.calls <- struct{}{}:
			defer func() { <-e.calls }()
		case <-calling.Done():
		case <-ctx.Done():
		}
		f.unmade = ctx.Err() != nil
		close(f.begun)
		if f.unmade {
			return
		}
		f.ev = f.make(calling)
	}()
}

// forget drops calls of which nobody wants to know any more, and stops those that are still under way.
func (e *Engine) forget(flights ...*flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range flights {
		f.stop()
		if e.flights[f.flightKey] == f {
			delete(e.flights, f.flightKey)
		}
	}
}

// flightsOf are the calls of a run that are under way here or whose results are not stored.
func (e *Engine) flightsOf(run string) (out []*flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, f := range e.flights {
		if key.run == run {
			out = append(out, f)
		}
	}
	return out
}

// forgetStrays drops the calls of a lost session whose runs went on without them: another replica has claimed the run, or
// it has ended. A lost session of this replica's own may live in the store for a while.
func (e *Engine) forgetStrays(s *store.Session) {
	e.mu.Lock()
	var strays []*flight
	for key, f := range e.flights {
		if e.executors[key.run] == nil {
			strays = append(strays, f)
		}
	}
	e.mu.Unlock()
	if len(strays) == 0 {
		return
	}
	var over []*flight
	e.o.Store.Read(func(v store.View) {
		for _, f := range strays {
			run := store.Get[*jv1.Run](v, store.RunKey(f.run)).Msg
			claimed := ownerLives(v, run.GetOwner()) && path.Dir(run.GetOwner().GetSession()) != path.Dir(s.Key)
			if openAttempt(runs.StepOf(run, f.step)) != f.attempt || runs.Ended(run.GetState()) || claimed {
				over = append(over, f)
			}
		}
	})
	e.forget(over...)
}

// begin makes the outside call of a turn that is stored.
func (x *executor) begin(ctx context.Context, t *turn, c call) {
	f := &flight{flightKey: flightKey{x.name, c.step, openAttempt(runs.StepOf(t.run, c.step))}, make: c.make}
	x.e.launch(ctx, f)
	x.join(ctx, f)
}

// join has the executor wait for what becomes of a call.
func (x *executor) join(ctx context.Context, f *flight) {
	x.calls[f.step] = f
	x.e.spawn(func() {
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		}
		if f.unmade {
			return // the session is lost: the next one makes it
		}
		select {
		case x.results <- f:
		case <-ctx.Done():
		}
	})
}

// rejoin takes up the calls that this replica began under a session that it lost, where the run still waits for them.
// What was not begun by then is made now.
func (x *executor) rejoin(ctx context.Context, run *jv1.Run) {
	for _, f := range x.e.flightsOf(x.name) {
		if openAttempt(runs.StepOf(run, f.step)) != f.attempt {
			x.e.forget(f)
			continue
		}
		x.e.log.Info("call taken up again", "run", x.name, "step", f.step, "attempt", f.attempt)
		<-f.begun // at once: the session it was to begin under is over
		if f.unmade {
			f = &flight{flightKey: f.flightKey, make: f.make}
			x.e.launch(ctx, f)
		}
		x.join(ctx, f)
	}
}

// part ends the executor's interest in calls. Where the session was lost they go on, for the next session to take up;
// otherwise the run has ended or is somebody else's, and nobody wants to know.
func (x *executor) part(ctx context.Context) {
	if ctx.Err() == nil {
		x.e.forget(x.e.flightsOf(x.name)...)
	}
}
