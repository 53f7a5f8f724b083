package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// fleet stores services svc-0 and so on, each on provider a with b and c beside it, all healthy, and gives the runbooks all
// of them.
func (r *rig) fleet(n int, books ...*jv1.Runbook) (services []string) {
	r.t.Helper()
	r.catalog()
	for i := range n {
		svc := &jv1.Service{Name: fmt.Sprintf("svc-%d", i)}
		for _, p := range []string{"a", "b", "c"} {
			svc.Providers = append(svc.Providers, &jv1.ServiceProvider{Name: p})
		}
		r.commit(
			store.Put(store.ServiceKey(svc.GetName()), svc),
			store.Put(store.ContinuityKey(svc.GetName()), continuity.Initial(svc, continuity.Author{Actor: "test"}, time.Now())),
		)
		for _, p := range []string{"a", "b", "c"} {
			r.commit(r.judged(svc.GetName(), p, jv1.HealthState_HEALTH_STATE_HEALTHY, 0)...)
		}
		services = append(services, svc.GetName())
	}
	for _, b := range books {
		b.Services = services
	}
	r.books(books...)
	return services
}

// judged is what stores a health with its evidence and, in an episode, its trigger.
func (r *rig) judged(service, provider string, state jv1.HealthState, generation int64) []store.Op {
	now := timestamppb.Now()
	sig := &jv1.Signal{
		Source: "probe", Service: service, Provider: provider, Class: jv1.EvidenceClass_EVIDENCE_CLASS_PROBE, ObservedAt: now,
		ValidUntil: timestamppb.New(time.Now().Add(1000 * time.Hour)), State: jv1.SignalState_SIGNAL_STATE_OK,
	}
	if state != jv1.HealthState_HEALTH_STATE_HEALTHY {
		sig.State = jv1.SignalState_SIGNAL_STATE_FAILING
	}
	ops := []store.Op{
		store.Put(store.VotesKey(service, "probe-"+provider), &recordv1.Votes{Service: service, Signals: []*jv1.Signal{sig}}),
		store.Put(store.HealthKey(service, provider), &jv1.Health{
			Service: service, Provider: provider, State: state, Generation: generation, Since: now,
		}),
	}
	if generation == 0 {
		return ops
	}
	name := triggerName(service, provider, generation, state)
	return append(ops, store.Put(store.TriggerKey(name), &jv1.Trigger{
		Name: name, Cause: jv1.TriggerCause_TRIGGER_CAUSE_HEALTH, Service: service, Provider: provider, Health: state,
		Generation: generation, State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: now, Onset: now,
	}))
}

func triggerName(service, provider string, generation int64, state jv1.HealthState) string {
	word := "failing"
	if state == jv1.HealthState_HEALTH_STATE_HEALTHY {
		word = "healthy"
	}
	return fmt.Sprintf("h-%s-%s-%d-%s", service, provider, generation, word)
}

// outage lets provider a fail for all services in one transaction.
func (r *rig) outage(services []string) {
	r.t.Helper()
	var ops []store.Op
	for _, s := range services {
		ops = append(ops, r.judged(s, "a", jv1.HealthState_HEALTH_STATE_FAILING, 1)...)
	}
	r.commit(ops...)
}

func (r *rig) limit(count int32, window time.Duration) {
	r.t.Helper()
	r.commit(store.Put(store.SettingsKey("default"), &jv1.Settings{
		Name: "default", SwitchLimit: &jv1.SwitchLimit{Count: count, Window: durationpb.New(window)},
	}))
}

// on lists the services whose route is the provider.
func (r *rig) on(services []string, provider string) (out []string) {
	r.t.Helper()
	for _, s := range services {
		if get[*jv1.ContinuityState](r, store.ContinuityKey(s)).GetActiveProvider() == provider {
			out = append(out, s)
		}
	}
	return out
}

func (r *rig) slots() (out []*recordv1.SwitchSlot) {
	r.t.Helper()
	recs, _, err := store.Scan[*recordv1.SwitchSlot](r.ctx, r.first.store, store.SwitchSlots, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, rec := range recs {
		out = append(out, rec.Msg)
	}
	return out
}

// switched is a change of a route that a run made.
type switched struct {
	at  time.Time
	run string
}

// overrun returns the most runs that switched within one window.
func overrun(all []switched, window time.Duration) int {
	most := 0
	for _, from := range all {
		runs := map[string]bool{}
		for _, s := range all {
			if !s.at.Before(from.at) && s.at.Before(from.at.Add(window)) {
				runs[s.run] = true
			}
		}
		most = max(most, len(runs))
	}
	return most
}

func TestMachinesSwitchNoMoreOftenThanTheFleetMay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		two := r.replica("two", r.backend)
		defer two.kill()
		services := r.fleet(12, book("outage", doing(tell("told"), switchTo("b"))))
		r.limit(5, 2*time.Minute)
		r.outage(services)
		time.Sleep(time.Second)
		synctest.Wait()
		moved := r.on(services, "b")
		if len(moved) != 5 || len(r.runs()) != 5 || len(r.slots()) != 5 {
			t.Fatalf("%v moved by %d runs, slots %v", moved, len(r.runs()), r.slots())
		}
		waits := r.on(services, "a")
		for _, s := range waits {
			if g := held(r, triggerName(s, "a", 1, jv1.HealthState_HEALTH_STATE_FAILING)); g != continuity.SwitchLimit {
				t.Errorf("%s is held back by %q", s, g)
			}
		}
		var told []string
		for _, n := range r.outbox() {
			if n.GetThread() == "switch-limit" {
				told = append(told, n.GetText())
			}
		}
		if len(told) != 1 || !strings.Contains(told[0], "switched 5 times within 2m0s") {
			t.Errorf("people were told %q", told)
		}
		// Humans are not held back, and take no slot.
		if _, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: waits[0], Provider: "c", Reason: "now"}); err != nil {
			t.Fatal(err)
		}
		plan, err := r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "outage", Service: waits[1]})
		if err != nil || plan.GetGuard() != string(continuity.SwitchLimit) {
			t.Errorf("plan %v, %v", plan, err)
		}
		for i, want := range []int{5, 10, 11} {
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
			synctest.Wait()
			if got := r.on(services, "b"); len(got) != want {
				t.Errorf("after window %d: %d moved, want %d", i, len(got), want)
			}
			time.Sleep(2*time.Minute + time.Second)
			synctest.Wait()
		}
		var all []switched
		for _, run := range r.runs() {
			all = append(all, switched{at: run.GetEndTime().AsTime(), run: run.GetName()})
		}
		if n := overrun(all, 2*time.Minute); n != 5 {
			t.Errorf("%d switches within a window", n)
		}
	})
}

func TestARaisedLimitCountsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		services := r.fleet(4, book("outage", doing(switchTo("b"))))
		r.limit(1, time.Hour)
		r.outage(services)
		synctest.Wait()
		if n := len(r.on(services, "b")); n != 1 {
			t.Fatalf("%d moved", n)
		}
		r.limit(3, time.Hour)
		synctest.Wait()
		if n := len(r.on(services, "b")); n != 3 {
			t.Errorf("%d moved with a limit of 3", n)
		}
		r.limit(2, time.Hour)
		r.commit(store.Delete(store.SwitchSlotKey(0)))
		synctest.Wait()
		if n := len(r.on(services, "b")); n != 3 {
			t.Errorf("%d moved with a limit of 2 and 2 slots taken", n)
		}
	})
}

// A switch within a run waits for its slot, and no longer than the step may take.
func TestASwitchInARunWaitsForItsSlot(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout *durationpb.Duration
		want    jv1.RunState
	}{
		"until one is free":         {want: succeeded},
		"or until its time is over": {timeout: durationpb.New(time.Minute), want: failed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				step := switchTo("b")
				step.Timeout = tc.timeout
				services := r.fleet(2, book("outage", doing(post("call"), step)))
				r.limit(1, 5*time.Minute)
				r.outage(services)
				time.Sleep(time.Second)
				synctest.Wait()
				all := r.runs()
				i := slices.IndexFunc(all, func(run *jv1.Run) bool { return run.GetState() == running })
				if len(all) != 2 || i < 0 || len(r.on(services, "b")) != 1 {
					t.Fatalf("runs %v", all)
				}
				late := all[i].GetName()
				time.Sleep(5*time.Minute + time.Second)
				synctest.Wait()
				run := get[*jv1.Run](r, store.RunKey(late))
				want(t, run, tc.want)
				if tc.want == failed && !strings.Contains(run.GetSteps()[1].GetError(), "switch_limit") {
					t.Errorf("step %v", run.GetSteps()[1])
				}
			})
		})
	}
}

// What waits for a slot has done nothing yet: when its cause is gone it must not act.
func TestARunThatOnlyWaitsForASlotEndsWithItsCause(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		services := r.fleet(2, book("outage", level(0), doing(switchTo("b"))))
		r.limit(1, time.Hour)
		r.outage(services)
		synctest.Wait()
		for _, run := range r.runs() {
			if _, err := r.first.engine.Decide(as(r.ctx, "ana"), &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "go"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		i := slices.IndexFunc(r.runs(), func(run *jv1.Run) bool { return run.GetState() == running })
		if i < 0 || len(r.on(services, "b")) != 1 {
			t.Fatalf("runs %v", r.runs())
		}
		late := r.runs()[i]
		r.commit(r.judged(late.GetService(), "a", jv1.HealthState_HEALTH_STATE_HEALTHY, 1)...)
		synctest.Wait()
		want(t, get[*jv1.Run](r, store.RunKey(late.GetName())), canceled)
	})
}

// One run takes one slot, however many candidates it tries, and keeps it for as long as it switches.
func TestARunTakesOneSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(confirmed(switchTo("b", "c"), time.Minute))))
		r.fails("a", 1)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		run := r.only()
		want(t, run, failed) // nothing was confirmed; c is kept, as a fails
		if s := r.slots(); len(s) != 1 || s[0].GetRun() != run.GetName() || s[0].GetService() != "chat" ||
			!s[0].GetExpireTime().AsTime().Equal(run.GetCreateTime().AsTime().Add(time.Minute+5*time.Minute)) {
			t.Errorf("slots %v, run %v", s, run)
		}
	})
}

func TestAHumansRunTakesNoSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		start(t, r, "outage")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.slots(); len(s) != 0 || r.state().GetActiveProvider() != "b" {
			t.Errorf("slots %v", s)
		}
	})
}
