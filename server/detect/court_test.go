package detect

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

const (
	pending = jv1.TriggerState_TRIGGER_STATE_PENDING
	cleared = jv1.TriggerState_TRIGGER_STATE_CLEARED
)

func TestProbesToTriggerAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, `{}`))
		world.set("azure.example", answers(200, `{}`))
		r := start(t, m, "r1", over(world))
		r.put(append(chat(&jv1.HealthRule{
			Failing: &jv1.FailingRule{Agree: 1, For: durationpb.New(2 * time.Second)}, RecoveredAfter: durationpb.New(10 * time.Second),
		}), detector(everySecond("probe")))...)
		time.Sleep(time.Second)
		r.wantHealth("openai", healthy, EvidenceOK)
		r.wantHealth("azure", healthy, EvidenceOK)

		world.set("openai.example", hangs)
		hung := time.Now()
		r.eventually("openai", suspect, AgreementPending)
		suspected := time.Since(hung)
		r.eventually("openai", failing, QuorumFailing)
		// At worst: the interval with its jitter, three time-outs, two short pauses.
		if failed := time.Since(hung); suspected > 3*time.Second || failed-suspected < 2*time.Second || failed-suspected > 2200*time.Millisecond {
			t.Errorf("suspect after %v, failing after %v", suspected, failed)
		}
		r.wantHealth("azure", healthy, EvidenceOK)
		if ts := r.triggers(); len(ts) != 1 {
			t.Fatalf("%d triggers", len(ts))
		}
		tr := r.triggers()[0]
		if tr.GetName() != "h.chat.openai.1.failing" || tr.GetState() != pending || tr.GetCause() != jv1.TriggerCause_TRIGGER_CAUSE_HEALTH ||
			tr.GetHealth() != failing || tr.GetGeneration() != 1 || tr.GetActor() != audit.Machine || len(tr.GetEvidence()) != 1 ||
			tr.GetService() != "chat" || tr.GetProvider() != "openai" || tr.GetCreateTime() == nil {
			t.Errorf("trigger %v", tr)
		}
		if onset := tr.GetOnset().AsTime(); onset.Before(hung) || onset.After(hung.Add(1700*time.Millisecond)) {
			t.Errorf("onset %v after it hung", onset.Sub(hung))
		}
		if s := tr.GetEvidence()[0]; s.GetLabels()[labelReason] != "no_first_byte" || s.GetVantage() != "r1" || s.GetSource() != "probe" {
			t.Errorf("evidence %v", s)
		}

		world.set("openai.example", answers(200, `{}`))
		time.Sleep(5 * time.Second)
		r.wantHealth("openai", recovering, OkAgain)
		time.Sleep(10 * time.Second)
		r.wantHealth("openai", healthy, Recovered)
		want := map[string]jv1.TriggerState{"h.chat.openai.1.failing": cleared, "h.chat.openai.1.healthy": pending}
		if got := r.triggerStates(); !maps.Equal(got, want) {
			t.Errorf("triggers %v, want %v", got, want)
		}
		if tr := get[*jv1.Trigger](r, store.TriggerKey("h.chat.openai.1.failing")); tr.GetEndTime() == nil {
			t.Error("the cleared trigger has no end")
		}

		world.set("openai.example", fails(errors.New("broken")))
		time.Sleep(8 * time.Second)
		want = map[string]jv1.TriggerState{
			"h.chat.openai.1.failing": cleared, "h.chat.openai.1.healthy": cleared, "h.chat.openai.2.failing": pending,
		}
		if got := r.triggerStates(); !maps.Equal(got, want) {
			t.Errorf("triggers %v, want %v", got, want)
		}
	})
}

func TestReplicasJudgingAtOnceMakeOneTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("openai.example", answers(200, ``))
		world.set("azure.example", answers(200, ``))
		replicas := []*replica{start(t, m, "r1", over(world)), start(t, m, "r2", over(world)), start(t, m, "r3", over(world))}
		r := replicas[0]
		r.put(append(chat(nil), detector(everySecond("probe")))...)
		time.Sleep(2 * time.Second)
		world.set("openai.example", answers(503, ``))
		time.Sleep(40 * time.Second)
		r.wantHealth("openai", failing, VantagesFailing)
		r.wantHealth("azure", healthy, EvidenceOK)
		if made := writes(t, m, store.Triggers); !slices.Equal(made, []string{store.TriggerKey("h.chat.openai.1.failing")}) {
			t.Errorf("written triggers %v", made)
		}
		won := 0.0
		for _, r := range replicas {
			won += counted(t, r.metrics.judgements.WithLabelValues("committed"))
		}
		stored := len(writes(t, m, store.HealthPrefix))
		// Two became healthy, one of them suspect, perhaps by itself before by agreement, then failing.
		if h := r.health("openai"); h.GetGeneration() != 1 || won != float64(stored) || stored < 4 || stored > 6 {
			t.Errorf("generation %d, %d judgements stored, %v counted as such", h.GetGeneration(), stored, won)
		}
	})
}

func TestCourt(t *testing.T) {
	soon := func(agree int32) *jv1.HealthRule {
		return &jv1.HealthRule{
			Failing: &jv1.FailingRule{Agree: agree, For: durationpb.New(2 * time.Second)}, RecoveredAfter: durationpb.New(5 * time.Second),
		}
	}
	for _, test := range []struct {
		name string
		rule *jv1.HealthRule
		run  func(t *testing.T, r *replica)
	}{
		{"a relapse keeps its trigger", soon(1), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(3 * time.Second)
			before := get[*jv1.Trigger](r, store.TriggerKey("h.chat.openai.1.failing"))
			r.report("alerts", stateOK)
			time.Sleep(time.Second)
			r.wantHealth("openai", recovering, OkAgain)
			r.report("alerts", stateFailing)
			time.Sleep(time.Second)
			r.wantHealth("openai", failing, Relapsed)
			if after := r.triggers(); len(after) != 1 || before == nil || !proto.Equal(after[0], before) {
				t.Errorf("triggers %v, want only %v", after, before)
			}
		}},
		{"one class is only suspect", soon(0), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(time.Minute)
			r.wantHealth("openai", suspect, OneClassFailing)
			r.report("alerts", stateOK)
			time.Sleep(time.Second)
			r.wantHealth("openai", healthy, EvidenceOK)
			if len(r.triggers()) != 0 {
				t.Errorf("triggers %v", r.triggers())
			}
		}},
		{"an expired report clears nothing", soon(1), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(time.Minute)
			time.Sleep(defaultReportValidity)
			r.wantHealth("openai", failing, EvidenceExpired)
			if got := r.triggerStates(); got["h.chat.openai.1.failing"] != pending || len(got) != 1 {
				t.Errorf("triggers %v", got)
			}
		}},
		{"the operator's word at once", soon(0), func(t *testing.T, r *replica) {
			ctx := audit.With(t.Context(), audit.Caller{Principal: "alice", Role: "operator", Action: "DetectorService.SetOperatorSignal"})
			if _, err := r.OperatorSignal(ctx, "chat", "openai", stateFailing, "I see it", 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			r.wantHealth("openai", failing, OperatorFailing)
			if tr := r.triggers(); len(tr) != 1 || tr[0].GetActor() != "alice" {
				t.Errorf("triggers %v", tr)
			}
			if _, err := r.OperatorSignal(ctx, "chat", "openai", stateOK, "over", time.Hour); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			r.wantHealth("openai", healthy, OperatorOK)
			want := map[string]jv1.TriggerState{"h.chat.openai.1.failing": cleared, "h.chat.openai.1.healthy": pending}
			if got := r.triggerStates(); !maps.Equal(got, want) {
				t.Errorf("triggers %v", got)
			}
			time.Sleep(time.Hour)
			r.wantHealth("openai", unknown, NoEvidence)
		}},
		{"a provider that leaves and comes back", soon(1), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(3 * time.Second)
			r.put(store.Put(store.ServiceKey("chat"), &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "azure"}}, Health: soon(1)}))
			time.Sleep(time.Second)
			if h := r.health("openai"); h != nil {
				t.Errorf("still judged: %v", h)
			}
			if got := r.triggerStates(); got["h.chat.openai.1.failing"] != cleared {
				t.Errorf("triggers %v", got)
			}
			r.put(chat(soon(1))...)
			time.Sleep(3 * time.Second)
			r.wantHealth("openai", failing, QuorumFailing)
			if got := r.triggerStates(); got["h.chat.openai.2.failing"] != pending {
				t.Errorf("triggers %v", got)
			}
		}},
		{"a service that is deleted", soon(1), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(3 * time.Second)
			r.put(store.Delete(store.ServiceKey("chat")))
			time.Sleep(time.Second)
			if h := list[*jv1.Health](r, store.HealthPrefix); len(h) != 0 {
				t.Errorf("still judged: %v", h)
			}
		}},
		{"a detector that is deleted speaks no more", soon(0), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(time.Second)
			r.wantHealth("openai", suspect, OneClassFailing)
			r.put(store.Delete(store.DetectorKey("alerts")))
			time.Sleep(2 * GapGrace)
			r.wantHealth("openai", unknown, NoEvidence)
		}},
		{"a rule that changes", soon(0), func(t *testing.T, r *replica) {
			r.report("alerts", stateFailing)
			time.Sleep(time.Minute)
			r.wantHealth("openai", suspect, OneClassFailing)
			r.put(chat(soon(1))...)
			time.Sleep(time.Second)
			r.wantHealth("openai", suspect, AgreementPending)
			time.Sleep(2 * time.Second)
			r.wantHealth("openai", failing, QuorumFailing)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := store.NewMemory(store.MemoryOptions{})
				defer m.Close()
				r := start(t, m, "r1")
				r.put(append(chat(test.rule), detector(reporter("alerts")))...)
				test.run(t, r)
			})
		})
	}
}

// TestAgreementSurvivesARestart: the replica dies while an agreement lasts, and the next life goes on with it.
func TestAgreementSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		world := newProviders()
		world.set("azure.example", answers(200, ``))
		world.set("openai.example", answers(500, ``))
		first := start(t, m, "r1", over(world))
		first.put(append(chat(&jv1.HealthRule{Failing: &jv1.FailingRule{Agree: 1, For: durationpb.New(20 * time.Second)}}), detector(everySecond("probe")))...)
		time.Sleep(10 * time.Second)
		first.wantHealth("openai", suspect, AgreementPending)
		since := first.health("openai").GetAgreedSince()
		first.stop()
		time.Sleep(5 * time.Second)

		second := start(t, m, "r1", over(world))
		time.Sleep(300 * time.Millisecond) // one probe
		second.wantHealth("openai", suspect, AgreementPending)
		if votes := get[*recordv1.Votes](second, store.VotesKey("chat", "r1")); len(votes.GetSignals()) != 2 ||
			votes.GetSignals()[1].GetState() != stateFailing {
			t.Errorf("votes after one probe: %v", votes)
		}
		if h := second.health("openai"); !proto.Equal(h.GetAgreedSince(), since) || h.GetGeneration() != 1 {
			t.Errorf("agreed since %v, was %v; generation %d", h.GetAgreedSince().AsTime(), since.AsTime(), h.GetGeneration())
		}
		time.Sleep(time.Until(since.AsTime().Add(21 * time.Second)))
		second.wantHealth("openai", failing, QuorumFailing)
	})
}

func TestVerdictThatCanNotBeStoredIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1")
		r.put(append(chat(immediate(rule(1))), detector(reporter("alerts")))...)
		faults := []storetest.Kind{storetest.Unavailable, storetest.NoSpace, storetest.Dropped, storetest.Executed}
		var mu sync.Mutex
		f.OnCommit(func(_ context.Context, txn store.Txn) storetest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if len(faults) == 0 || len(txn.Then) == 0 || !strings.HasPrefix(txn.Then[0].Key, store.HealthPrefix) {
				return storetest.Fault{}
			}
			next := faults[0]
			faults = faults[1:]
			return storetest.Fault{Kind: next}
		})
		r.report("alerts", stateFailing)
		time.Sleep(10 * time.Second)
		r.wantHealth("openai", failing, QuorumFailing)
		mu.Lock()
		left := len(faults)
		mu.Unlock()
		if made := writes(t, m, store.Triggers); len(made) != 1 || left != 0 {
			t.Errorf("%d faults left, triggers written: %v", left, made)
		}
	})
}

// TestVerdictComparesWhatItCounted: something changes between the judgement and its transaction. What was decided on the
// old picture never happens.
func TestVerdictComparesWhatItCounted(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func() store.Op
		state  jv1.HealthState
	}{
		{"a report is added", func() store.Op {
			return store.Put(store.ReportKey("chat", "openai", operatorSource, ""), &recordv1.Report{Signal: &jv1.Signal{
				Service: "chat", Provider: "openai", State: stateOK, Class: operator, ObservedAt: ago(0), ValidUntil: ago(-time.Hour),
			}})
		}, healthy},
		{"votes are added", func() store.Op {
			return store.Put(store.VotesKey("chat", "r2"), &recordv1.Votes{Service: "chat", Replica: "r2"})
		}, failing},
		{"the counted report is removed", func() store.Op { return store.Delete(store.ReportKey("chat", "openai", "alerts", "")) }, unknown},
		{"the detector is removed", func() store.Op { return store.Delete(store.DetectorKey("alerts")) }, unknown},
		{"the rule is changed", func() store.Op { return chat(rule(2))[2] }, suspect},
		{"the service is removed", func() store.Op { return store.Delete(store.ServiceKey("chat")) }, unknown},
		{"another replica was first", func() store.Op {
			return store.Put(store.HealthKey("chat", "openai"), health(blocked, ConfigurationRefused, agreed(-time.Hour)))
		}, failing},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, r *replica, m *store.Memory, f *storetest.Faulty) {
				r.put(chat(immediate(rule(1)))...)
				time.Sleep(time.Second)
				var once sync.Once
				tried := make(chan store.Txn, 1)
				f.OnCommit(func(ctx context.Context, txn store.Txn) storetest.Fault {
					if len(txn.Then) == 0 || !strings.HasPrefix(txn.Then[0].Key, store.HealthPrefix) {
						return storetest.Fault{}
					}
					once.Do(func() {
						tried <- txn
						if _, err := m.Commit(ctx, store.Txn{Then: []store.Op{test.change()}}); err != nil {
							t.Error(err)
						}
					})
					return storetest.Fault{}
				})
				r.report("alerts", stateFailing)
				time.Sleep(time.Second)
				select {
				case txn := <-tried:
					if len(txn.Then) != 2 {
						t.Errorf("tried %v", txn)
					}
				default:
					t.Fatal("nothing was tried")
				}
				if got := stateOf(r.health("openai")); got != test.state {
					t.Errorf("health is %v, want %v", got, test.state)
				}
				if n := counted(t, r.metrics.judgements.WithLabelValues("conflict")); n != 1 {
					t.Errorf("%v conflicts", n)
				}
				if made := writes(t, m, store.Triggers); (len(made) > 0) != (test.state == failing) {
					t.Errorf("triggers written: %v", made)
				}
			})
		})
	}
}

// TestWhatComesWhileAVerdictIsStoredIsHeard: the transaction has happened, but its acknowledgement is late, and
// meanwhile there is news.
func TestWhatComesWhileAVerdictIsStoredIsHeard(t *testing.T) {
	inWorld(t, func(t *testing.T, r *replica, m *store.Memory, f *storetest.Faulty) {
		r.put(chat(immediate(rule(1)))...)
		time.Sleep(time.Second)
		var once sync.Once
		var news sync.WaitGroup
		f.OnCommit(func(_ context.Context, txn store.Txn) (fault storetest.Fault) {
			if len(txn.Then) == 0 || !strings.HasPrefix(txn.Then[0].Key, store.HealthPrefix) {
				return storetest.Fault{}
			}
			once.Do(func() {
				fault.Kind = storetest.Executed
				news.Go(func() {
					time.Sleep(5 * time.Millisecond)
					_, err := m.Commit(context.Background(), store.Txn{Then: []store.Op{
						store.Put(store.ReportKey("chat", "openai", operatorSource, ""), &recordv1.Report{Signal: &jv1.Signal{
							Service: "chat", Provider: "openai", State: stateOK, Class: operator, ObservedAt: ago(0), ValidUntil: ago(-time.Hour),
						}}),
					}})
					if err != nil {
						t.Error(err)
					}
				})
			})
			return fault
		})
		r.report("alerts", stateFailing)
		time.Sleep(time.Second)
		news.Wait()
		r.wantHealth("openai", healthy, OperatorOK)
	})
}
