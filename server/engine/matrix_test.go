package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/library"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// ingredient is one way to use a kind of step.
type ingredient struct {
	name  string
	steps func(id string) []*jv1.Step
}

// one makes an ingredient of a single step.
func one(name string, step func() *jv1.Step) ingredient {
	return ingredient{name, func(id string) []*jv1.Step {
		s := step()
		s.Id = id
		return []*jv1.Step{s}
	}}
}

// inner is the runbook that is run within others.
func inner() *jv1.Runbook {
	b := book("inner", doing(tell("inner_told"), queue(), post("inner_call")))
	b.On = nil
	return b
}

// ingredients use every kind of step, and each in the ways in which crashes may matter to it.
func ingredients() []ingredient {
	refused := func() *jv1.Step { return onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_CONTINUE) }
	return []ingredient{
		one("switch", func() *jv1.Step { return switchTo("b") }),
		one("confirm", func() *jv1.Step { return confirmed(switchTo("b", "c"), 5*time.Second) }),
		one("unconfirmed", func() *jv1.Step {
			return onFailure(confirmed(switchTo("c"), 5*time.Second), jv1.OnFailure_ON_FAILURE_CONTINUE)
		}),
		one("queue", queue),
		one("unqueue", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_DisableQueueing{DisableQueueing: &jv1.DisableQueueingStep{}}}
		}),
		one("notify", func() *jv1.Step { return tell("told") }),
		one("approval", func() *jv1.Step { return ask("sure") }),
		one("wait", func() *jv1.Step { return pauseFor(3 * time.Second) }),
		one("until", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Until: `health["b"] == "HEALTHY"`}}}
		}),
		one("verify", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_Verify{Verify: &jv1.VerifyStep{
				Health: jv1.VerifyHealth_VERIFY_HEALTH_HEALTHY, Provider: "b", For: durationpb.New(2 * time.Second),
			}}}
		}),
		one("call", func() *jv1.Step { return post("call") }),
		one("call once", func() *jv1.Step { return post("once", once) }),
		one("refused", refused),
		one("skipped", func() *jv1.Step { return given(post("skipped"), "false") }),
		one("weight", func() *jv1.Step {
			return onFailure(&jv1.Step{Action: &jv1.Step_SetWeight{SetWeight: &jv1.SetWeightStep{Provider: "c", Percent: 5}}},
				jv1.OnFailure_ON_FAILURE_CONTINUE)
		}),
		one("automation", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_AutomationOff{AutomationOff: &jv1.AutomationOffStep{}}}
		}),
		one("incident", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_UpdateIncident{UpdateIncident: &jv1.UpdateIncidentStep{
				Status: jv1.IncidentStatus_INCIDENT_STATUS_IDENTIFIED,
			}}}
		}),
		one("drain", func() *jv1.Step { return &jv1.Step{Action: &jv1.Step_DrainQueue{DrainQueue: &jv1.DrainQueueStep{}}} }),
		one("runbook", func() *jv1.Step {
			return &jv1.Step{Action: &jv1.Step_RunRunbook{RunRunbook: &jv1.RunRunbookStep{Runbook: "inner"}}}
		}),
		{"parallel", func(id string) []*jv1.Step {
			return []*jv1.Step{{Id: id, Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{Steps: []*jv1.Step{
				named(post("left"), id+"_left"), named(tell("right"), id+"_right"),
			}}}}}
		}},
		{"parallel calls", func(id string) []*jv1.Step {
			return []*jv1.Step{{Id: id, Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{
				FailOn: jv1.FailOn_FAIL_ON_ALL,
				Steps:  []*jv1.Step{named(post("first"), id+"_first"), named(post("refused"), id+"_second"), named(queue(), id+"_third")},
			}}}}
		}},
	}
}

func named(s *jv1.Step, id string) *jv1.Step {
	s.Id = id
	return s
}

// combinations are runbooks of every ordered pair of ingredients, each as it is and followed by a failure that has
// everything undone, and the runbooks we ship.
func combinations(t *testing.T) []variant {
	t.Helper()
	var out []variant
	all := ingredients()
	for _, a := range all {
		for _, b := range all {
			for _, undone := range []bool{false, true} {
				name, list := a.name+" then "+b.name, append(a.steps("a"), b.steps("b")...)
				if undone {
					name += ", undone"
					list = append(list, onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))
				}
				out = append(out, variant{scenario: scenario{name: name, book: book("s", doing(list...))}, others: []*jv1.Runbook{inner()}})
			}
		}
	}
	return append(out, shippedVariants(t)...)
}

// shippedVariants are the runbooks we ship, in the states in which they are meant to run.
func shippedVariants(t *testing.T) []variant {
	t.Helper()
	var out []variant
	for _, name := range library.Names() {
		b := shipped(t, name)
		b.Name, b.On, b.Automation = "s", nil, nil
		failing := func(r *rig) { r.health("a", jv1.HealthState_HEALTH_STATE_FAILING, 0) }
		onStandby := func(r *rig) {
			if _, err := r.first.desk.Switch(as(r.ctx, "ana"), &jv1.SwitchProviderRequest{Service: "chat", Provider: "b", Reason: "test"}); err != nil {
				r.t.Fatal(err)
			}
			if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "test"}); err != nil {
				r.t.Fatal(err)
			}
		}
		nobody := func(r *rig) {
			for _, p := range []string{"a", "b", "c"} {
				r.health(p, jv1.HealthState_HEALTH_STATE_FAILING, 0)
			}
			time.AfterFunc(20*time.Second, func() {
				if r.ctx.Err() == nil {
					r.health("a", jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
				}
			})
		}
		prepare := map[string][]func(*rig){
			"ai-provider-outage": {failing, nobody}, "fail-back": {onStandby}, "queue-and-notify": {nobody},
		}[name]
		if len(prepare) == 0 {
			t.Errorf("%s is shipped and no crash is tried with it: say in which state it runs", name)
		}
		for i, p := range prepare {
			out = append(out, variant{
				scenario: scenario{name: fmt.Sprintf("shipped %s %d", name, i), book: proto.CloneOf(b)}, prepare: p, patience: 30 * time.Minute,
			})
		}
	}
	return out
}

// variant is a scenario with what it needs around it.
type variant struct {
	scenario
	others   []*jv1.Runbook
	prepare  func(*rig)
	patience time.Duration // how long a run may take; 0: a minute
}

// run is [scenario.run] with what is around it.
func (v variant) run(t *testing.T, boundaries []boundary) (out outcome, transactions int) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		r.probes.set("b", 3)
		r.catalog(append([]*jv1.Runbook{v.book}, v.others...)...)
		r.commit(store.Put(store.ChannelKey("oncall"), &jv1.Channel{Name: "oncall", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}))
		if v.prepare != nil {
			v.prepare(r)
		}
		gw := &gateway{rig: r, name: "gw", queued: 3}
		gw.report()
		// The replica that watches the test must not help: it has no engine of its own.
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		var last *dying
		for i := 0; i <= len(boundaries); i++ {
			where := boundary{}
			if i < len(boundaries) {
				where = boundaries[i]
			}
			last = newDying(r.backend, where)
			p := r.replica(fmt.Sprintf("replica-%d", i), last)
			v.request(t, r, p, last)
			for begin := time.Now(); ; {
				settle(r, p, last, gw.work)
				if all := r.runs(); len(all) == 0 || all[0].GetEndTime() != nil || closed(last.dead) || time.Since(begin) >= v.patience {
					break
				}
			}
			if i < len(boundaries) {
				last.SetDown(true)
			}
			p.kill()
		}
		time.Sleep(30 * time.Second) // zombies arrive
		transactions = last.count
		out = v.judge(t, r)
		v.calledOnce(t, r)
	})
	return out, transactions
}

// calledOnce checks that no call that may be made once was made again unless a human said so.
func (v variant) calledOnce(t *testing.T, r *rig) {
	t.Helper()
	run := r.only()
	batches, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+run.GetName()+"/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]int{}
	for _, s := range v.book.GetSteps() {
		if s.GetHttpRequest().GetRepeat() == jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE {
			allowed[run.GetName()+"."+s.GetId()] = 1
		}
	}
	for _, b := range batches {
		for _, e := range b.Msg.GetEvents() {
			if key := run.GetName() + "." + e.GetStep(); allowed[key] > 0 && e.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_RESUMED {
				allowed[key]++
			}
		}
	}
	made := map[string]int{}
	for _, call := range r.sink.keys() {
		_, key, _ := strings.Cut(call, " ")
		made[key]++
	}
	for key, n := range allowed {
		if made[key] > n {
			t.Errorf("%s: the call of %s was made %d times, at most %d were allowed", v.name, key, made[key], n)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// undisturbed is what comes of the variant without a crash.
func (v variant) undisturbed(t *testing.T) (outcome, int) {
	t.Helper()
	out, n := v.run(t, nil)
	if out.state != succeeded && out.state != failed {
		t.Fatalf("%s ends %v without any crash: %+v", v.name, out.state, out)
	}
	return out, n
}

// compare visits boundaries and compares with the run without crashes.
func (v variant) compare(t *testing.T, clean outcome, where ...boundary) {
	t.Helper()
	if got, _ := v.run(t, where); got != clean {
		t.Errorf("%s, dying %v:\n got %+v\nwant %+v", v.name, where, got, clean)
	}
}

// crashEach visits every single boundary of the variants, in every mode, and returns how many those were.
func crashEach(t *testing.T, variants []variant) (visited int) {
	t.Helper()
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for _, v := range variants {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				clean, n := v.undisturbed(t)
				for at := 1; at <= n; at++ {
					for _, mode := range []crashMode{before, unacked, zombie} {
						v.compare(t, clean, boundary{at, mode})
					}
				}
				mu.Lock()
				visited += 3 * n
				mu.Unlock()
			})
		}
	})
	return visited
}

// Every kind of step that there is must be among what crashes are tried with.
func TestCrashesAreTriedWithEveryKind(t *testing.T) {
	tried := map[string]bool{}
	for _, i := range ingredients() {
		for _, s := range i.steps("a") {
			tried[runbooks.StepKind(s)] = true
		}
	}
	for _, kind := range append(steps.New(steps.Options{}).Names(), "parallel", "run_runbook") {
		if !tried[kind] {
			t.Errorf("no crash is tried with %s", kind)
		}
	}
}

// A share of campaign C1, see TestEveryCrashBoundaryOfEveryPairOfKinds: the runbooks we ship, and some pairs.
func TestCrashBoundariesOfPairsOfKinds(t *testing.T) {
	all := combinations(t)
	chosen := slices.Clone(all[len(all)-len(shippedVariants(t)):])
	for i, v := range all[:len(all)-len(chosen)] {
		if i%47 == 5 {
			chosen = append(chosen, v)
		}
	}
	visited := crashEach(t, chosen)
	if visited < 150 {
		t.Errorf("only %d boundaries were visited", visited)
	}
	t.Logf("%d boundaries of %d runbooks visited", visited, len(chosen))
}

// randomCrashes runs random runbooks of three ingredients through one to three random crashes each, and returns how
// often a run was resumed. The seed makes them again.
func randomCrashes(t *testing.T, seed uint64, count int) (resumed int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	all := ingredients()
	var clean outcome
	var transactions int
	var v variant
	for i := 0; i < count && !t.Failed(); i++ {
		if i%10 == 0 {
			var names []string
			var list []*jv1.Step
			for _, id := range []string{"a", "b", "c"} {
				x := all[random.IntN(len(all))]
				names = append(names, x.name)
				list = append(list, x.steps(id)...)
			}
			if random.IntN(3) == 0 {
				names = append(names, "undone")
				list = append(list, onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))
			}
			v = variant{
				scenario: scenario{name: fmt.Sprintf("seed %d: %s", seed, strings.Join(names, ", ")), book: book("s", doing(list...))},
				others:   []*jv1.Runbook{inner()},
			}
			clean, transactions = v.undisturbed(t)
		}
		var where []boundary
		for range 1 + random.IntN(3) {
			where = append(where, boundary{1 + random.IntN(transactions), crashMode(random.IntN(3))})
		}
		v.compare(t, clean, where...)
		resumed += len(where)
	}
	return resumed
}

// A share of campaign C2, see TestManyRandomCrashes.
func TestRandomCrashes(t *testing.T) {
	if resumed := randomCrashes(t, 1, 200); resumed < 300 {
		t.Errorf("only %d resumptions", resumed)
	}
}
