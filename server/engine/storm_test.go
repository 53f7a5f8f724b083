package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// storm is a cluster in which everything happens at once: providers fail and recover, clients and humans ask for things,
// replicas die, hang and come back, and transactions get lost, arrive late, or are done without anybody hearing of it.
type storm struct {
	*rig
	t           *testing.T
	random      *rand.Rand
	seed        uint64
	calm        bool
	mu          sync.Mutex // of random and calm, in hooks
	replicas    []*replica
	faults      []*storetest.Faulty
	names       int
	generations map[string]int64
	healthy     map[string]bool
	epoch       int64
	active      string
	switches    []switched
}

func (s *storm) chance(percent int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.calm && s.random.IntN(100) < percent
}

func (s *storm) pick(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// fault is what happens to a transaction of a replica.
func (s *storm) fault(context.Context, store.Txn) storetest.Fault {
	if !s.chance(12) {
		return storetest.Fault{}
	}
	kinds := []storetest.Kind{storetest.Executed, storetest.Dropped, storetest.Delayed, storetest.Unavailable}
	return storetest.Fault{Kind: kinds[s.pick(len(kinds))], Delay: time.Duration(s.pick(3000)) * time.Millisecond}
}

func (s *storm) spawn() {
	f := storetest.NewFaulty(s.backend)
	s.names++
	p := s.replica(fmt.Sprintf("replica-%d", s.names), f)
	f.OnCommit(s.fault)
	s.replicas, s.faults = append(s.replicas, p), append(s.faults, f)
}

func (s *storm) slay(i int) {
	s.faults[i].SetDown(true)
	s.replicas[i].kill()
	s.replicas, s.faults = slices.Delete(s.replicas, i, i+1), slices.Delete(s.faults, i, i+1)
}

// stormBooks act, ask, wait, call and undo.
func stormBooks() []*jv1.Runbook {
	cool := func(d time.Duration) func(*jv1.Runbook) {
		return func(b *jv1.Runbook) { b.Guards = &jv1.Guards{Cooldown: durationpb.New(d)} }
	}
	back := book("back", doing(ask("sure"), switchTo("a"), tell("done")), cool(time.Minute))
	back.On = &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_HEALTHY, Provider: "preferred"}
	anything := book("any", level(jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE), doing(tell("told"), post("once", once)))
	anything.On.Provider = "any"
	return []*jv1.Runbook{
		book("outage", doing(tell("start"), onFailure(confirmed(switchTo("any"), 20*time.Second), jv1.OnFailure_ON_FAILURE_CONTINUE),
			post("call"), onFailure(post("flaky"), jv1.OnFailure_ON_FAILURE_COMPENSATE), tell("end")), cool(time.Minute)),
		back, anything,
		book("slow", doing(queue(), pauseFor(40*time.Second), onFailure(post("flaky", once), jv1.OnFailure_ON_FAILURE_PAUSE))),
	}
}

// human lets somebody do something to some run or service. What is refused is refused.
func (s *storm) human() {
	p := s.replicas[s.pick(len(s.replicas))]
	ctx, cancel := context.WithTimeout(as(s.ctx, "ana"), 4*time.Second)
	defer cancel()
	id := fmt.Sprint(s.pick(20))
	all := s.runs()
	name := "none"
	if len(all) > 0 {
		name = all[len(all)-1-s.pick(min(len(all), 4))].GetName()
	}
	switch s.pick(12) {
	case 0:
		_, _ = p.engine.Start(ctx, &jv1.StartRunRequest{Runbook: "slow", Reason: "test", RequestId: "start-" + id})
	case 1:
		_, _ = p.engine.Fire(ctx, &jv1.FireTriggerRequest{Service: "chat", Provider: string("abc"[s.pick(3)]), Reason: "test", RequestId: "fire-" + id})
	case 2, 3:
		_, _ = p.engine.Decide(ctx, &jv1.DecideRunRequest{Name: name, Approve: s.pick(3) > 0})
	case 4:
		_, _ = p.engine.Cancel(ctx, &jv1.CancelRunRequest{Name: name, Reason: "test"})
	case 5:
		_, _ = p.engine.Pause(ctx, &jv1.PauseRunRequest{Name: name, Reason: "test"})
	case 6, 7:
		_, _ = p.engine.Resume(ctx, &jv1.ResumeRunRequest{Name: name, Reason: "test", Outcome: jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED})
	case 8:
		_, _ = p.desk.Switch(ctx, &jv1.SwitchProviderRequest{
			Service: "chat", Provider: string("abc"[s.pick(3)]), Reason: "test", BreakGlass: s.pick(2) == 0, RequestId: "switch-" + id,
		})
	case 9:
		_, _ = p.desk.SetAutomation(ctx, &jv1.SetAutomationRequest{On: s.pick(3) > 0, Reason: "test"})
	case 10:
		if s.pick(2) == 0 {
			s.window("storm", time.Duration(1+s.pick(120))*time.Second)
		} else {
			s.commit(store.Delete(store.MaintenanceKey("storm")))
		}
	case 11:
		_, _ = p.desk.Acknowledge(ctx, &jv1.AcknowledgeRequest{Service: "chat", Reason: "test"})
	}
}

func (s *storm) turn(provider string, healthy bool) {
	if s.healthy[provider] == healthy {
		return
	}
	s.healthy[provider] = healthy
	if healthy {
		s.recovers(provider, s.generations[provider])
		return
	}
	s.generations[provider]++
	s.fails(provider, s.generations[provider])
}

// happen lets one thing happen.
func (s *storm) happen() {
	switch n := s.pick(20); {
	case n < 8:
		s.turn(string("abc"[s.pick(3)]), s.pick(2) == 0)
	case n < 16:
		s.human()
	case n == 16:
		s.slay(s.pick(len(s.replicas)))
		s.spawn()
	case n == 17:
		f, d := s.faults[s.pick(len(s.faults))], time.Duration(s.pick(25))*time.Second
		f.SetDown(true)
		time.AfterFunc(d, func() { f.SetDown(false) })
	case n == 18:
		if err := s.faults[s.pick(len(s.faults))].LoseLeases(s.ctx); err != nil {
			s.t.Error(err)
		}
	default:
		s.faults[s.pick(len(s.faults))].BreakWatch()
	}
}

// follow checks every state of the service as it comes: epochs grow by one with every change of the route.
func (s *storm) follow(ctx context.Context) {
	sub := s.first.store.Subscribe([]string{store.Continuity}, store.Cursor{})
	defer sub.Close()
	for {
		up, err := sub.Next(ctx)
		if err != nil {
			return
		}
		for _, ev := range up.Events {
			st, ok := ev.Msg.(*jv1.ContinuityState)
			if !ok {
				continue
			}
			if st.GetEpoch() < s.epoch || s.active != "" && st.GetActiveProvider() != s.active && st.GetEpoch() != s.epoch+1 {
				s.t.Errorf("seed %d: epoch %d with %s follows %d with %s", s.seed, st.GetEpoch(), st.GetActiveProvider(), s.epoch, s.active)
			}
			if s.active != "" && st.GetActiveProvider() != s.active && st.GetRun() != "" {
				s.switches = append(s.switches, switched{at: st.GetSince().AsTime(), run: st.GetRun()})
			}
			s.epoch, s.active = st.GetEpoch(), st.GetActiveProvider()
		}
	}
}

// settleAll ends the storm: faults stop, everything is well, automation is on, and a human answers all that is asked.
func (s *storm) settleAll() {
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	for _, f := range s.faults {
		f.SetDown(false)
		f.Settle()
	}
	time.Sleep(time.Minute)
	desk, human := s.replicas[0].desk, as(s.ctx, "eve")
	if _, err := desk.SetAutomation(human, &jv1.SetAutomationRequest{On: true, Reason: "calm"}); err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
	if _, err := desk.Acknowledge(human, &jv1.AcknowledgeRequest{Service: "chat", Reason: "calm"}); err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
	for _, p := range []string{"a", "b", "c"} {
		s.turn(p, true)
	}
	for range 40 {
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, run := range s.runs() {
			e := s.replicas[s.pick(len(s.replicas))].engine
			switch run.GetWait() {
			case jv1.RunWait_RUN_WAIT_APPROVAL:
				_, _ = e.Decide(human, &jv1.DecideRunRequest{Name: run.GetName(), Approve: true})
			case jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN, jv1.RunWait_RUN_WAIT_RESUME:
				// An outcome is refused where none is asked for, and asked for where a call's is not known.
				for _, o := range []jv1.OutcomeDecision{0, jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED} {
					_, _ = e.Resume(human, &jv1.ResumeRunRequest{Name: run.GetName(), Reason: "go on", Outcome: o})
				}
			}
		}
	}
}

// The storm's fleet-wide limit.
const (
	stormSwitches = 2
	stormWindow   = 2 * time.Minute
)

// judge checks what must hold whatever happened.
func (s *storm) judge() {
	episodes := map[string]string{}
	var byMachines []switched
	for _, sw := range s.switches {
		if get[*jv1.Run](s.rig, store.RunKey(sw.run)).GetTrigger() != "" {
			byMachines = append(byMachines, sw)
		}
	}
	if n := overrun(byMachines, stormWindow); n > stormSwitches {
		s.t.Errorf("seed %d: %d runs of machines switched within %v: %v", s.seed, n, stormWindow, byMachines)
	}
	for _, run := range s.runs() {
		if !runs.Ended(run.GetState()) {
			s.t.Errorf("seed %d: run %s of %s stands %v %v: %v", s.seed, run.GetName(), run.GetRunbook(), run.GetState(), run.GetWait(), run.GetSteps())
		}
		if g := run.GetGeneration(); g != 0 {
			key := fmt.Sprintf("%s/%d/%s", run.GetProvider(), g, run.GetRunbook())
			if other := episodes[key]; other != "" {
				s.t.Errorf("seed %d: %s and %s both are the run of %s", s.seed, other, run.GetName(), key)
			}
			episodes[key] = run.GetName()
		}
		s.journal(run)
	}
	if lock := get[*recordv1.LiveRun](s.rig, store.LiveRunKey("chat")); lock != nil {
		s.t.Errorf("seed %d: the service is still locked by %v", s.seed, lock)
	}
	triggers, _, err := store.Scan[*jv1.Trigger](s.ctx, s.first.store, store.Triggers, "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, tr := range triggers {
		if tr.Msg.GetState() == jv1.TriggerState_TRIGGER_STATE_PENDING {
			s.t.Errorf("seed %d: trigger %v is pending", s.seed, tr.Msg)
		}
	}
	seen := map[string]int{}
	for _, k := range s.sink.keys() {
		seen[k]++
	}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		if seen[k] > 1 && k[:5] == "/once" {
			s.t.Errorf("seed %d: %s was called %d times", s.seed, k, seen[k])
		}
	}
}

func (s *storm) journal(run *jv1.Run) {
	events, _, err := store.Scan[*recordv1.RunEvents](s.ctx, s.first.store, store.RunEventsPrefix+run.GetName()+"/", "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	next := int64(1)
	for _, batch := range events {
		for _, ev := range batch.Msg.GetEvents() {
			if ev.GetSequence() != next {
				s.t.Errorf("seed %d: event %d of %s follows event %d", s.seed, ev.GetSequence(), run.GetName(), next-1)
			}
			next = ev.GetSequence() + 1
		}
	}
}

// forecast says how a storm goes on: so many bursts of so many things that happen, and how long it is quiet at most
// after each.
type forecast struct {
	bursts, events int
	quiet          time.Duration
	pace           pace
}

// weather is one storm without a pause.
func weather(t *testing.T, seed uint64) { storming(t, seed, forecast{bursts: 1, events: 60}) }

// aDay is a day with some storms in it. Leases and sweeps are long, or a day would be spent on renewing and looking.
func aDay(t *testing.T, seed uint64) {
	storming(t, seed, forecast{
		bursts: 4, events: 12, quiet: 12 * time.Hour,
		pace: pace{ttl: 2 * time.Minute, sweep: 15 * time.Minute, probe: time.Minute, bookmark: 5 * time.Minute},
	})
}

func storming(t *testing.T, seed uint64, f forecast) {
	atPace(t, f.pace, func(t *testing.T, r *rig) {
		s := &storm{
			rig: r, t: t, random: rand.New(rand.NewPCG(seed, 1)), seed: seed,
			generations: map[string]int64{}, healthy: map[string]bool{"a": true, "b": true, "c": true},
		}
		r.sink.answer = func(n int, req *http.Request) (*http.Response, error) {
			time.Sleep(time.Duration(s.pick(2000)) * time.Millisecond)
			switch {
			case req.Context().Err() != nil:
				return nil, req.Context().Err()
			case req.URL.Path == "/flaky" && s.pick(2) == 0:
				return respond([]int{http.StatusBadRequest, http.StatusBadGateway, http.StatusServiceUnavailable}[s.pick(3)]), nil
			}
			return respond(http.StatusOK), nil
		}
		r.probes.set("b", 3)
		r.catalog(stormBooks()...)
		r.limit(stormSwitches, stormWindow)
		// The replica that watches the test must not help.
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		ctx, cancel := context.WithCancel(r.ctx)
		var following sync.WaitGroup
		following.Go(func() { s.follow(ctx) })
		for range 3 {
			s.spawn()
		}
		begin := time.Now()
		for range f.bursts {
			for range f.events {
				s.happen()
				time.Sleep(time.Duration(s.pick(15000)) * time.Millisecond)
			}
			if f.quiet > 0 {
				time.Sleep(time.Duration(s.pick(int(f.quiet/time.Second))) * time.Second)
			}
		}
		if f.quiet > 0 {
			time.Sleep(24*time.Hour - time.Since(begin))
		}
		s.settleAll()
		synctest.Wait()
		cancel()
		following.Wait()
		s.judge()
		for len(s.replicas) > 0 {
			s.slay(0)
		}
	})
}

// A storm leaves nothing behind: no second run of an episode, no epoch that falls, no lock, no run that stands still, no
// trigger that nobody settled, no call that was to be made once made twice.
func TestStorm(t *testing.T) {
	for seed := range uint64(10) {
		weather(t, seed)
	}
}
