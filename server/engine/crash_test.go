package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// scenario is a runbook whose every crash boundary is visited.
type scenario struct {
	name string
	book *jv1.Runbook
	end  jv1.RunState
	// queued is how many requests a gateway holds for the service; 0: there is no gateway.
	queued int64
}

// scenarios hold every step kind, alone and together, with failure, retry and compensation.
func scenarios() []scenario {
	return []scenario{
		{name: "switch", book: book("s", doing(switchTo("b"))), end: succeeded},
		{name: "queue", book: book("s", doing(queue())), end: succeeded},
		{name: "notify", book: book("s", doing(tell("one"), tell("two"))), end: succeeded},
		{name: "calls", book: book("s", doing(post("one"), post("two"), post("three"))), end: succeeded},
		{name: "call once", book: book("s", doing(tell("one"), post("two", once), tell("three"))), end: succeeded},
		{name: "check", book: book("s", doing(tell("one"), post("two", checkable), post("three", checkable))), end: succeeded},
		{name: "check in doubt", book: book("s", doing(post("doubtful", checkable), queue())), end: succeeded},
		{name: "wait", book: book("s", doing(switchTo("b"), pauseFor(3*time.Second), queue())), end: succeeded},
		{name: "approval", book: book("s", doing(ask("sure"), switchTo("b"))), end: succeeded},
		{name: "confirm", book: book("s", doing(confirmed(switchTo("b", "c"), 5*time.Second), tell("told"))), end: succeeded},
		{name: "verify", book: book("s", doing(&jv1.Step{Id: "ok", Action: &jv1.Step_Verify{Verify: &jv1.VerifyStep{
			Health: jv1.VerifyHealth_VERIFY_HEALTH_HEALTHY, Provider: "b",
		}}}, switchTo("b"))), end: succeeded},
		{name: "compensate", book: book("s", doing(switchTo("b"), queue(), post("one"), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed},
		{name: "undone by calls", book: book("s", doing(undoneBy(post("one"), untell("log")), undoneBy(tell("told"), call("untold")), queue(),
			undoneBy(post("two"), call("back")), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed},
		{name: "undone in part", book: book("s", doing(undoneBy(post("one"), call("first")), undoneBy(post("two"), call("refused")),
			undoneBy(post("three"), call("unavailable")), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed},
		{name: "mixed", book: book("s", doing(tell("first"), switchTo("b"), post("call"), queue(), tell("last"))), end: succeeded},
		{name: "weight", book: book("s", doing(weigh("canary", "b", 5), pauseFor(2*time.Second), weigh("more", "b", 20))), end: succeeded},
		{name: "weight undone", book: book("s", doing(weigh("canary", "b", 5), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed},
		{name: "automation off", book: book("s", doing(machinesOff("off"), post("call"), switchTo("b"))), end: succeeded},
		{name: "automation undone", book: book("s", doing(machinesOff("off"), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed},
		{name: "incident", book: book("s", doing(say("bad", identified), switchTo("b"), say("better", monitoring), post("call"), say("over", resolved))), end: succeeded},
		{name: "drain", book: book("s", doing(queue(), drain("drain"), unqueue())), end: succeeded, queued: 5},
		{name: "drain that fails", book: book("s", doing(queue(), onFailure(drainWithin("drain", 5*time.Second), jv1.OnFailure_ON_FAILURE_COMPENSATE))), end: failed, queued: 1 << 40},
		{name: "parallel", book: book("s", doing(parallel("p", anyError, post("one"), post("two"), tell("told")), queue())), end: succeeded},
		{name: "some fail", book: book("s", doing(parallel("p", allFail, post("refused"), post("two"), pauseFor(3*time.Second)), queue())), end: succeeded},
		{name: "parallel approval", book: book("s", doing(parallel("p", anyError, ask("sure"), post("call")), switchTo("b"))), end: succeeded},
		{name: "run_runbook", book: book("s", doing(include("sub", "inner"), switchTo("b"))), end: succeeded},
		{name: "runbooks side by side", book: book("s", doing(switchTo("b"), parallel("p", anyError, include("sub", "inner"), include("more", "calls")), tell("last"))), end: succeeded},
		{name: "compensate from inside", book: book("s", doing(switchTo("b"), include("sub", "undone"), tell("last"))), end: failed},
	}
}

// insides are the runbooks that those of the scenarios run.
func insides() []*jv1.Runbook {
	return []*jv1.Runbook{
		book("inner", quietly, doing(queue(), post("call"), tell("told"))),
		book("calls", quietly, doing(post("one"), tell("told"), post("two"))),
		book("undone", quietly, doing(queue(), post("one"), onFailure(post("refused"), jv1.OnFailure_ON_FAILURE_COMPENSATE))),
	}
}

// outcome is what must not depend on crashes.
type outcome struct {
	active   string
	queueing bool
	epoch    int64
	state    jv1.RunState
	outbox   string
	effects  string
	weights  string
	drain    bool
	machines string // how automation was left
	incident string // where the incident stands, and how often it was spoken of
	audited  int    // changes of automation
}

// boundary says where a replica dies: at its n-th transaction for the run, and how.
type boundary struct {
	at   int
	mode crashMode
}

type crashMode int

const (
	before  crashMode = iota // the transaction was never sent
	unacked                  // it was committed, and nobody heard
	zombie                   // it arrives after the replica has died and was replaced
)

func (m crashMode) String() string { return [...]string{"before", "unacked", "zombie"}[m] }

// dying wraps the backend of a replica that dies at a boundary. Only transactions that write runs count.
type dying struct {
	*storetest.Faulty
	mu    sync.Mutex
	count int
	where boundary
	dead  chan struct{}
}

func newDying(b store.Backend, where boundary) *dying {
	d := &dying{Faulty: storetest.NewFaulty(b), where: where, dead: make(chan struct{})}
	d.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
		if closed(d.dead) {
			return storetest.Fault{Kind: storetest.Unavailable} // the dead do nothing more
		}
		if !slices.ContainsFunc(txn.Then, func(o store.Op) bool { return strings.HasPrefix(o.Key, store.Runs) }) {
			return storetest.Fault{}
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.count++
		if d.where.at != d.count {
			return storetest.Fault{}
		}
		close(d.dead)
		switch d.where.mode {
		case unacked:
			return storetest.Fault{Kind: storetest.Executed}
		case zombie:
			return storetest.Fault{Kind: storetest.Delayed, Delay: 20 * time.Second}
		default:
			return storetest.Fault{Kind: storetest.Unavailable}
		}
	})
	return d
}

// Range gives the dead no answer.
func (d *dying) Range(ctx context.Context, q store.Query) (store.Page, error) {
	if closed(d.dead) {
		return store.Page{}, store.ErrUnavailable
	}
	return d.Faulty.Range(ctx, q)
}

// Watch tells the dead nothing.
func (d *dying) Watch(ctx context.Context, prefix string, after int64, deliver func(store.Batch)) error {
	return d.Faulty.Watch(ctx, prefix, after, func(b store.Batch) {
		if !closed(d.dead) {
			deliver(b)
		}
	})
}

// run executes the scenario once. Replicas die one after the other at the boundaries; the last one lives.
func (s scenario) run(t *testing.T, boundaries []boundary) (out outcome, transactions int) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = remember()
		r.probes.set("b", 3)
		// The replica that watches the test must not help: it has no engine of its own.
		r.catalog(append(insides(), s.book)...)
		gw := &gateway{rig: r, name: "gw", queued: s.queued}
		gw.report()
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
			s.request(t, r, p, last)
			settle(r, p, last, gw.work)
			if i < len(boundaries) {
				last.SetDown(true)
			}
			p.kill()
		}
		time.Sleep(30 * time.Second) // zombies arrive
		transactions = last.count
		out = s.judge(t, r)
	})
	return out, transactions
}

// request starts the runbook, as a client does that repeats its request to every replica until it hears an answer: it
// must never start a second run.
func (s scenario) request(t *testing.T, r *rig, p *replica, d *dying) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(as(r.ctx, "ana"), 10*time.Second)
		defer cancel()
		_, err := p.engine.Start(ctx, &jv1.StartRunRequest{Runbook: "s", Service: "chat", Reason: "test", RequestId: "once"})
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknown) {
			t.Fatal(err)
		}
	case <-d.dead:
	}
}

// settle lets the replica work until the run has ended or the replica dies, and answers what the run asks.
func settle(r *rig, p *replica, d *dying, meanwhile func()) {
	for range 600 {
		select {
		case <-d.dead:
			return
		default:
		}
		human, cancel := context.WithTimeout(as(r.ctx, "eve"), 5*time.Second) // the replica may die under the call
		for _, run := range r.runs() {
			if run.GetEndTime() != nil {
				cancel()
				return
			}
			// An answer that is refused because the state has moved on is asked for again.
			switch run.GetWait() {
			case jv1.RunWait_RUN_WAIT_APPROVAL:
				_, _ = p.engine.Decide(human, &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "go"})
			case jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
				_, _ = p.engine.Resume(human, &jv1.ResumeRunRequest{
					Name: run.GetName(), Reason: "looked", Outcome: jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT,
				})
			}
		}
		cancel()
		time.Sleep(100 * time.Millisecond)
		meanwhile()
		synctest.Wait()
	}
}

// judge reads what came of it, and checks what must hold in every case.
func (s scenario) judge(t *testing.T, r *rig) outcome {
	t.Helper()
	run := r.only()
	events, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+run.GetName()+"/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(1)
	for _, batch := range events {
		for _, ev := range batch.Msg.GetEvents() {
			if ev.GetSequence() != next {
				t.Errorf("event %d follows event %d", ev.GetSequence(), next-1)
			}
			next = ev.GetSequence() + 1
		}
	}
	if next != run.GetLastEvent()+1 {
		t.Errorf("the record counts %d events, there are %d", run.GetLastEvent(), next-1)
	}
	if lock := get[*recordv1.LiveRun](r, store.LiveRunKey("chat")); lock != nil {
		t.Errorf("the service is locked by an ended run: %v", lock)
	}
	st := r.state()
	var letters []string
	for _, n := range r.outbox() {
		if strings.Contains(n.GetName(), ".attention-") {
			continue // people are told of a call whose end nobody knows: only a crash makes one
		}
		letters = append(letters, strings.TrimPrefix(n.GetName(), run.GetName()))
	}
	effects := map[string]bool{} // a sink that honours keys sees each once
	for _, k := range r.sink.keys() {
		if strings.HasPrefix(k, "/check/") {
			continue // a question changes nothing
		}
		if s.name == "check" && effects[strings.ReplaceAll(k, run.GetName(), "")] {
			t.Errorf("%s was made twice", k)
		}
		effects[strings.ReplaceAll(k, run.GetName(), "")] = true
	}
	return outcome{
		active: st.GetActiveProvider(), queueing: st.GetQueueing(), epoch: st.GetEpoch(), state: run.GetState(),
		outbox: strings.Join(letters, " "), effects: strings.Join(slices.Sorted(maps.Keys(effects)), " "),
		weights: fmt.Sprint(st.GetWeights()), drain: st.GetDrain() != nil, machines: r.machines(run), incident: r.incident(),
		audited: r.audited(),
	}
}

// crash visits a set of boundaries and compares with the run without crashes.
func (s scenario) crash(t *testing.T, clean outcome, where ...boundary) {
	t.Helper()
	got, _ := s.run(t, where)
	if got != clean {
		t.Errorf("%s, dying %v:\n got %+v\nwant %+v", s.name, where, got, clean)
	}
}

// clean runs the scenario without crashes and returns how many transactions it takes.
func (s scenario) clean(t *testing.T) (outcome, int) {
	t.Helper()
	out, n := s.run(t, nil)
	if out.state != s.end {
		t.Fatalf("%s ends %v without any crash: %+v", s.name, out.state, out)
	}
	return out, n
}

// Campaign C1, single crashes: at every boundary of every scenario, in every mode, what comes of the run is what comes
// of it without a crash.
func TestEveryCrashBoundary(t *testing.T) {
	visited := 0
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			clean, n := s.clean(t)
			for at := 1; at <= n; at++ {
				for _, mode := range []crashMode{before, unacked, zombie} {
					s.crash(t, clean, boundary{at, mode})
					visited++
				}
			}
		})
	}
	if visited < 60 {
		t.Errorf("only %d boundaries were visited", visited)
	}
	t.Logf("%d boundaries visited", visited)
}
