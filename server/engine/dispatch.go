package engine

import (
	"context"
	"strings"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
)

// followed are the families whose changes may be a reason to act.
var followed = []string{
	store.Sessions, store.Services, store.Runbooks, store.Continuity, store.VotesPrefix, store.Reports, store.HealthPrefix,
	store.Triggers, store.Runs, store.LiveRuns, store.Cooldowns, store.AutomationPrefix,
	store.Maintenances, store.SettingsPrefix, store.SwitchSlots, store.InForce,
}

// dispatch follows the store and wakes whom a change concerns. It decides nothing: a change that is missed costs only
// the time until the next sweep.
func (e *Engine) dispatch(ctx context.Context) {
	for ctx.Err() == nil {
		sub := e.o.Store.Subscribe(followed, store.Cursor{})
		for {
			up, err := sub.Next(ctx)
			if err != nil {
				break
			}
			e.concern(up)
		}
		sub.Close()
		breath := minBreath
		pause(ctx, &breath)
	}
}

// concern wakes executors and workers for the changes of an update, each once.
func (e *Engine) concern(up store.Update) {
	services := map[string]bool{}
	orphans := up.Reset
	everywhere := up.Reset
	for _, ev := range up.Events {
		family, rest := splitKey(ev.Key)
		switch family {
		case store.Runs:
			e.wakeRun(rest)
			if run, ok := ev.Msg.(*jv1.Run); ok && (runs.Ended(run.GetState()) || run.GetState() == jv1.RunState_RUN_STATE_WAITING) {
				services[run.GetService()] = true
			}
		case store.Sessions:
			orphans = orphans || ev.Msg == nil
		case store.Triggers:
			if t, ok := ev.Msg.(*jv1.Trigger); ok && t.GetState() == tsPending {
				services[t.GetService()] = true
			}
		case store.Runbooks, store.AutomationPrefix, store.Maintenances, store.SettingsPrefix:
			everywhere = true
		case store.SwitchSlots:
			// Who waits for a slot looks again when the first is free by itself; only one that is removed is free earlier.
			everywhere = everywhere || ev.Msg == nil
		case store.InForce:
			if report, ok := ev.Msg.(*recordv1.InForceReport); ok {
				e.wakeDraining(report)
			}
		case store.VotesPrefix, store.Reports:
			e.wakeService(first(rest))
		default:
			services[first(rest)] = true
			e.wakeService(first(rest))
		}
	}
	if everywhere {
		services = e.allServices()
		for s := range services {
			e.wakeService(s)
		}
	}
	for s := range services {
		e.pokeTriggers(s)
	}
	if orphans {
		e.adopt()
	}
}

// splitKey parts a key into its family and the rest.
func splitKey(key string) (family, rest string) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(key, store.Root), "/")
	return store.Root + name + "/", rest
}

func first(rest string) string {
	word, _, _ := strings.Cut(rest, "/")
	return word
}

func (e *Engine) allServices() map[string]bool {
	out := map[string]bool{}
	e.o.Store.Read(func(v store.View) {
		for _, s := range store.List[*jv1.Service](v, store.Services) {
			out[s.Msg.GetName()] = true
		}
	})
	return out
}

func (e *Engine) wakeRun(name string) {
	e.mu.Lock()
	x := e.executors[name]
	e.mu.Unlock()
	if x != nil {
		x.poke()
	}
}

func (e *Engine) wakeService(service string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.executors {
		if x.service == service {
			x.poke()
		}
	}
}

// pokeTriggers has the worker of the service evaluate its pending triggers; the first poke of a session begins it.
func (e *Engine) pokeTriggers(service string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil || service == "" {
		return
	}
	poke, ok := e.services[service]
	if !ok {
		poke = make(chan struct{}, 1)
		e.services[service] = poke
		session, ctx := e.session, e.ctx
		e.group.Add(1)
		go func() {
			defer e.group.Done()
			e.work(ctx, session, service, poke)
		}()
	}
	select {
	case poke <- struct{}{}:
	default:
	}
}

// work evaluates the pending triggers of one service whenever it is poked, or a guard's time has come.
func (e *Engine) work(ctx context.Context, session *store.Session, service string, poke <-chan struct{}) {
	breath := minBreath
	var again time.Time
	for {
		var timer <-chan time.Time
		if !again.IsZero() {
			t := time.NewTimer(max(0, again.Sub(e.o.Now())))
			timer = t.C
		}
		select {
		case <-ctx.Done():
			return
		case <-poke:
		case <-timer:
		}
		var err error
		if again, err = e.pending(ctx, session, service); err != nil {
			e.trouble(ctx, service, err)
			pause(ctx, &breath)
			again = e.o.Now()
			continue
		}
		breath = minBreath
	}
}

// adopt begins an executor for every live run that has none here and whose owner is this session, or is gone.
func (e *Engine) adopt() {
	session, ctx, err := e.current()
	if err != nil {
		return
	}
	var mine []store.Record[*jv1.Run]
	e.o.Store.Read(func(v store.View) {
		for _, r := range store.List[*jv1.Run](v, store.Runs) {
			if !runs.Ended(r.Msg.GetState()) && (owns(session, r.Msg.GetOwner()) || !ownerLives(v, r.Msg.GetOwner())) {
				mine = append(mine, r)
			}
		}
	})
	for _, r := range mine {
		e.execute(ctx, session, r.Msg, r.Mod, nil)
	}
}

// wakeAll has every run looked at again.
func (e *Engine) wakeAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.executors {
		x.poke()
	}
}

// Wake has the runs of services look at the facts again: something they may wait for is kept outside the store.
func (e *Engine) Wake(services []string) {
	for _, s := range services {
		e.wakeService(s)
	}
}
