package engine_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func escalating(after time.Duration) func(*jv1.Runbook) {
	return func(b *jv1.Runbook) {
		b.Escalation = &jv1.Escalation{Channels: []string{"boss"}, After: durationpb.New(after)}
	}
}

// escalations are the messages to the boss, and the events that say so.
func (r *rig) escalations() (messages, events int) {
	r.t.Helper()
	for _, m := range r.outbox() {
		if m.GetChannel() == "boss" && strings.Contains(m.GetText(), "nobody answered since") {
			messages++
		}
	}
	for _, run := range r.runs() {
		batches, _, err := store.Scan[*recordv1.RunEvents](r.ctx, r.first.store, store.RunEventsPrefix+run.GetName()+"/", "", 0)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, b := range batches {
			for _, ev := range b.Msg.GetEvents() {
				if ev.GetKind() == jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED {
					events++
				}
			}
		}
	}
	return messages, events
}

func (r *rig) wantEscalations(n int) {
	r.t.Helper()
	synctest.Wait()
	if m, e := r.escalations(); m != n || e != n {
		r.t.Fatalf("%d messages and %d events of an escalation, want %d", m, e, n)
	}
}

// Every wait for a human that nobody answers is escalated, again after as long each time, until it is answered.
func TestEveryUnansweredWaitIsEscalated(t *testing.T) {
	answer := func(t *testing.T, r *rig) { decide(t, r) }
	for name, tc := range map[string]struct {
		book   *jv1.Runbook
		setup  func(r *rig)
		begin  func(t *testing.T, r *rig)
		how    string
		answer func(t *testing.T, r *rig)
	}{
		"proposal": {
			book:  book("s", level(jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE), doing(tell("one"))),
			begin: func(_ *testing.T, r *rig) { r.fails("a", 1) }, how: "jurymast approve r-", answer: answer,
		},
		"approval": {
			book: book("s", doing(ask("one"))), how: "jurymast approve r-", answer: answer,
		},
		"paused": {
			book: book("s", doing(onFailure(post("refused", once), jv1.OnFailure_ON_FAILURE_PAUSE))), how: "jurymast run resume r-",
			setup: func(r *rig) { r.sink.answer = sinkAnswer },
			answer: func(t *testing.T, r *rig) {
				r.sink.answer = nil
				resume(t, r, 0)
			},
		},
		"outcome unknown": {
			book: book("s", doing(post("once", once))), how: "--outcome succeeded|failed|repeat",
			setup: func(r *rig) {
				r.sink.answer = func(int, *http.Request) (*http.Response, error) { return nil, errors.New("connection reset") }
			},
			answer: func(t *testing.T, r *rig) { resume(t, r, jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				escalating(5 * time.Minute)(tc.book)
				if tc.setup != nil {
					tc.setup(r)
				}
				r.commit(store.Put(store.ChannelKey("boss"), &jv1.Channel{Name: "boss", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}))
				r.catalog(tc.book)
				if tc.begin != nil {
					tc.begin(t, r)
				} else {
					start(t, r, "s")
				}
				synctest.Wait()
				want(t, r.only(), waiting)
				time.Sleep(5*time.Minute - time.Second)
				r.wantEscalations(0)
				time.Sleep(2 * time.Second)
				r.wantEscalations(1)
				if r.told(tc.how) == 0 {
					t.Errorf("no message says %q", tc.how)
				}
				time.Sleep(10 * time.Minute)
				r.wantEscalations(3)
				tc.answer(t, r)
				want(t, r.only(), succeeded)
				time.Sleep(time.Hour)
				r.wantEscalations(3)
			})
		})
	}
}

// Whoever takes a waiting run over does not escalate again what was escalated, and after days it escalates once.
func TestEscalationsSurviveTheirOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.commit(store.Put(store.ChannelKey("boss"), &jv1.Channel{Name: "boss"}))
		r.catalog(book("s", escalating(10*time.Minute), doing(lasting(ask("one"), 1000*time.Hour))))
		start(t, r, "s")
		time.Sleep(11 * time.Minute)
		r.wantEscalations(1)
		observer := r.first.store
		r.first.stop()
		r.first.done.Wait()
		r.first.stop = func() {}
		heir := r.replica("two", r.backend)
		time.Sleep(time.Minute)
		r.wantEscalations(1)
		heir.stop()
		heir.done.Wait()
		time.Sleep(100 * time.Hour)
		last := r.replica("three", r.backend)
		time.Sleep(time.Minute)
		r.wantEscalations(2)
		last.kill()
		heir.store.Close()
		observer.Close()
	})
}

// Those who are told of an escalation are not reminded beside it; the others are, as ever.
func TestAnEscalationReplacesTheRemindersOfItsChannels(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		b := book("s", doing(ask("one")))
		b.Escalation = &jv1.Escalation{Channels: []string{"log"}, After: durationpb.New(time.Hour)}
		r.catalog(b)
		start(t, r, "s")
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if n := len(r.outbox()); n != 1 {
			t.Errorf("%d messages before the first escalation, want the question", n)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if n := len(r.outbox()); n != 2 {
			t.Errorf("%d messages, want the question and an escalation", n)
		}
	})
}

// A run whose step failed or whose call's end nobody knows says so at once; one that a human paused does not.
func TestPeopleAreToldAtOnceWhenARunStops(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.sink.answer = sinkAnswer
		r.catalog(book("s", doing(tell("hello"), onFailure(post("refused", once), jv1.OnFailure_ON_FAILURE_PAUSE))))
		start(t, r, "s")
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), waiting)
		if n := r.told("step refused failed"); n != 1 {
			t.Errorf("%d messages say that the step failed", n)
		}
	})
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(tell("hello"), pauseFor(time.Hour))))
		run := start(t, r, "s")
		synctest.Wait()
		if _, err := r.first.engine.Pause(as(r.ctx, "ana"), &jv1.PauseRunRequest{Name: run.GetName(), Reason: "let me look"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, r.only(), waiting)
		if n := len(r.outbox()); n != 1 {
			t.Errorf("%d messages: who paused it knows", n)
		}
	})
}

func beside(id string, list ...*jv1.Step) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_Parallel{Parallel: &jv1.ParallelStep{Steps: list}}}
}

// A step that waits for a human while other branches act is asked for, warned of and escalated all the same.
func TestABranchThatWaitsIsEscalatedWhileOthersAct(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.commit(store.Put(store.ChannelKey("boss"), &jv1.Channel{Name: "boss"}))
		sure := lasting(approving(ask("sure"), func(a *jv1.ApprovalStep) { a.OnTimeout = jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE }), 30*time.Minute)
		r.catalog(book("s", escalating(10*time.Minute), doing(beside("both", until("queueing"), sure))))
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), running)
		time.Sleep(11 * time.Minute)
		r.wantEscalations(1)
		time.Sleep(17 * time.Minute)
		r.wantEscalations(2)
		if n := r.told("if nobody answers by"); n != 1 {
			t.Errorf("%d warnings", n)
		}
		time.Sleep(5 * time.Minute) // its time is up: it is escalated, and goes on
		synctest.Wait()
		want(t, r.only(), running)
		if n := r.told("nobody answered yet"); n != 2 {
			t.Errorf("%d messages of the approval's own escalation, want one to each channel", n)
		}
		decide(t, r)
		if _, err := r.first.desk.SetQueueing(as(r.ctx, "ana"), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, r.only(), succeeded)
	})
}
