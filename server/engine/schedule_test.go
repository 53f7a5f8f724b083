package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// schedule stores the schedule `nightly` of a runbook.
func (r *rig) schedule(edit ...func(*jv1.Schedule)) {
	r.t.Helper()
	s := &jv1.Schedule{Name: "nightly", Cron: "@hourly", Runbook: "tidy"}
	for _, f := range edit {
		f(s)
	}
	r.commit(store.Put(store.ScheduleKey("nightly"), s))
}

// due stores the trigger that a scheduler fires, wanted for an hour.
func (r *rig) due(name string, edit ...func(*jv1.Trigger)) {
	r.t.Helper()
	t := &jv1.Trigger{
		Name: name, Cause: jv1.TriggerCause_TRIGGER_CAUSE_SCHEDULE, Service: "chat", Runbook: "tidy", Schedule: "nightly",
		Actor: "schedule/nightly", Reason: "schedule nightly", State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: timestamppb.Now(),
		ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), Mode: jv1.RunMode_RUN_MODE_LIVE,
	}
	for _, f := range edit {
		f(t)
	}
	r.commit(store.Put(store.TriggerKey(name), t))
	synctest.Wait()
}

func (r *rig) trigger(name string) *jv1.Trigger {
	r.t.Helper()
	return get[*jv1.Trigger](r, store.TriggerKey(name))
}

// unasked is a runbook that nothing but a schedule or a human starts.
func unasked(b *jv1.Runbook) { b.On = nil }

func (r *rig) why(t *jv1.Trigger, guard continuity.Guard) {
	r.t.Helper()
	if t.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING || len(t.GetOutcomes()) != 1 || t.GetOutcomes()[0].GetGuard() != string(guard) {
		r.t.Fatalf("want it held back by %s: %v", guard, t)
	}
}

// TestScheduled starts the runbook of a schedule, in its mode, and lets the parameters through.
func TestScheduled(t *testing.T) {
	for name, mode := range map[string]jv1.RunMode{"live": jv1.RunMode_RUN_MODE_LIVE, "dry run": jv1.RunMode_RUN_MODE_DRY_RUN} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				level := level(jv1.AutomationLevel_AUTOMATION_LEVEL_ACT)
				if mode == jv1.RunMode_RUN_MODE_DRY_RUN {
					level = func(b *jv1.Runbook) { b.Automation = nil } // propose: nobody needs to agree to a dry run
				}
				r.catalog(book("tidy", unasked, level, doing(switchTo("b"))))
				r.schedule()
				r.due("s-1", func(tr *jv1.Trigger) { tr.Mode = mode })
				run := r.only()
				if run.GetMode() != mode || run.GetActor() != "schedule/nightly" || run.GetTrigger() != "s-1" || run.GetState() != jv1.RunState_RUN_STATE_SUCCEEDED {
					t.Errorf("%v", run)
				}
				if tr := r.trigger("s-1"); tr.GetState() != jv1.TriggerState_TRIGGER_STATE_SETTLED || tr.GetOutcomes()[0].GetRun() != run.GetName() {
					t.Errorf("%v", tr)
				}
				want := map[jv1.RunMode]string{jv1.RunMode_RUN_MODE_LIVE: "b", jv1.RunMode_RUN_MODE_DRY_RUN: "a"}[mode]
				if got := r.state().GetActiveProvider(); got != want {
					t.Errorf("the route is %s, want %s", got, want)
				}
			})
		})
	}
}

// TestScheduledIsHeldBack lets automation off hold a schedule's trigger back: it starts when automation is on again, and
// is cleared when its time is up.
func TestScheduledIsHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("tidy", unasked, doing(tell("told"))))
		r.schedule()
		off := &jv1.Automation{On: false, Reason: "we look at it", Actor: "alice"}
		r.commit(store.Put(store.AutomationKey(""), off))
		r.due("s-1")
		r.why(r.trigger("s-1"), continuity.AutomationOff)
		time.Sleep(30 * time.Minute)
		r.commit(store.Put(store.AutomationKey(""), &jv1.Automation{On: true}))
		synctest.Wait()
		if run := r.only(); run.GetTrigger() != "s-1" {
			t.Errorf("%v", run)
		}

		r.commit(store.Put(store.AutomationKey(""), off))
		r.due("s-2")
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		tr := r.trigger("s-2")
		if tr.GetState() != jv1.TriggerState_TRIGGER_STATE_CLEARED || !strings.HasPrefix(tr.GetOutcomes()[0].GetDetail(), "expired at ") {
			t.Errorf("%v", tr)
		}
		r.commit(store.Put(store.AutomationKey(""), &jv1.Automation{On: true}))
		time.Sleep(time.Hour)
		if n := len(r.runs()); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestScheduleRemovedWhilePending clears what a schedule asked for that is removed or paused meanwhile.
func TestScheduleRemovedWhilePending(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig)
		want   string
	}{
		"removed": {func(r *rig) { r.commit(store.Delete(store.ScheduleKey("nightly"))) }, "there is no schedule nightly any more"},
		"paused":  {func(r *rig) { r.schedule(func(s *jv1.Schedule) { s.Paused = true }) }, "the schedule nightly is paused"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("tidy", unasked, doing(tell("told"))))
				r.schedule()
				r.commit(store.Put(store.AutomationKey("chat"), &jv1.Automation{Service: "chat", On: false}))
				r.due("s-1")
				r.why(r.trigger("s-1"), continuity.AutomationOff)
				c.change(r)
				r.commit(store.Put(store.AutomationKey("chat"), &jv1.Automation{Service: "chat", On: true}))
				synctest.Wait()
				tr := r.trigger("s-1")
				if tr.GetState() != jv1.TriggerState_TRIGGER_STATE_CLEARED || !strings.HasPrefix(tr.GetOutcomes()[0].GetDetail(), c.want) {
					t.Errorf("%v", tr)
				}
				if n := len(r.runs()); n != 0 {
					t.Errorf("%d runs", n)
				}
			})
		})
	}
}

// TestScheduleEndsNoRun lets the run of a disaster wait for a human: routine work doesn't take its place, and starts when
// it has ended. A run of the same runbook is joined.
func TestScheduleEndsNoRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("tidy", unasked, doing(ask("sure"))), book("outage", doing(ask("go"))))
		r.schedule()
		r.fails("a", 1)
		synctest.Wait()
		waiting := r.only()
		r.due("s-1")
		r.why(r.trigger("s-1"), continuity.LiveRun)
		if _, err := r.first.engine.Cancel(as(r.ctx, "alice"), &jv1.CancelRunRequest{Name: waiting.GetName(), Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(r.runs()); n != 2 {
			t.Fatalf("%d runs", n)
		}
		r.due("s-2")
		if o := r.trigger("s-2").GetOutcomes(); len(o) != 1 || o[0].GetState() != jv1.OutcomeState_OUTCOME_STATE_ATTACHED {
			t.Errorf("%v", o)
		}
		if n := len(r.runs()); n != 2 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestScheduledDrillIsHeldBack says of a drill that it is not available.
func TestScheduledDrillIsHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("tidy", unasked, doing(tell("told"))))
		r.schedule()
		r.due("s-1", func(tr *jv1.Trigger) { tr.Mode = jv1.RunMode_RUN_MODE_DRILL })
		r.why(r.trigger("s-1"), "drill")
	})
}

// TestScheduleNeedsNoCooldown lets times follow each other closely.
func TestScheduleNeedsNoCooldown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("tidy", unasked, doing(queue())))
		r.schedule()
		for _, name := range []string{"s-1", "s-2", "s-3"} {
			r.due(name)
			time.Sleep(time.Minute)
		}
		if n := len(r.runs()); n != 3 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestWhyNotKnowsSchedules explains a runbook that only a schedule starts.
func TestWhyNotKnowsSchedules(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("tidy", unasked, doing(tell("told"))), book("outage", doing(tell("told"))))
		why := func(runbook string) string {
			t.Helper()
			out, err := r.first.engine.WhyNot(r.ctx, "chat")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.GetEntries() {
				if e.GetRunbook() == runbook {
					return e.GetExplanation()
				}
			}
			return ""
		}
		if got := why("tidy"); got != "" {
			t.Errorf("without a schedule: %s", got)
		}
		r.schedule()
		r.commit(store.Put(store.ScheduleStateKey("nightly"), &recordv1.ScheduleState{NextTime: timestamppb.New(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))}))
		if got := why("tidy"); got != "nothing asks for it: schedule nightly starts it at 2000-01-01T01:00:00Z" {
			t.Errorf("with a schedule: %s", got)
		}
		r.schedule(func(s *jv1.Schedule) { s.Runbook = "outage" })
		if got := why("outage"); !strings.HasSuffix(got, "becomes failing; schedule nightly starts it at 2000-01-01T01:00:00Z") {
			t.Errorf("with both: %s", got)
		}
		r.schedule(func(s *jv1.Schedule) { s.Paused = true })
		if got := why("tidy"); got != "nothing asks for it: schedule nightly is paused" {
			t.Errorf("paused: %s", got)
		}
		r.schedule()
		r.commit(store.Put(store.AutomationKey(""), &jv1.Automation{On: false, Reason: "we look at it", Actor: "alice"}))
		r.due("s-1")
		if got := why("tidy"); !strings.Contains(got, "`jurymast automation on`") {
			t.Errorf("held back: %s", got)
		}
	})
}
