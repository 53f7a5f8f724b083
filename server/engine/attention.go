package engine

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/steps"
)

// await looks after a run that waits for a human: an approval's time may be up, the reason of a proposal may be gone,
// and people are reminded.
func (t *turn) await(i int) (again bool, err error) {
	if t.untouched() {
		if gone := t.cause(); gone != nil {
			t.then = thenEnd
			return false, t.end(jv1.RunState_RUN_STATE_CANCELED, gone.Error())
		}
	}
	if i >= 0 && t.run.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL && t.run.GetSteps()[i].GetState() == jv1.StepState_STEP_STATE_WAITING {
		in := t.input(i)
		if kind, ok := t.e.o.Kinds.Kind(in.At.GetKind()); ok {
			return t.follow(kind.Advance(in))
		}
	}
	t.then = thenWait
	t.until = earliest(t.until, t.remind())
	return false, nil
}

// remind writes the reminder that is due and returns when the next one is. A reminder's id holds its number, so that
// it is written once whoever writes it.
func (t *turn) remind() time.Time {
	since, now := t.run.GetWaitSince().AsTime(), t.desk.Now
	n := int64(now.Sub(since) / steps.Reminder)
	if n > 0 && steps.Remind(&steps.Input{
		Run: t.run, At: &jv1.StepRun{}, Step: &jv1.Step{}, Plan: t.plan, Desk: t.desk, Owner: t.owner,
	}, n) {
		return now
	}
	return since.Add(time.Duration(n+1) * steps.Reminder)
}
