package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// A client's trigger that nothing starts on is answered and ends; it does not wait for a day on which its provider may
// serve again.
func TestAClientsTriggerThatNothingStartsOnEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(switchTo("c"))))
		tr, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Provider: "b", Reason: "slow"})
		if err != nil {
			t.Fatal(err)
		}
		if tr.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING {
			t.Errorf("trigger %v", tr)
		}
		if _, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "cheaper"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(r.runs()); n != 0 {
			t.Errorf("%d runs of an old trigger", n)
		}
	})
}

// A client's trigger that a guard holds back is cleared when the episode it belongs to is over.
func TestAClientsTriggerIsClearedByRecovery(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(switchTo("c"))))
		automation := func(on bool) {
			t.Helper()
			if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: on, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		automation(false)
		r.health("a", jv1.HealthState_HEALTH_STATE_SUSPECT, 1)
		tr, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Provider: "a", Reason: "slow"})
		if err != nil || tr.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING {
			t.Fatalf("trigger %v, %v", tr, err)
		}
		r.health("a", jv1.HealthState_HEALTH_STATE_HEALTHY, 1)
		synctest.Wait()
		if tr := get[*jv1.Trigger](r, store.TriggerKey(tr.GetName())); tr.GetState() != jv1.TriggerState_TRIGGER_STATE_CLEARED {
			t.Errorf("trigger %v", tr)
		}
		automation(true)
		synctest.Wait()
		if n := len(r.runs()); n != 0 {
			t.Errorf("%d runs of an old trigger", n)
		}
	})
}

// What a client asked for outside of any episode is wanted for a while only: held back until then, it is cleared, says so,
// and starts nothing on the day the guard lets go.
func TestAClientsTriggerExpires(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   *durationpb.Duration
		want time.Duration
	}{{"by default", nil, time.Hour}, {"as asked", durationpb.New(5 * time.Minute), 5 * time.Minute}} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("s", doing(queue())))
				automation := func(on bool) {
					t.Helper()
					if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: on, Reason: "test"}); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				automation(false)
				fired, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Reason: "slow", ExpireIn: tc.in})
				if err != nil {
					t.Fatal(err)
				}
				trigger := func() *jv1.Trigger { return get[*jv1.Trigger](r, store.TriggerKey(fired.GetName())) }
				time.Sleep(tc.want - time.Second)
				synctest.Wait()
				if trigger().GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING {
					t.Fatalf("before its time: %v", trigger())
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				got := trigger()
				if got.GetState() != jv1.TriggerState_TRIGGER_STATE_CLEARED || !strings.Contains(got.GetOutcomes()[0].GetDetail(), "expired at ") ||
					!strings.Contains(got.GetOutcomes()[0].GetDetail(), "held back until then: ") {
					t.Errorf("after its time: %v", got)
				}
				automation(true)
				if n := len(r.runs()); n != 0 {
					t.Errorf("%d runs of an expired trigger", n)
				}
			})
		})
	}
}

// Within its time a trigger that a guard held back starts as ever.
func TestAClientsTriggerStartsBeforeItExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(queue())))
		for _, on := range []bool{false, true} {
			if _, err := r.first.desk.SetAutomation(as(r.ctx, "ana"), &jv1.SetAutomationRequest{On: on, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if on {
				continue
			}
			if _, err := r.first.engine.Fire(as(r.ctx, "app"), &jv1.FireTriggerRequest{Service: "chat", Reason: "slow"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Minute)
		}
		want(t, r.only(), succeeded)
	})
}
