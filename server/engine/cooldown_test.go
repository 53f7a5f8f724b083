package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// backOnceHealthy starts when a is well again.
func backOnceHealthy(s ...*jv1.Step) *jv1.Runbook {
	b := book("back", doing(s...))
	b.On = &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_HEALTHY, Provider: "preferred"}
	return b
}

func (r *rig) cooldown(runbook string) *recordv1.Cooldown {
	r.t.Helper()
	return get[*recordv1.Cooldown](r, store.CooldownKey("chat", "a", runbook))
}

// undone is a human taking the last switch back, as a is well again.
func (r *rig) undone(generation int64) {
	r.t.Helper()
	r.recovers("a", generation)
	if _, err := r.first.desk.Undo(as(r.ctx, "ana"), &jv1.UndoRequest{Service: "chat", Reason: "well again"}); err != nil {
		r.t.Fatal(err)
	}
}

func TestCooldownGrowsWithEveryRelapse(t *testing.T) {
	minutes := func(n ...int) []int { return n }
	for name, tc := range map[string]struct {
		guards *jv1.Guards
		want   []int // minutes of each cooldown
	}{
		"by default":          {want: minutes(5, 10, 20, 40, 80, 120, 120)},
		"as the runbook says": {guards: &jv1.Guards{Cooldown: durationpb.New(3 * time.Minute), CooldownMax: durationpb.New(7 * time.Minute)}, want: minutes(3, 6, 7, 7)},
		"never shorter":       {guards: &jv1.Guards{Cooldown: durationpb.New(3 * time.Hour)}, want: minutes(180, 180)},
		"not at all":          {guards: &jv1.Guards{Cooldown: durationpb.New(time.Minute), CooldownMax: durationpb.New(0)}, want: minutes(1, 1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				b := book("outage", doing(switchTo("b")))
				b.Guards = tc.guards
				r.catalog(b)
				for i, want := range tc.want {
					generation := int64(i + 1)
					r.fails("a", generation)
					time.Sleep(time.Second)
					synctest.Wait()
					if i > 0 && held(r, triggerName("chat", "a", generation, jv1.HealthState_HEALTH_STATE_FAILING)) != continuity.Cooldown {
						t.Fatalf("relapse %d was not held back", i)
					}
					if i > 0 {
						time.Sleep(time.Until(r.cooldown("outage").GetUntil().AsTime()))
						synctest.Wait()
					}
					if n := len(r.runs()); n != i+1 {
						t.Fatalf("%d runs after disaster %d", n, i+1)
					}
					c := r.cooldown("outage")
					if got := c.GetLength().AsDuration(); got != time.Duration(want)*time.Minute || !c.GetForgetTime().AsTime().Equal(c.GetUntil().AsTime().Add(got)) {
						t.Errorf("cooldown %d is %v, want %d min: %v", i+1, got, want, c)
					}
					r.undone(generation)
				}
			})
		})
	}
}

func TestCalmAndAcknowledgementForgetRelapses(t *testing.T) {
	for name, calm := range map[string]func(r *rig){
		"calm": func(r *rig) { time.Sleep(time.Until(r.cooldown("outage").GetForgetTime().AsTime())) },
		"acknowledgement": func(r *rig) {
			ack, err := r.first.desk.Acknowledge(as(r.ctx, "ana"), &jv1.AcknowledgeRequest{Service: "chat", Reason: "mended"})
			if err != nil || len(ack.GetCleared()) != 1 {
				r.t.Fatal(ack, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("outage", doing(switchTo("b"))))
				r.fails("a", 1)
				synctest.Wait()
				r.undone(1)
				time.Sleep(6 * time.Minute)
				r.fails("a", 2)
				synctest.Wait()
				if d := r.cooldown("outage").GetLength().AsDuration(); d != 10*time.Minute {
					t.Fatalf("the relapse left a cooldown of %v", d)
				}
				r.undone(2)
				calm(r)
				r.fails("a", 3)
				synctest.Wait()
				if d := r.cooldown("outage").GetLength().AsDuration(); d != 5*time.Minute || len(r.runs()) != 3 {
					t.Errorf("a cooldown of %v after calm, %d runs", d, len(r.runs()))
				}
			})
		})
	}
}

// Two runbooks that both switch must not take turns.
func TestACooldownHoldsOtherRunbooksOfTheSameEffectBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		second := book("second", doing(switchTo("c")))
		second.On.Provider = "any"
		quiet := book("quiet", doing(tell("told")))
		quiet.On.Provider = "any"
		r.catalog(book("outage", doing(switchTo("b"))), second, quiet, backOnceHealthy(switchTo("a")))
		r.fails("a", 1)
		synctest.Wait()
		var blocked *jv1.TriggerOutcome
		for _, o := range get[*jv1.Trigger](r, store.TriggerKey("h-chat-a-1-failing")).GetOutcomes() {
			if o.GetState() == jv1.OutcomeState_OUTCOME_STATE_BLOCKED {
				blocked = o
			}
		}
		if blocked.GetRunbook() != "second" || blocked.GetGuard() != string(continuity.Cooldown) ||
			!strings.Contains(blocked.GetDetail(), "of outage, which changes the route as well") {
			t.Fatalf("held back: %v", blocked)
		}
		if n := len(r.runs()); n != 2 || r.state().GetActiveProvider() != "b" {
			t.Fatalf("%d runs, state %v", n, r.state())
		}
		// A provider that flaps does not come back at once.
		r.recovers("a", 1)
		synctest.Wait()
		if g := held(r, "h-chat-a-1-healthy"); g != continuity.Cooldown || r.state().GetActiveProvider() != "b" {
			t.Fatalf("the fail-back is held back by %q, state %v", g, r.state())
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if r.state().GetActiveProvider() != "a" {
			t.Errorf("state %v after the cooldown", r.state())
		}
		// The cooldown of the fail-back holds no failover back.
		r.fails("a", 2)
		synctest.Wait()
		if r.state().GetActiveProvider() != "b" {
			t.Errorf("state %v", r.state())
		}
	})
}

// When nobody serves, no other runbook's cooldown may stand in the way of what brings the service back.
func TestACooldownDoesNotKeepAServiceDown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		off := &jv1.Step{Id: "off", Action: &jv1.Step_DisableQueueing{DisableQueueing: &jv1.DisableQueueingStep{}}}
		r.catalog(book("outage", doing(onFailure(switchTo("b", "c"), jv1.OnFailure_ON_FAILURE_CONTINUE), queue())), backOnceHealthy(switchTo("a"), off))
		r.fails("b", 1)
		r.fails("c", 1)
		r.fails("a", 1)
		synctest.Wait()
		if !r.state().GetQueueing() || r.cooldown("outage") == nil {
			t.Fatalf("state %v, cooldown %v", r.state(), r.cooldown("outage"))
		}
		r.recovers("a", 1)
		synctest.Wait()
		if r.state().GetQueueing() {
			t.Errorf("state %v: %q", r.state(), held(r, "h-chat-a-1-healthy"))
		}
	})
}
