package engine

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
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
	if i >= 0 && runs.WaitOf(t.run, t.run.GetSteps()[i]) == jv1.RunWait_RUN_WAIT_APPROVAL {
		in := t.input(i)
		if kind, ok := t.e.o.Kinds.Kind(in.At.GetKind()); ok {
			return t.follow(i, kind.Advance(in))
		}
	}
	return false, t.attend(i)
}

// attend sees that people are told of a run that waits for them, or of its step at i where other branches act, and that
// the next look is in time for it.
func (t *turn) attend(i int) error {
	in := &steps.Input{
		Run: t.run, At: &jv1.StepRun{}, Step: &jv1.Step{}, Plan: t.plan, Tree: t.tree, Desk: t.desk, Owner: t.owner,
	}
	if t.run.GetState() != jv1.RunState_RUN_STATE_WAITING {
		if i < 0 || !runs.Waits(t.run.GetSteps()[i]) {
			return nil
		}
		in = t.input(i)
		in.Run = branch(t.run, in.At)
	}
	next, err := t.remind(in)
	t.until = earliest(t.until, next)
	return err
}

// branch is a run as one of its steps sees it that waits for a human while other branches act.
func branch(run *jv1.Run, s *jv1.StepRun) *jv1.Run {
	out := proto.CloneOf(run)
	out.State, out.Wait, out.WaitText = jv1.RunState_RUN_STATE_WAITING, runs.WaitOf(run, s), s.GetWaitText()
	out.WaitSince = s.GetStartTime()
	if ended := runs.LastAttempt(s).GetEndTime(); ended != nil && s.GetKind() != "approval" {
		out.WaitSince = ended
	}
	return out
}

// remind tells people what is due to be told and returns when the next is: at once those who don't know yet that the run
// needs them, all again after a while, and further people when nobody answers. The id of a message holds its number, so
// that it is written once whoever writes it.
func (t *turn) remind(in *steps.Input) (time.Time, error) {
	since, now := in.Run.GetWaitSince().AsTime(), t.desk.Now
	n := nth(since, now, steps.Reminder)
	if n > 0 && steps.Remind(in, n) || unforeseen(in.Run) && steps.Attention(in) {
		return now, nil
	}
	next := since.Add(time.Duration(n+1) * steps.Reminder)
	if t.plan.GetEscalation() == nil || in.DryRun() {
		return next, nil
	}
	after := runs.EscalationAfter(t.plan)
	k := nth(since, now, after)
	next = earliest(next, since.Add(time.Duration(k+1)*after))
	if k == 0 {
		return next, nil
	}
	text, more := steps.Escalate(in, k)
	if more {
		next = now
	}
	if text == "" {
		return next, nil
	}
	return next, t.fold(runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED, Step: in.At.GetId(), Time: now, Message: text,
		Details: map[string]string{"channels": strings.Join(t.plan.GetEscalation().GetChannels(), ", ")},
	})
}

// nth is how often a period has passed.
func nth(since, now time.Time, period time.Duration) int64 {
	return max(0, int64(now.Sub(since)/period))
}

// unforeseen tells whether the run waits for a human without one having asked it to.
func unforeseen(run *jv1.Run) bool {
	switch run.GetWait() {
	case jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
		return true
	case jv1.RunWait_RUN_WAIT_RESUME:
		return slices.ContainsFunc(run.GetSteps(), func(s *jv1.StepRun) bool { return s.GetState() == jv1.StepState_STEP_STATE_WAITING })
	default:
		return false
	}
}
