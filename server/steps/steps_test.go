package steps_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// Every kind of the API that the registry has must be reachable by its file's word, and every word must name a field.
func TestRegistryNamesTheAPIsKinds(t *testing.T) {
	oneof := (&jv1.Step{}).ProtoReflect().Descriptor().Oneofs().ByName("action")
	var words []string
	for i := range oneof.Fields().Len() {
		words = append(words, string(oneof.Fields().Get(i).Name()))
	}
	for _, name := range steps.New(steps.Options{}).Names() {
		if !slices.Contains(words, name) {
			t.Errorf("%s is no action of a step", name)
		}
	}
}

// advance lets a kind decide once, after the step began a while ago if so.
func advance(t *testing.T, step *jv1.Step, edit ...func(*jv1.Run)) (steps.Move, []store.Op) {
	t.Helper()
	var m steps.Move
	var ops []store.Op
	_, with := input(t, step, edit...)
	with(func(in *steps.Input) {
		kind, ok := steps.New(steps.Options{}).Kind(in.At.GetKind())
		if !ok {
			t.Fatalf("no kind %s", in.At.GetKind())
		}
		m = kind.Advance(in)
		_, ops = in.Desk.Txn()
	})
	return m, ops
}

func TestNotifyWritesOneMessagePerChannelBornClaimed(t *testing.T) {
	m, ops := advance(t, &jv1.Step{Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{
		Channels: []string{"oncall", "slack"}, Text: "{{.Service}} for {{.Params.who}}", Title: "look",
	}}})
	if m.Event.Kind != okEv || len(ops) != 4 {
		t.Fatalf("%+v, %d writes", m.Event, len(ops))
	}
	var n jv1.Notification
	if err := store.Open(ops[0].Value, &n); err != nil {
		t.Fatal(err)
	}
	if n.GetName() != "r-1.call.oncall" || n.GetText() != "chat for x y" || n.GetTitle() != "look" ||
		n.GetState() != jv1.DeliveryState_DELIVERY_STATE_PENDING || n.GetThread() != "chat/r-1" {
		t.Errorf("notification %v", &n)
	}
	if ops[1].Key != store.DeliveryKey("r-1.call.oncall") {
		t.Errorf("second write %s", ops[1].Key)
	}
}

func TestMessagesOfOneEpisodeShareTheirThread(t *testing.T) {
	var threads []string
	for _, name := range []string{"r-1", "r-2"} {
		_, ops := advance(t, &jv1.Step{Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"oncall"}, Template: "restored"}}},
			func(r *jv1.Run) { r.Name, r.Provider, r.Generation = name, "openai", 7 })
		var n jv1.Notification
		if err := store.Open(ops[0].Value, &n); err != nil {
			t.Fatal(err)
		}
		threads = append(threads, n.GetThread())
	}
	if threads[0] != "chat/openai/7" || threads[0] != threads[1] {
		t.Errorf("threads %v", threads)
	}
}

func TestMessagesTellOnlyWhatWasDone(t *testing.T) {
	tell := &jv1.Step{Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"oncall"}, Template: "restored"}}}
	for _, undo := range []*jv1.Undo{nil, {Provider: "azure", Queueing: true, Epoch: 3}} {
		_, ops := advance(t, tell, func(r *jv1.Run) {
			r.Steps = append(r.Steps, &jv1.StepRun{
				Id: "off", Kind: "disable_queueing", State: jv1.StepState_STEP_STATE_SUCCEEDED, Undo: undo,
			})
		})
		var n jv1.Notification
		if err := store.Open(ops[0].Value, &n); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(n.GetText(), "switched queueing off"); told != (undo != nil) {
			t.Errorf("undo %v: told %v, in: %s", undo, told, n.GetText())
		}
	}
}

func TestWaitEndsWhenItsTimeHasCome(t *testing.T) {
	step := func() *jv1.Step {
		return &jv1.Step{Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(time.Minute)}}}
	}
	begun := func(ago time.Duration) func(*jv1.Run) {
		return func(r *jv1.Run) {
			r.Steps[0].StartTime = timestamppb.New(time.Now().Add(-ago))
			r.Steps[0].State = jv1.StepState_STEP_STATE_RUNNING
		}
	}
	if m, _ := advance(t, step()); m.Then != steps.Sleep || m.Event.Kind == 0 || time.Until(m.Until) > time.Minute {
		t.Errorf("a wait that begins: %+v", m)
	}
	if m, _ := advance(t, step(), begun(30*time.Second)); m.Then != steps.Sleep || m.Event.Kind != 0 {
		t.Errorf("a wait under way: %+v", m)
	}
	if m, _ := advance(t, step(), begun(61*time.Second)); m.Event.Kind != okEv {
		t.Errorf("a wait that is over: %+v", m)
	}
}

func TestApprovalTimeouts(t *testing.T) {
	late := func(r *jv1.Run) {
		r.Steps[0].State = jv1.StepState_STEP_STATE_WAITING
		r.Steps[0].StartTime = timestamppb.New(time.Now().Add(-2 * time.Hour))
		r.Steps[0].Deadline = timestamppb.New(time.Now().Add(-time.Second))
	}
	for action, want := range map[jv1.TimeoutAction]jv1.RunEventKind{
		jv1.TimeoutAction_TIMEOUT_ACTION_UNSPECIFIED: failEv,
		jv1.TimeoutAction_TIMEOUT_ACTION_DENY:        failEv,
		jv1.TimeoutAction_TIMEOUT_ACTION_APPROVE:     okEv,
		jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE:    jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED,
	} {
		m, ops := advance(t, &jv1.Step{Action: &jv1.Step_Approval{Approval: &jv1.ApprovalStep{OnTimeout: action, Channels: []string{"oncall"}}}}, late)
		if m.Event.Kind != want {
			t.Errorf("%v: %+v", action, m.Event)
		}
		if action == jv1.TimeoutAction_TIMEOUT_ACTION_ESCALATE && (len(ops) == 0 || !strings.HasPrefix(m.Event.Message, "nobody answered yet")) {
			t.Errorf("escalation tells nobody: %+v, %v", m.Event, ops)
		}
		if len(ops) > 0 && ops[0].Key == store.OutboxKey("r-1.call.oncall") {
			t.Error("the escalation has the first question's id: a receiver would drop it")
		}
	}
}

func TestApprovalCountsVoices(t *testing.T) {
	said := func(approved ...bool) func(*jv1.Run) {
		return func(r *jv1.Run) {
			r.Steps[0].State = jv1.StepState_STEP_STATE_RUNNING
			for _, a := range approved {
				r.Steps[0].Decisions = append(r.Steps[0].Decisions, &jv1.Decision{Actor: "x", Approved: a, Comment: "c"})
			}
		}
	}
	for name, tc := range map[string]struct {
		said func(*jv1.Run)
		want jv1.RunEventKind
	}{
		"nobody":         {said(), jv1.RunEventKind_RUN_EVENT_KIND_WAITING},
		"one of two":     {said(true), jv1.RunEventKind_RUN_EVENT_KIND_WAITING},
		"two of two":     {said(true, true), okEv},
		"one is against": {said(true, false), failEv},
	} {
		m, _ := advance(t, &jv1.Step{Action: &jv1.Step_Approval{Approval: &jv1.ApprovalStep{Count: 2}}}, tc.said)
		if m.Event.Kind != tc.want {
			t.Errorf("%s: %+v", name, m.Event)
		}
	}
}
