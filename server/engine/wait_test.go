package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// People are reminded of every wait of a run, of the second as well as of the first.
func TestEveryWaitOfARunReminds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(ask("one"), ask("two"))))
		start(t, r, "s")
		for range 2 {
			before := len(r.outbox())
			time.Sleep(46 * time.Minute)
			synctest.Wait()
			if n := len(r.outbox()) - before; n != 3 {
				t.Errorf("%d reminders in 46 minutes, want 3", n)
			}
			decide(t, r)
		}
		want(t, r.only(), succeeded)
	})
}

// An approval that asks one channel twice asks it once.
func TestAnApprovalTellsEachChannelOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		step := ask("one")
		step.GetApproval().Channels = []string{"log", "log"}
		r.catalog(book("s", doing(step)))
		start(t, r, "s")
		synctest.Wait()
		if n := len(r.outbox()); n != 1 {
			t.Errorf("%d notifications", n)
		}
		decide(t, r)
		want(t, r.only(), succeeded)
	})
}

// Whoever comes back after days asks once more, not once for every hour that has passed.
func TestAnEscalationDoesNotCatchUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		step := lasting(ask("one"), time.Hour)
		step.GetApproval().OnTimeout = jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE
		r.catalog(book("s", doing(step)))
		start(t, r, "s")
		synctest.Wait()
		observer := r.first.store
		r.first.stop()
		r.first.done.Wait()
		time.Sleep(100 * time.Hour)
		before := len(r.outbox())
		p := r.replica("two", r.backend)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(r.outbox()) - before; n > 2 {
			t.Errorf("%d messages at once after 100 hours", n)
		}
		p.kill()
		observer.Close()
		r.first.stop = func() {}
	})
}

// A runbook may tell more channels than fit into one transaction: its proposal is made, and everybody is reminded.
func TestAProposalOfManyChannelsIsMade(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var steps []*jv1.Step
		for i := range 5 {
			s := tell(fmt.Sprintf("tell%d", i))
			s.GetNotify().Channels = nil
			for c := range 16 {
				name := fmt.Sprintf("c%d-%d", i, c)
				s.GetNotify().Channels = append(s.GetNotify().Channels, name)
				r.commit(store.Put(store.ChannelKey(name), &jv1.Channel{Name: name}))
			}
			steps = append(steps, s)
		}
		r.catalog(book("s", level(jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE), doing(steps...)))
		r.fails("a", 1)
		synctest.Wait()
		want(t, r.only(), waiting)
		before := len(r.outbox())
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if n := len(r.outbox()) - before; n != 80 {
			t.Errorf("%d of 80 channels were reminded", n)
		}
		decide(t, r)
		want(t, r.only(), succeeded)
		if n := len(r.outbox()) - before; n != 160 {
			t.Errorf("%d reminders and messages, want 160", n)
		}
	})
}

// decide approves what the only run asks.
func decide(t *testing.T, r *rig) {
	t.Helper()
	if _, err := r.first.engine.Decide(as(r.ctx, "ana"), &jv1.DecideRunRequest{Name: r.only().GetName(), Approve: true}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}
