package engine_test

import (
	"testing"
	"testing/synctest"

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
