package schedule_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/calendar"
	"github.com/jurymast/jurymast/server/schedule"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// midnight is when virtual time begins.
func midnight() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// times lists what fields name, after a moment and up to another.
func times(t *testing.T, cron, zone string, after, last time.Time) (out []time.Time) {
	t.Helper()
	for {
		next, err := calendar.Next(cron, zone, after)
		if err != nil {
			t.Fatal(err)
		}
		if next.After(last) {
			return out
		}
		out, after = append(out, next), next
	}
}

func same(t *testing.T, what string, got, want []time.Time) {
	t.Helper()
	if !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("%s: %d times fired, want %d: %v", what, len(got), len(want), difference(got, want))
	}
}

func difference(got, want []time.Time) (out []string) {
	for _, w := range want {
		if !slices.ContainsFunc(got, w.Equal) {
			out = append(out, "missing "+w.Format(time.RFC3339))
		}
	}
	for _, g := range got {
		if !slices.ContainsFunc(want, g.Equal) {
			out = append(out, "too much "+g.Format(time.RFC3339))
		}
	}
	return out
}

// trouble lets a share of the transactions of schedules go wrong in every way in which the outcome is not known, or
// nothing happens.
func trouble(chance *rand.Rand) storetest.CommitHook {
	return func(_ context.Context, txn store.Txn) storetest.Fault {
		ours := slices.ContainsFunc(txn.Then, func(op store.Op) bool { return strings.HasPrefix(op.Key, store.ScheduleStates) })
		if !ours || chance.IntN(4) > 0 {
			return storetest.Fault{}
		}
		kinds := []storetest.Kind{storetest.Executed, storetest.Dropped, storetest.Delayed, storetest.Unavailable}
		return storetest.Fault{Kind: kinds[chance.IntN(len(kinds))], Delay: time.Duration(chance.IntN(50)) * time.Millisecond}
	}
}

// TestMonth lets three replicas live through a month: they are killed and started at random, their clocks differ by up to
// 20 s, and a quarter of their transactions goes wrong. Every time fires exactly once as long as one of them is there.
func TestMonth(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				chance := rand.New(rand.NewPCG(seed, 0))
				start := func(i int) *replica {
					f := storetest.NewFaulty(r.backend)
					f.OnCommit(trouble(rand.New(rand.NewPCG(seed, chance.Uint64()))))
					p := r.replica(fmt.Sprint("r", i), f)
					p.set(time.Duration(chance.IntN(20)) * time.Second)
					return p
				}
				crons := map[string][2]string{
					"often": {"*/20 * * * *", ""}, "daily": {"30 2 * * *", "Europe/Berlin"}, "monday": {"0 9 * * mon", "America/New_York"},
				}
				for name, c := range crons {
					r.apply(&jv1.Schedule{Name: name, Cron: c[0], TimeZone: c[1]})
				}
				replicas := []*replica{start(0), start(1), start(2)}
				for range 300 {
					time.Sleep(time.Duration(1+chance.IntN(8_000)) * time.Second)
					i := chance.IntN(3)
					replicas[i].kill()
					time.Sleep(time.Duration(chance.IntN(1000)) * time.Second)
					replicas[i] = start(i)
				}
				// All that has come by the slowest clock has been fired, and nothing that has not come by the fastest.
				end := time.Now().Truncate(20 * time.Minute).Add(10 * time.Minute)
				if end.Before(time.Now()) {
					end = end.Add(20 * time.Minute)
				}
				r.sleepUntil(end)
				for name, c := range crons {
					same(t, name, r.fired(name), times(t, c[0], c[1], midnight(), end))
					if n := r.state(name).GetMissed(); n != 0 {
						t.Errorf("%s: %d missed", name, n)
					}
				}
				for _, p := range replicas {
					p.kill()
				}
			})
		})
	}
}

// TestMissed leaves three hours without a replica.
func TestMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		skip := &jv1.Schedule{Name: "skip", Cron: "15 * * * *"}
		once := &jv1.Schedule{Name: "once", Cron: "15 * * * *", OnMissed: jv1.OnMissed_ON_MISSED_FIRE_ONCE}
		r.apply(skip)
		r.apply(once)
		p := r.replica("one", r.backend)
		r.sleepUntil(midnight().Add(time.Hour)) // 0:15 fired
		p.kill()
		r.sleepUntil(midnight().Add(4 * time.Hour)) // 1:15, 2:15 and 3:15 did not
		p = r.replica("one", r.backend)
		r.sleepUntil(midnight().Add(5 * time.Hour))
		p.kill()
		same(t, "skip", r.fired("skip"), []time.Time{midnight().Add(15 * time.Minute), midnight().Add(4*time.Hour + 15*time.Minute)})
		same(t, "fire once", r.fired("once"), []time.Time{
			midnight().Add(15 * time.Minute), midnight().Add(3*time.Hour + 15*time.Minute), midnight().Add(4*time.Hour + 15*time.Minute),
		})
		if a, b := r.state("skip").GetMissed(), r.state("once").GetMissed(); a != 3 || b != 2 {
			t.Errorf("%d and %d missed, want 3 and 2", a, b)
		}
		late, err := store.Fetch[*jv1.Trigger](r.ctx, r.look, store.TriggerKey(schedule.TriggerName("once", midnight().Add(3*time.Hour+15*time.Minute))))
		if err != nil || late.Msg.GetReason() != "schedule once, 2000-01-01T03:15:00Z, late" {
			t.Errorf("%v, %v", late.Msg, err)
		}
	})
}

// TestTrigger looks at what is fired.
func TestTrigger(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *", Mode: jv1.RunMode_RUN_MODE_DRY_RUN, Parameters: map[string]string{"a": "b"}})
		p := r.replica("one", r.backend)
		defer p.kill()
		r.sleepUntil(midnight().Add(time.Hour))
		rec, err := store.Fetch[*jv1.Trigger](r.ctx, r.look, store.TriggerKey("s-x-20000101t010000z"))
		if err != nil {
			t.Fatal(err)
		}
		m := rec.Msg
		if m.GetCause() != jv1.TriggerCause_TRIGGER_CAUSE_SCHEDULE || m.GetSchedule() != "x" || m.GetRunbook() != "tidy" || m.GetService() != "chat" ||
			m.GetMode() != jv1.RunMode_RUN_MODE_DRY_RUN || m.GetParameters()["a"] != "b" || m.GetActor() != "schedule/x" ||
			m.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING || m.GetGeneration() != 0 ||
			!m.GetExpireTime().AsTime().Equal(midnight().Add(2*time.Hour)) || !m.GetCreateTime().AsTime().Equal(midnight().Add(time.Hour)) {
			t.Errorf("%v", m)
		}
		st := r.state("x")
		if st.GetLastTrigger() != m.GetName() || !st.GetLastTime().AsTime().Equal(midnight().Add(time.Hour)) ||
			!st.GetNextTime().AsTime().Equal(midnight().Add(2*time.Hour)) {
			t.Errorf("%v", st)
		}
	})
}

// TestClockSteps lets the only clock step, backwards over a time that has fired, and forwards over some that have not.
func TestClockSteps(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *"})
		p := r.replica("one", r.backend)
		defer p.kill()
		r.sleepUntil(midnight().Add(65 * time.Minute)) // 1:05, 1:00 fired
		p.set(-30 * time.Minute)                       // 0:35
		r.sleepUntil(midnight().Add(140 * time.Minute))
		same(t, "backwards", r.fired("x"), []time.Time{midnight().Add(time.Hour)}) // it is 1:50 by this clock
		p.set(3 * time.Hour)                                                       // 5:20
		r.sleepUntil(midnight().Add(200 * time.Minute))                            // 6:20
		same(t, "forwards", r.fired("x"), []time.Time{midnight().Add(time.Hour), midnight().Add(6 * time.Hour)})
		if n := r.state("x").GetMissed(); n != 4 { // 2:00 to 5:00
			t.Errorf("%d missed, want 4", n)
		}
		p.set(0)
		// Stored anew it counts from now on, and what was fired ahead of time is not fired again.
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *", Description: "other"})
		r.sleepUntil(midnight().Add(7*time.Hour + time.Minute))
		same(t, "anew", r.fired("x"), []time.Time{
			midnight().Add(time.Hour), midnight().Add(4 * time.Hour), midnight().Add(5 * time.Hour), midnight().Add(6 * time.Hour),
			midnight().Add(7 * time.Hour),
		})
	})
}

// TestChanged pauses, changes and removes a schedule.
func TestChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		hour := func(n float64) time.Time { return midnight().Add(time.Duration(n * float64(time.Hour))) }
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *"})
		p := r.replica("one", r.backend)
		r.sleepUntil(hour(1.5))
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *", Paused: true})
		r.sleepUntil(hour(3.5))
		r.apply(&jv1.Schedule{Name: "x", Cron: "45 * * * *"})
		r.sleepUntil(hour(5.5))
		r.commit(store.Delete(store.ScheduleKey("x")), store.Delete(store.ScheduleStateKey("x")))
		r.sleepUntil(hour(9.5))
		p.kill()
		same(t, "x", r.fired("x"), []time.Time{hour(1), hour(3.75), hour(4.75)})
		if r.state("x") != nil {
			t.Errorf("a state is left of a removed schedule: %v", r.state("x"))
		}
	})
}

// TestRunbookGone counts what can't be fired, and goes on with the others.
func TestRunbookGone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.apply(&jv1.Schedule{Name: "a", Cron: "0 * * * *"})
		r.commit(store.Put(store.ScheduleKey("a"), &jv1.Schedule{Name: "a", Cron: "0 * * * *", Runbook: "nothing"}))
		r.commit(store.Put(store.ScheduleKey("b"), &jv1.Schedule{Name: "b", Cron: "H * * * *", Runbook: "tidy"}))
		r.apply(&jv1.Schedule{Name: "c", Cron: "0 * * * *"})
		p := r.replica("one", r.backend)
		r.sleepUntil(midnight().Add(90 * time.Minute))
		p.kill()
		same(t, "a", r.fired("a"), nil)
		same(t, "c", r.fired("c"), []time.Time{midnight().Add(time.Hour)})
		if st := r.state("a"); st.GetMissed() != 1 || st.GetLastTrigger() != "" {
			t.Errorf("%v", st)
		}
	})
}

// TestStoreAway lets the store be away while a time comes: it is fired when it is back.
func TestStoreAway(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.apply(&jv1.Schedule{Name: "x", Cron: "0 * * * *"})
		f := storetest.NewFaulty(r.backend)
		p := r.replica("one", f)
		r.sleepUntil(midnight().Add(59 * time.Minute))
		f.SetDown(true)
		r.sleepUntil(midnight().Add(time.Hour + 30*time.Second))
		same(t, "away", r.fired("x"), nil)
		f.SetDown(false)
		r.sleepUntil(midnight().Add(time.Hour + 50*time.Second))
		same(t, "back", r.fired("x"), []time.Time{midnight().Add(time.Hour)})
		p.kill()
	})
}
