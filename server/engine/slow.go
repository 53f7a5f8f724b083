package engine

import (
	"fmt"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// historyRuns is how many of a runbook's last live runs say how long its steps take.
	historyRuns = 50
	// minSamples is how many of them must have done the step.
	minSamples = 5
	// minSlow is the shortest time that is called slow by history: what takes less is nobody's trouble.
	minSlow = 10 * time.Second
)

// pace is how long a step may take before it is called slow, and why in words. The zero pace: as long as it likes.
type pace struct {
	limit time.Duration
	basis string
}

// paceOf is what the plan or else history says of a step. Steps that wait for humans have none, and those made of steps
// only what the plan says.
func paceOf(v store.View, run *jv1.Run, at *jv1.StepRun, step *jv1.Step) pace {
	switch d := step.GetExpected(); {
	case at.GetKind() == "approval":
		return pace{}
	case d != nil:
		return pace{d.AsDuration(), fmt.Sprintf("it is expected to take at most %s", d.AsDuration())}
	case runbooks.IsContainer(at.GetKind()):
		return pace{}
	}
	samples := history(store.List[*jv1.Run](v, store.Runs), run.GetRunbook(), at.GetId())
	limit, usual, ok := slowAfter(samples)
	if !ok {
		return pace{}
	}
	return pace{limit, fmt.Sprintf("of its last %d times nine in ten took at most %s", len(samples), usual.Round(time.Millisecond))}
}

// history is how long a step took in the last live runs of its runbook that have ended, without the time they waited for
// humans. The records are in the order of their creation.
func history(records []store.Record[*jv1.Run], runbook, step string) (samples []time.Duration) {
	seen := 0
	for _, r := range slices.Backward(records) {
		if r.Msg.GetRunbook() != runbook || !isLive(r.Msg) || !runs.Ended(r.Msg.GetState()) {
			continue
		}
		if seen++; seen > historyRuns {
			break
		}
		s := runs.StepOf(r.Msg, step)
		if s.GetState() == jv1.StepState_STEP_STATE_SUCCEEDED && s.GetStartTime() != nil && s.GetEndTime() != nil {
			samples = append(samples, max(0, s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime())-s.GetHeld().AsDuration()))
		}
	}
	return samples
}

// slowAfter is how long a step may take that took so long before: twice what nine in ten took, but at least ten seconds.
// ok is false where there are too few samples to say.
func slowAfter(samples []time.Duration) (limit, usual time.Duration, ok bool) {
	if len(samples) < minSamples {
		return 0, 0, false
	}
	sorted := slices.Sorted(slices.Values(samples))
	usual = sorted[(len(sorted)*9+9)/10-1] // nearest rank
	return max(2*usual, minSlow), usual, true
}

// mayBeSlow tells whether a step is under way and acts: it does not wait for a human, nor does a step inside of it, and
// it was not called slow before.
func mayBeSlow(run *jv1.Run, s *jv1.StepRun) bool {
	if run.GetState() != jv1.RunState_RUN_STATE_RUNNING || run.GetMode() == jv1.RunMode_RUN_MODE_DRY_RUN || s.GetSlow() || s.GetStartTime() == nil {
		return false
	}
	if s.GetState() != jv1.StepState_STEP_STATE_RUNNING && s.GetState() != jv1.StepState_STEP_STATE_RETRYING {
		return false
	}
	return !slices.ContainsFunc(runs.Waiting(run), func(w *jv1.StepRun) bool { return isInside(run, w, s.GetId()) })
}

// isInside tells whether a step is part of another one, however deep.
func isInside(run *jv1.Run, s *jv1.StepRun, outer string) bool {
	for p := s.GetParent(); p != ""; p = runs.StepOf(run, p).GetParent() {
		if p == outer {
			return true
		}
	}
	return false
}

// slowAt is when a step of that pace is slow. The time that humans held it does not count.
func slowAt(s *jv1.StepRun, p pace) time.Time {
	return s.GetStartTime().AsTime().Add(s.GetHeld().AsDuration() + p.limit)
}

// slow calls the steps slow that are, and tells people, once: the record of the step says so from then on.
func (t *turn) slow() error {
	for i, s := range t.run.GetSteps() {
		p := t.paces[s.GetId()]
		if p.limit == 0 || !mayBeSlow(t.run, s) || t.desk.Now.Before(slowAt(s, p)) {
			continue
		}
		if t.full(maxTurnOps) {
			t.then = thenMore
			return nil
		}
		text := fmt.Sprintf("step %s (%s) is under way for %s; %s", s.GetId(), s.GetKind(),
			t.desk.Now.Sub(s.GetStartTime().AsTime()).Round(time.Second), p.basis)
		ev := t.event(i, jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW, text)
		if err := steps.Slow(t.input(i), text); err != nil {
			ev.Details = map[string]string{"not_told": err.Error()}
		}
		if err := t.fold(ev); err != nil {
			return err
		}
	}
	return nil
}

// slowNext is when the next step that is under way will be slow; the zero time: none will. What history says of a step is
// looked up once, after the transaction that began it, so that nobody waits for it, and only when the step lasts as long as
// could be called slow: most steps don't, and to look at all runs for each would cost more than the steps.
func (x *executor) slowNext(t *turn) (next time.Time) {
	for i, s := range t.run.GetSteps() {
		if !mayBeSlow(t.run, s) {
			continue
		}
		p, known := x.paces[s.GetId()]
		if early := slowAt(s, pace{limit: minSlow}); !known && t.tree.Nodes[i].Step.GetExpected() == nil && x.e.o.Now().Before(early) {
			next = earliest(next, early)
			continue
		}
		if !known {
			x.e.o.Store.Read(func(v store.View) { p = paceOf(v, t.run, s, t.tree.Nodes[i].Step) })
			x.paces[s.GetId()] = p
		}
		if p.limit != 0 {
			next = earliest(next, slowAt(s, p))
		}
	}
	return next
}
