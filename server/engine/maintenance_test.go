package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

// window stores a maintenance window that opens now.
func (r *rig) window(name string, d time.Duration, edit ...func(*jv1.Maintenance)) {
	r.t.Helper()
	m := &jv1.Maintenance{Name: name, Reason: "works", Start: timestamppb.Now(), End: timestamppb.New(time.Now().Add(d))}
	for _, f := range edit {
		f(m)
	}
	r.commit(store.Put(store.MaintenanceKey(name), m))
}

func forProviders(p ...string) func(*jv1.Maintenance) {
	return func(m *jv1.Maintenance) { m.Providers = p }
}

func forServices(s ...string) func(*jv1.Maintenance) {
	return func(m *jv1.Maintenance) { m.Services = s }
}

func TestAMaintenanceWindowHoldsTriggersBackUntilItEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		windows func(r *rig)
		// moved is after how long the run has started; zero: at once.
		moved time.Duration
	}{
		"for everything":                   {windows: func(r *rig) { r.window("w", time.Hour) }, moved: time.Hour},
		"for the service":                  {windows: func(r *rig) { r.window("w", time.Hour, forServices("chat")) }, moved: time.Hour},
		"for the provider":                 {windows: func(r *rig) { r.window("w", time.Hour, forProviders("a")) }, moved: time.Hour},
		"for the standby":                  {windows: func(r *rig) { r.window("w", time.Hour, forProviders("b")) }},
		"for another service":              {windows: func(r *rig) { r.window("w", time.Hour, forServices("video")) }},
		"two of them":                      {windows: func(r *rig) { r.window("v", 2*time.Hour); r.window("w", time.Hour) }, moved: 2 * time.Hour},
		"one that comes again":             {windows: func(r *rig) { r.window("w", 0, daily) }, moved: time.Hour},
		"one that was closed by hand":      {windows: func(r *rig) { r.window("w", 10*time.Hour); r.closeIn(time.Minute) }, moved: time.Minute},
		"one that was shortened afterward": {windows: func(r *rig) { r.window("w", 10*time.Hour); r.shortenIn(time.Minute) }, moved: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.catalog(book("outage", doing(switchTo("b"))))
				tc.windows(r)
				r.fails("a", 1)
				synctest.Wait()
				if tc.moved == 0 {
					want(t, r.only(), succeeded)
					return
				}
				if g := held(r, "h-chat-a-1-failing"); g != continuity.Maintenance || len(r.runs()) != 0 {
					t.Fatalf("held back by %q, runs %v", g, r.runs())
				}
				plan, err := r.first.engine.Plan(r.ctx, &jv1.PlanRunbookRequest{Name: "outage"})
				if err != nil || plan.GetGuard() != string(continuity.Maintenance) {
					t.Errorf("plan %v, %v", plan, err)
				}
				time.Sleep(tc.moved - time.Second)
				synctest.Wait()
				if len(r.runs()) != 0 {
					t.Fatalf("runs %v within the window", r.runs())
				}
				// The sweep alone would take up to half a minute.
				time.Sleep(2 * time.Second)
				synctest.Wait()
				want(t, r.only(), succeeded)
			})
		})
	}
}

// daily makes a window one of an hour that begins at midnight, which is when the tests begin.
func daily(m *jv1.Maintenance) {
	m.Start, m.End, m.Cron, m.Duration = nil, nil, "0 0 * * *", durationpb.New(time.Hour)
}

func (r *rig) closeIn(d time.Duration) {
	time.AfterFunc(d, func() { r.commit(store.Delete(store.MaintenanceKey("w"))) })
}

func (r *rig) shortenIn(d time.Duration) {
	time.AfterFunc(d, func() { r.window("w", time.Second) })
}

func TestAHumanIsNotHeldBackByMaintenance(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		r.window("w", time.Hour)
		start(t, r, "outage")
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}

// A provider that is well again within the window leaves nothing to do at its end.
func TestWhatRecoversWithinAWindowStartsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("outage", doing(switchTo("b"))))
		r.window("w", time.Hour)
		r.fails("a", 1)
		synctest.Wait()
		r.recovers("a", 1)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(r.runs()) != 0 {
			t.Errorf("runs %v", r.runs())
		}
	})
}

// A window that is stored between decision and commit is noticed.
func TestAWindowIsComparedInTheTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog()
		var txn store.Txn
		decide := func() {
			r.first.store.Read(func(v store.View) {
				w := continuity.Open(v, "chat", time.Now())
				if refusal := w.CheckMaintenance("a"); refusal != nil {
					t.Fatal(refusal)
				}
				txn.If, _ = w.Txn()
				txn.Then = []store.Op{store.Put(store.SettingsKey("default"), &jv1.Settings{Name: "default"})}
			})
		}
		commit := func() bool {
			res, err := r.first.store.Commit(r.ctx, txn)
			if err != nil {
				t.Fatal(err)
			}
			r.wait(res.Revision)
			return res.Committed
		}
		r.window("later", time.Hour, func(m *jv1.Maintenance) {
			m.Start, m.End = timestamppb.New(time.Now().Add(time.Hour)), timestamppb.New(time.Now().Add(2*time.Hour))
		})
		decide()
		r.window("now", time.Hour, forServices("video"))
		if commit() {
			t.Error("a window came to be, and it was committed")
		}
		decide()
		r.window("later", time.Hour, forServices("video"))
		if commit() {
			t.Error("a window was changed, and it was committed")
		}
		decide()
		r.commit(store.Delete(store.MaintenanceKey("later")))
		if !commit() {
			t.Error("a window was removed, and it was not committed")
		}
	})
}
