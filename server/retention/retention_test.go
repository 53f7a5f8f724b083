package retention_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/retention"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

const (
	succeeded = jv1.RunState_RUN_STATE_SUCCEEDED
	running   = jv1.RunState_RUN_STATE_RUNNING
	settled   = jv1.TriggerState_TRIGGER_STATE_SETTLED
	pending   = jv1.TriggerState_TRIGGER_STATE_PENDING
)

// rig is a store in memory in virtual time.
type rig struct {
	t       *testing.T
	backend store.Backend
	store   *store.Store
}

func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		backend := store.NewMemory(store.MemoryOptions{})
		r := &rig{t: t, backend: backend, store: store.New(store.Options{Backend: backend})}
		if err := r.store.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(t, r)
		r.store.Close()
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
}

// tidy lets replicas with these options work for a while.
func (r *rig) tidy(replicas int, o retention.Options, d time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	if o.Store == nil {
		o.Store = r.store
	}
	ended := make(chan error, replicas)
	for range replicas {
		go func() { ended <- retention.New(o).Run(ctx) }()
	}
	time.Sleep(d)
	cancel()
	for range replicas {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			r.t.Errorf("a replica stopped tidying up with %v", err)
		}
	}
}

func (r *rig) put(ops ...store.Op) {
	r.t.Helper()
	for len(ops) > 0 {
		n := min(len(ops), 90)
		res, err := r.store.Commit(r.t.Context(), store.Txn{Then: ops[:n]})
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.store.WaitRevision(r.t.Context(), res.Revision); err != nil {
			r.t.Fatal(err)
		}
		ops = ops[n:]
	}
}

// run makes the writes of a run that ended so long ago, with two records of events.
func run(name string, state jv1.RunState, ago time.Duration) []store.Op {
	m := &jv1.Run{Name: name, Service: "chat", Runbook: "outage", RunbookVersion: 1, State: state}
	if state == succeeded {
		m.EndTime = timestamppb.New(time.Now().Add(-ago))
	}
	return []store.Op{
		store.Put(store.RunKey(name), m),
		store.Put(store.RunEventsKey(name, 1), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Run: name, Sequence: 1}}}),
		store.Put(store.RunEventsKey(name, 2), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Run: name, Sequence: 2}}}),
	}
}

func trigger(name, provider string, generation int64, state jv1.TriggerState, run string, ago time.Duration) store.Op {
	t := &jv1.Trigger{Name: name, Service: "chat", Provider: provider, Generation: generation, State: state}
	if state == settled {
		t.EndTime = timestamppb.New(time.Now().Add(-ago))
	}
	if run != "" {
		t.Outcomes = []*jv1.TriggerOutcome{{Runbook: "outage", Run: run, State: jv1.OutcomeState_OUTCOME_STATE_STARTED}}
	}
	return store.Put(store.TriggerKey(name), t)
}

// keys are the names under a prefix, in their order.
func (r *rig) keys(prefix string) string {
	r.t.Helper()
	keys, err := store.Keys(r.t.Context(), r.store, prefix, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, k := range keys {
		keys[i] = strings.TrimPrefix(k, prefix)
	}
	return strings.Join(keys, " ")
}

func (r *rig) want(prefix, names string) {
	r.t.Helper()
	if got := r.keys(prefix); got != names {
		r.t.Errorf("under %s: %q, want %q", prefix, got, names)
	}
}

// Whatever number of replicas tidies up: the newest ended runs stay, the others move with all they say and keep their
// events, and what lives is left alone.
func TestEndedRunsMoveIntoTheArchive(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		live := run("r-000", running, 0)
		r.put(live...)
		want := map[string]*jv1.Run{}
		for i := 1; i <= 300; i++ {
			name := fmt.Sprintf("r-%03d", i)
			ops := run(name, succeeded, time.Duration(1000-i)*time.Minute)
			r.put(ops...)
			var m jv1.Run
			if err := store.Open(ops[0].Value, &m); err != nil {
				t.Fatal(err)
			}
			want[name] = &m
		}
		r.tidy(3, retention.Options{Recent: 3}, time.Minute)
		r.want(store.Runs, "r-000 r-298 r-299 r-300")
		all, _, err := archive.Runs(t.Context(), r.store, "", 0)
		if err != nil || len(all) != 297 {
			t.Fatalf("%d archived runs, %v", len(all), err)
		}
		for _, rec := range all {
			name := rec.Msg.GetName()
			if !proto.Equal(rec.Msg, want[name]) {
				t.Fatalf("%v was archived as %v", want[name], rec.Msg)
			}
			events, more, err := archive.Events(t.Context(), r.store, name, 0, 10)
			if err != nil || more || len(events) != 2 || events[0].GetRun() != name || events[1].GetSequence() != 2 {
				t.Fatalf("events of %s: %v, %v", name, events, err)
			}
		}
		// Those of an archived run are in its record.
		if n, err := store.Count(t.Context(), r.store, store.RunEventsPrefix); err != nil || n != 8 {
			t.Errorf("%d records of events, %v", n, err)
		}
	})
}

// A run with more events than one record takes is archived without them, and still shows all of them.
func TestARunWithManyEventsIsArchivedWhole(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.put(run("r-long", succeeded, time.Hour)...)
		r.put(run("r-new", succeeded, time.Minute)...)
		for i := int64(3); i <= 200; i++ {
			r.put(store.Put(store.RunEventsKey("r-long", i), &recordv1.RunEvents{Events: []*jv1.RunEvent{{Run: "r-long", Sequence: i}}}))
		}
		r.tidy(1, retention.Options{Recent: 1}, time.Minute)
		r.want(store.ArchivedRuns, "r-long")
		var last int64
		for more := true; more; {
			var events []*jv1.RunEvent
			var err error
			if events, more, err = archive.Events(t.Context(), r.store, "r-long", last, 30); err != nil || len(events) == 0 {
				t.Fatalf("after %d: %v, %v", last, events, err)
			}
			for _, e := range events {
				if e.GetSequence() != last+1 {
					t.Fatalf("event %d follows event %d", e.GetSequence(), last)
				}
				last = e.GetSequence()
			}
		}
		if last != 200 {
			t.Errorf("the last event is %d", last)
		}
	})
}

// A trigger stays where decisions find it while it is pending, while its run lives, and while its episode is the newest
// one of its provider, however many there are.
func TestTriggersThatDecideStay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.put(run("r-live", running, 0)...)
		r.put(
			store.Put(store.HealthKey("chat", "a"), &jv1.Health{Service: "chat", Provider: "a", Generation: 7}),
			trigger("h.chat.a.6.failing", "a", 6, settled, "r-gone", 3*time.Hour),
			trigger("h.chat.a.7.failing", "a", 7, settled, "r-gone", 2*time.Hour),
			trigger("h.chat.b.1.failing", "b", 1, settled, "", 9*time.Hour),
			trigger("h.chat.b.2.failing", "b", 2, settled, "", 8*time.Hour),
			trigger("g-1", "a", 0, settled, "r-live", 7*time.Hour),
			trigger("g-2", "a", 0, settled, "r-gone", 6*time.Hour),
			trigger("g-3", "a", 0, pending, "", 0),
			trigger("g-4", "a", 0, settled, "", time.Hour),
		)
		r.tidy(2, retention.Options{Recent: 1}, time.Minute)
		r.want(store.Triggers, "g-1 g-3 g-4 h.chat.a.7.failing h.chat.b.2.failing")
		r.want(store.ArchivedTriggers, "g-2 h.chat.a.6.failing h.chat.b.1.failing")
	})
}

// The mark that keeps a runbook to one run an episode outlives the run: a provider may fail for weeks.
func TestTheMarkOfThePresentEpisodeStays(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		mark := func(generation int64, run string) store.Op {
			return store.Put(store.EpisodeKey("chat", "a", generation, "outage"), &recordv1.Episode{Run: run})
		}
		r.put(run("r-live", running, 0)...)
		r.put(
			store.Put(store.HealthKey("chat", "a"), &jv1.Health{Service: "chat", Provider: "a", Generation: 5}),
			mark(3, "r-gone"), mark(4, "r-live"), mark(5, "r-gone"),
		)
		r.tidy(1, retention.Options{}, 2*time.Minute)
		r.want(store.Episodes, "chat/a/000000000004/outage chat/a/000000000005/outage")
	})
}

// What is past its time goes: runs with all their events wherever they stand, also when the first try does not get
// through, and everything that holds nothing any more.
func TestWhatIsPastItsTimeGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		day := 24 * time.Hour
		old, young := timestamppb.New(time.Now().Add(-31*day)), timestamppb.New(time.Now().Add(-29*day))
		future := timestamppb.New(time.Now().Add(day))
		r.put(run("r-old", succeeded, 31*day)...)
		r.put(run("r-young", succeeded, 29*day)...)
		r.put(run("r-archived", succeeded, 31*day)[1:]...)
		r.put(
			store.Put(store.ArchivedRunKey("r-archived"), &recordv1.ArchivedRun{Run: &jv1.Run{Name: "r-archived", State: succeeded, EndTime: old}}),
			store.Put(store.ArchivedRunKey("r-kept"), &recordv1.ArchivedRun{Run: &jv1.Run{Name: "r-kept", State: succeeded, EndTime: young}}),
			store.Put(store.ArchivedTriggerKey("g-old"), &jv1.Trigger{Name: "g-old", State: settled, EndTime: old}),
			store.Put(store.ArchivedTriggerKey("g-young"), &jv1.Trigger{Name: "g-young", State: settled, EndTime: young}),
			store.Put(store.CooldownKey("chat", "a", "over"), &recordv1.Cooldown{Until: old}),
			store.Put(store.CooldownKey("chat", "a", "remembered"), &recordv1.Cooldown{Until: old, ForgetTime: future}),
			store.Put(store.SwitchSlotKey(0), &recordv1.SwitchSlot{ExpireTime: old}),
			store.Put(store.SwitchSlotKey(1), &recordv1.SwitchSlot{ExpireTime: future}),
			store.Put(store.InForceKey("gone"), &recordv1.InForceReport{ValidUntil: old}),
			store.Put(store.RequestKey("ana", "1"), &recordv1.Request{ExpireTime: old}),
			store.Put(store.RequestKey("ana", "2"), &recordv1.Request{ExpireTime: future}),
			store.Put(store.AuditKey("a-1"), &jv1.AuditEvent{Time: timestamppb.New(time.Now().Add(-401 * day))}),
			store.Put(store.AuditKey("a-2"), &jv1.AuditEvent{Time: old}),
			store.Put(store.IncidentKey("i-1"), &jv1.Incident{ResolveTime: timestamppb.New(time.Now().Add(-401 * day))}),
			store.Put(store.IncidentKey("i-2"), &jv1.Incident{CreateTime: timestamppb.New(time.Now().Add(-401 * day))}),
		)
		faulty := storetest.NewFaulty(r.backend)
		var refused atomic.Int32
		faulty.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			if len(txn.Then) > 0 && strings.HasPrefix(txn.Then[0].Key, store.RunEventsPrefix) && refused.Add(1) <= 2 {
				return storetest.Fault{Kind: storetest.NoSpace}
			}
			return storetest.Fault{}
		})
		st := store.New(store.Options{Backend: faulty})
		if err := st.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		r.tidy(1, retention.Options{Store: st}, 5*time.Minute)
		if refused.Load() < 2 {
			t.Error("nothing was refused")
		}
		r.want(store.Runs, "r-young")
		r.want(store.ArchivedRuns, "r-kept")
		r.want(store.RunEventsPrefix, "r-young/000000000001 r-young/000000000002")
		r.want(store.ArchivedTriggers, "g-young")
		r.want(store.Cooldowns, "chat/a/remembered")
		r.want(store.SwitchSlots, "000000000001")
		r.want(store.InForce, "")
		r.want(store.Audit, "a-2")
		r.want(store.Incidents, "i-2")
		if n, err := store.Count(t.Context(), r.store, store.Requests); err != nil || n != 1 {
			t.Errorf("%d remembered requests, %v", n, err)
		}
	})
}

// More than may be kept goes too, the oldest first, and the revisions of a runbook that no live run needs.
func TestNumbersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for i := range 250 {
			name := fmt.Sprintf("r-%03d", i)
			r.put(run(name, succeeded, time.Duration(250-i)*time.Minute)...)
			r.put(store.Put(store.AuditKey(fmt.Sprintf("a-%03d", i)), &jv1.AuditEvent{Time: timestamppb.Now()}))
		}
		live := &jv1.Run{Name: "s-live", Runbook: "outage", RunbookVersion: 2, State: running, Included: map[string]int64{"tell": 1}}
		r.put(store.Put(store.RunKey("s-live"), live))
		for version := int64(1); version <= 10; version++ {
			for _, name := range []string{"outage", "tell"} {
				r.put(store.Put(store.RunbookRevisionKey(name, version), &jv1.Runbook{Name: name, Version: version}))
			}
		}
		r.tidy(2, retention.Options{Recent: 10, Archived: 20, AuditCount: 7, Revisions: 3}, 7*time.Minute)
		if n := len(strings.Fields(r.keys(store.Runs))); n != 11 {
			t.Errorf("%d runs are mirrored", n)
		}
		if got := strings.Fields(r.keys(store.ArchivedRuns)); len(got) != 20 || got[0] != "r-220" || got[19] != "r-239" {
			t.Errorf("archived: %v", got)
		}
		if n := len(strings.Fields(r.keys(store.RunEventsPrefix))); n != 20 {
			t.Errorf("%d records of events", n)
		}
		if got := strings.Fields(r.keys(store.Audit)); len(got) != 7 || got[0] != "a-243" {
			t.Errorf("audit: %v", got)
		}
		r.want(store.RunbookRevisions, "outage/000000000002 outage/000000000008 outage/000000000009 outage/000000000010 "+
			"tell/000000000001 tell/000000000008 tell/000000000009 tell/000000000010")
	})
}

// While it is not allowed nothing is touched.
func TestNothingIsDeletedWhileItIsNotAllowed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.put(run("r-old", succeeded, 31*24*time.Hour)...)
		r.tidy(1, retention.Options{Allowed: func() bool { return false }}, 5*time.Minute)
		r.want(store.Runs, "r-old")
	})
}
