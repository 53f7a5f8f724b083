package engine_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/store"
)

// newer gives a message a field of a newer version.
func newer(m proto.Message) {
	m.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "new"))
}

// What a newer version wrote is left as it is, whatever of it this version does not know: no replica of this version
// adopts such a run, humans can't steer it here, the next disaster does not supersede it, and a runbook of a newer version
// is not started but leaves its trigger for a replica that can.
func TestRecordsOfANewerVersionAreLeftAlone(t *testing.T) {
	for name, change := range map[string]func(run *jv1.Run, plan *jv1.Runbook){
		"a field of the run":   func(run *jv1.Run, _ *jv1.Runbook) { newer(run) },
		"a field of a step":    func(run *jv1.Run, _ *jv1.Runbook) { newer(run.GetSteps()[0]) },
		"a state of a step":    func(run *jv1.Run, _ *jv1.Runbook) { run.GetSteps()[0].State = 77 },
		"a state of the run":   func(run *jv1.Run, _ *jv1.Runbook) { run.State = 77 },
		"a kind of step":       func(_ *jv1.Run, plan *jv1.Runbook) { plan.Steps[0].Action = nil; newer(plan.GetSteps()[0]) },
		"a field of the plan":  func(_ *jv1.Run, plan *jv1.Runbook) { newer(plan) },
		"something in a param": func(_ *jv1.Run, plan *jv1.Runbook) { newer(plan.GetParameters()["p"]) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				plan := book("s", doing(post("one")))
				plan.Parameters = map[string]*jv1.Parameter{"p": {Default: "x"}}
				run := &jv1.Run{
					Name: "r-newer", Runbook: "s", RunbookVersion: 1, Service: "chat", State: jv1.RunState_RUN_STATE_WAITING,
					Wait: jv1.RunWait_RUN_WAIT_RESUME, Mode: jv1.RunMode_RUN_MODE_LIVE, LastEvent: 1, WaitSince: timestamppb.Now(),
					Owner: &jv1.Owner{Session: store.Sessions + "gone/1", Token: 1}, Deadline: timestamppb.New(time.Now().Add(time.Hour)),
					Steps: []*jv1.StepRun{{Id: "one", Kind: "http_request", State: jv1.StepState_STEP_STATE_WAITING}},
				}
				change(run, plan)
				r.catalog(plan)
				r.commit(
					store.Put(store.RunKey("r-newer"), run),
					store.Put(store.LiveRunKey("chat"), &recordv1.LiveRun{Run: "r-newer"}),
				)
				r.fails("a", 1)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if got := get[*jv1.Run](r, store.RunKey("r-newer")); !proto.Equal(got, run) {
					t.Errorf("%v\nwas changed to\n%v", run, got)
				}
				if all := r.runs(); len(all) != 1 || len(r.sink.keys()) != 0 {
					t.Errorf("runs %v, calls %v", all, r.sink.keys())
				}
				trigger := get[*jv1.Trigger](r, store.TriggerKey("h-chat-a-1-failing"))
				if trigger.GetState() != jv1.TriggerState_TRIGGER_STATE_PENDING {
					t.Errorf("the trigger is %v", trigger)
				}
				_, err := r.first.engine.Resume(as(r.ctx, "ana"), &jv1.ResumeRunRequest{Name: "r-newer", Reason: "go on"})
				if err == nil {
					t.Error("it could be resumed")
				}
			})
		})
	}
}

func TestARunbookOfANewerVersionIsNotStartedByHand(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		plan := book("s", doing(post("one")))
		newer(plan)
		r.catalog(plan)
		_, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Service: "chat", Reason: "now"})
		if !errors.Is(err, engine.ErrNotPossible) || len(r.runs()) != 0 {
			t.Errorf("%v, runs %v", err, r.runs())
		}
	})
}

// A runbook of a newer version is left to replicas of that version also where another runbook runs it.
func TestARunbookThatRunsOneOfANewerVersionIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		inner := book("inner", quietly, doing(post("one")))
		r.catalog(inner, book("s", doing(include("sub", "inner"))))
		r.sink.answer = hangs("one")
		r.fails("a", 1)
		synctest.Wait()
		inner.Steps[0].Action = nil
		newer(inner.GetSteps()[0])
		r.commit(store.Put(store.RunbookKey("inner"), inner), store.Put(store.RunbookRevisionKey("inner", 1), inner))
		two := r.replica("two", r.backend)
		r.first.kill()
		r.first = two
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if run := want(t, r.only(), running); run.GetOwner().GetSession() == two.keeper.Current().Key {
			t.Error("the run was adopted")
		}
		_, err := r.first.engine.Start(as(r.ctx, "ana"), &jv1.StartRunRequest{Runbook: "s", Service: "chat", Mode: jv1.RunMode_RUN_MODE_DRY_RUN, Reason: "now"})
		if err == nil {
			t.Errorf("it was started by hand")
		}
	})
}
