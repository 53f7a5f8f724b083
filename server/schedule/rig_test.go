package schedule_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/schedule"
	"github.com/jurymast/jurymast/server/store"
)

// rig is a store in memory, in virtual time, and an observer that writes past everything.
type rig struct {
	t       testing.TB
	ctx     context.Context
	backend *store.Memory
	look    *store.Store
}

// replica is one process: its own store, session and scheduler, and its own clock.
type replica struct {
	store *store.Store
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu   sync.Mutex
	step time.Duration
}

// now is the replica's clock.
func (p *replica) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.step)
}

// set lets the clock step.
func (p *replica) set(step time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = step
}

// inBubble runs a test in virtual time, which begins at midnight of 1 January 2000.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		backend := store.NewMemory(store.MemoryOptions{Bookmark: time.Hour, Retain: 2000})
		r := &rig{t: t, ctx: ctx, backend: backend, look: quiet(backend, nil)}
		if err := r.look.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() {
			r.look.Close()
			if err := backend.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, r)
	})
}

// quiet is a store that looks after itself so rarely that a month of virtual time is cheap.
func quiet(b store.Backend, now func() time.Time) *store.Store {
	return store.New(store.Options{
		Backend: b, Now: now, Probe: 6 * time.Hour, Stale: 12 * time.Hour, Sweep: 24 * time.Hour, Bookmark: 24 * time.Hour,
	})
}

// replica starts a replica on the backend, which may be a faulty one.
func (r *rig) replica(name string, backend store.Backend) *replica {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.ctx)
	p := &replica{stop: stop}
	p.store = quiet(backend, p.now)
	if err := p.store.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
	keeper := store.NewKeeper(p.store, store.SessionOptions{Replica: name, Version: "test", TTL: 2 * time.Hour})
	timely := schedule.New(schedule.Options{Store: p.store, Sessions: keeper, Now: p.now, Sweep: 5 * time.Minute})
	p.done.Go(func() { _ = keeper.Run(ctx) })
	p.done.Go(func() { _ = timely.Run(ctx) })
	return p
}

// kill stops a replica at once, as kill -9 would: its session stays.
func (p *replica) kill() {
	p.store.Close()
	p.stop()
	p.done.Wait()
}

func (r *rig) commit(ops ...store.Op) {
	r.t.Helper()
	res, err := r.look.Commit(r.ctx, store.Txn{Then: ops})
	if err != nil || !res.Committed {
		r.t.Fatalf("commit: %v %v", res, err)
	}
}

// apply stores a schedule for the runbook `tidy`, as the API would.
func (r *rig) apply(s *jv1.Schedule) {
	r.t.Helper()
	s.Runbook = "tidy"
	s.UpdateTime = timestamppb.Now()
	r.commit(
		store.Put(store.RunbookKey("tidy"), &jv1.Runbook{Name: "tidy", Services: []string{"chat"}}),
		store.Put(store.ScheduleKey(s.GetName()), s),
	)
}

// fired lists the times for which a schedule fired a trigger.
func (r *rig) fired(schedule string) []time.Time {
	r.t.Helper()
	recs, _, err := store.Scan[*jv1.Trigger](r.ctx, r.look, store.TriggerKey("s-"+schedule+"-"), "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []time.Time
	for _, rec := range recs {
		name := rec.Msg.GetName()
		if rec.Create != rec.Mod {
			r.t.Errorf("%s was fired twice", name)
		}
		due, err := time.Parse("20060102t150405z", name[strings.LastIndexByte(name, '-')+1:])
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, due)
	}
	return out
}

func (r *rig) state(schedule string) *recordv1.ScheduleState {
	r.t.Helper()
	rec, err := store.Fetch[*recordv1.ScheduleState](r.ctx, r.look, store.ScheduleStateKey(schedule))
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Msg
}

// sleepUntil lets virtual time pass, and what is due then be done.
func (r *rig) sleepUntil(when time.Time) {
	time.Sleep(time.Until(when))
	synctest.Wait()
}
