package runs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
)

var t0 = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// plan of a switch, a notification that may fail, and a call.
func plan(edit ...func(*jv1.Runbook)) *jv1.Runbook {
	p := &jv1.Runbook{
		Name: "outage", Version: 3, Services: []string{"chat"},
		Steps: []*jv1.Step{
			{Id: "switch", Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{"b"}}}},
			{Id: "tell", OnFailure: jv1.OnFailure_ON_FAILURE_CONTINUE, Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{}}},
			{Id: "call", Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{}}},
		},
	}
	for _, f := range edit {
		f(p)
	}
	return p
}

// fataler is a test, of the property kind or not.
type fataler interface{ Fatal(...any) }

// tree lays a plan out that runs no other.
func tree(t fataler, p *jv1.Runbook, others ...*jv1.Runbook) *runbooks.Tree {
	laid, err := runbooks.Expand(p, func(name string) *jv1.Runbook {
		for _, o := range others {
			if o.GetName() == name {
				return o
			}
		}
		return nil
	}, "chat")
	if err != nil {
		t.Fatal(err)
	}
	return laid
}

func begin(t testing.TB, p *jv1.Runbook) *jv1.Run {
	t.Helper()
	run, ev := runs.New(runs.Start{Name: "r-1", Tree: tree(t, p), Service: "chat", Reason: "test", Actor: "ana", Now: t0})
	if ev.GetSequence() != 1 || ev.GetKind() != jv1.RunEventKind_RUN_EVENT_KIND_CREATED || run.GetLastEvent() != 1 {
		t.Fatalf("first event %v of %v", ev, run)
	}
	return run
}

func ev(kind jv1.RunEventKind, step string, after time.Duration) runs.Event {
	return runs.Event{Kind: kind, Step: step, Time: t0.Add(after), Message: "m", Error: "e"}
}

func fold(t testing.TB, laid *runbooks.Tree, run *jv1.Run, events ...runs.Event) *jv1.Run {
	t.Helper()
	next, stored, err := runs.Fold(run, laid, events...)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range stored {
		if s.GetSequence() != run.GetLastEvent()+int64(i)+1 || s.GetRun() != run.GetName() {
			t.Fatalf("event %d is numbered %v", i, s)
		}
	}
	return next
}

const (
	succeeded = jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED
	failedEv  = jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED
	skipped   = jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED
	intent    = jv1.RunEventKind_RUN_EVENT_KIND_INTENT
	endedEv   = jv1.RunEventKind_RUN_EVENT_KIND_ENDED
	cancelEv  = jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED
	pauseEv   = jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED
)

func TestNextFollowsThePlan(t *testing.T) {
	compensating := func(p *jv1.Runbook) { p.Steps[2].OnFailure = jv1.OnFailure_ON_FAILURE_COMPENSATE }
	undo := ev(succeeded, "switch", 1)
	undo.Undo = &jv1.Undo{Provider: "a", Epoch: 2}
	for _, tc := range []struct {
		name   string
		edit   func(*jv1.Runbook)
		events []runs.Event
		at     time.Duration
		want   runs.Decision
	}{
		{name: "a new run begins with its first step", want: runs.Decision{Action: runs.Advance, Index: 0}},
		{
			name: "after a step comes the next", events: []runs.Event{ev(succeeded, "switch", 1)},
			want: runs.Decision{Action: runs.Advance, Index: 1},
		},
		{
			name: "a skipped step is done with", events: []runs.Event{ev(skipped, "switch", 1)},
			want: runs.Decision{Action: runs.Advance, Index: 1},
		},
		{
			name: "a failed step aborts", events: []runs.Event{ev(failedEv, "switch", 1)},
			want: runs.Decision{Action: runs.End, Index: -1, State: jv1.RunState_RUN_STATE_FAILED, Reason: "step switch failed: e"},
		},
		{
			name: "a failed step whose plan says continue is done with", events: []runs.Event{ev(succeeded, "switch", 1), ev(failedEv, "tell", 2)},
			want: runs.Decision{Action: runs.Advance, Index: 2},
		},
		{
			name: "when every step is done the run succeeds", events: []runs.Event{
				ev(succeeded, "switch", 1), ev(succeeded, "tell", 2), ev(succeeded, "call", 3),
			},
			want: runs.Decision{Action: runs.End, Index: -1, State: jv1.RunState_RUN_STATE_SUCCEEDED, Reason: "every step is done"},
		},
		{
			name: "a failed step whose plan says so is compensated", edit: compensating,
			events: []runs.Event{undo, ev(skipped, "tell", 2), ev(failedEv, "call", 3)},
			want:   runs.Decision{Action: runs.Compensate, Index: -1, State: jv1.RunState_RUN_STATE_FAILED, Reason: "step call failed: e"},
		},
		{
			name: "cancel ends the run", events: []runs.Event{ev(cancelEv, "", 1)},
			want: runs.Decision{Action: runs.End, Index: -1, State: jv1.RunState_RUN_STATE_CANCELED, Reason: "m"},
		},
		{
			name: "pause holds the run", events: []runs.Event{ev(pauseEv, "", 1)},
			want: runs.Decision{Action: runs.Hold, Index: -1, Reason: "a human asked to pause"},
		},
		{
			name: "pause lets a call under way end", events: []runs.Event{
				ev(succeeded, "switch", 1), ev(skipped, "tell", 1), ev(intent, "call", 2), ev(pauseEv, "", 3),
			},
			want: runs.Decision{Action: runs.Advance, Index: 2},
		},
		{
			name: "a run whose time is up fails", at: 25 * time.Hour,
			want: runs.Decision{Action: runs.End, Index: -1, State: jv1.RunState_RUN_STATE_FAILED, Reason: "the run's time is up"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := plan()
			if tc.edit != nil {
				tc.edit(p)
			}
			run := fold(t, tree(t, p), begin(t, p), tc.events...)
			if got := runs.Next(run, tree(t, p), t0.Add(tc.at)); len(got) != 1 || got[0] != tc.want {
				t.Errorf("Next = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestCompensationWalksBackAndEndsAsItWasToEnd(t *testing.T) {
	p := plan()
	a, b := ev(succeeded, "switch", 1), ev(succeeded, "tell", 2)
	a.Undo, b.Undo = &jv1.Undo{Provider: "a"}, &jv1.Undo{Provider: "b"}
	compensate := ev(jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING, "", 3)
	compensate.State = jv1.RunState_RUN_STATE_FAILED
	run := fold(t, tree(t, p), begin(t, p), a, b, compensate)
	for _, want := range []int{1, 0} {
		d := runs.Next(run, tree(t, p), t0)[0]
		if d.Action != runs.Undo || d.Index != want {
			t.Fatalf("Next = %+v, want to undo step %d", d, want)
		}
		run = fold(t, tree(t, p), run, ev(jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, run.GetSteps()[want].GetId(), 4))
	}
	if d := runs.Next(run, tree(t, p), t0)[0]; d.Action != runs.End || d.State != jv1.RunState_RUN_STATE_FAILED {
		t.Errorf("Next = %+v, want to end FAILED", d)
	}
}

func TestTheDeadlineMovesByTheTimeAHumanNeeded(t *testing.T) {
	p := plan()
	run := begin(t, p)
	before := run.GetDeadline().AsTime()
	w := ev(jv1.RunEventKind_RUN_EVENT_KIND_WAITING, "", time.Hour)
	w.Wait = jv1.RunWait_RUN_WAIT_APPROVAL
	run = fold(t, tree(t, p), run, w)
	if d := runs.Next(run, tree(t, p), t0.Add(100*time.Hour))[0]; d.Action != runs.Await {
		t.Fatalf("a run that waits for a human is overdue: %+v", d)
	}
	reminder := w
	reminder.Time = t0.Add(2 * time.Hour)
	run = fold(t, tree(t, p), run, reminder, ev(jv1.RunEventKind_RUN_EVENT_KIND_DECIDED, "", 31*time.Hour))
	if got := run.GetDeadline().AsTime().Sub(before); got != 30*time.Hour {
		t.Errorf("the deadline moved by %v, want 30h", got)
	}
	if run.GetWait() != 0 || run.GetWaitSince() != nil || run.GetWaitText() != "" {
		t.Errorf("the wait is still there: %v", run)
	}
}

func TestFoldRefusesWhatCantHappen(t *testing.T) {
	p := plan()
	over := ev(endedEv, "", 1)
	over.State = jv1.RunState_RUN_STATE_CANCELED
	for name, events := range map[string][]runs.Event{
		"anything after the end":        {over, ev(succeeded, "switch", 2)},
		"a second end of a step":        {ev(succeeded, "switch", 1), ev(failedEv, "switch", 2)},
		"a step the run has not":        {ev(succeeded, "nope", 1)},
		"a decision nobody asked for":   {ev(jv1.RunEventKind_RUN_EVENT_KIND_DECIDED, "switch", 1)},
		"an end that is none":           {ev(endedEv, "", 1)},
		"a step's event without a step": {ev(succeeded, "", 1)},
		"undoing outside compensation":  {ev(jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED, "switch", 1)},
	} {
		run := begin(t, p)
		if _, _, err := runs.Fold(run, tree(t, p), events...); !errors.Is(err, runs.ErrIllegal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttemptsKeepTheirKeyAndTheLastTen(t *testing.T) {
	p := plan()
	run := begin(t, p)
	for i := range 14 {
		in := ev(intent, "call", time.Duration(i))
		in.AttemptID, in.Key = string(rune('a'+i)), "r-1.call"
		run = fold(t, tree(t, p), run, in, ev(jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED, "call", time.Duration(i)))
	}
	s := runs.StepOf(run, "call")
	if len(s.GetAttempts()) != 10 || s.GetAttemptCount() != 14 || s.GetAttempts()[9].GetId() != "n" {
		t.Fatalf("attempts %v", s)
	}
	for _, a := range s.GetAttempts() {
		if a.GetIdempotencyKey() != "r-1.call" || a.GetState() != jv1.AttemptState_ATTEMPT_STATE_FAILED {
			t.Errorf("attempt %v", a)
		}
	}
	if runs.InFlight(s) {
		t.Error("a failed attempt counts as under way")
	}
}

func TestTextsInTheRecordAreBounded(t *testing.T) {
	p := plan()
	run := begin(t, p)
	huge := ev(succeeded, "call", 1)
	huge.Message = strings.Repeat("é", 1<<20)
	huge.Error = huge.Message
	huge.Output = map[string]string{"result": huge.Message}
	run = fold(t, tree(t, p), run, huge)
	if n := proto.Size(run); n > 16<<10 {
		t.Errorf("the record has %d bytes", n)
	}
	if out := runs.StepOf(run, "call").GetOutput()["result"]; !strings.HasSuffix(out, "é…") {
		t.Errorf("cut in the middle of a rune: %q", out[len(out)-8:])
	}
}

// Whatever happens in whatever order: the record given is not changed, the same events give the same record, an ended
// run takes nothing more, and the state stays one of the table's.
func TestFoldProperties(t *testing.T) {
	kinds := make([]jv1.RunEventKind, 0, len(runs.Table))
	for k := range jv1.RunEventKind_name {
		kinds = append(kinds, jv1.RunEventKind(k))
	}
	rapid.Check(t, func(t *rapid.T) {
		p := plan()
		laid := tree(t, p)
		run, _ := runs.New(runs.Start{Name: "r", Tree: laid, Service: "chat", Now: t0})
		n := rapid.IntRange(1, 40).Draw(t, "events")
		for i := range n {
			e := runs.Event{
				Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Step: rapid.SampledFrom([]string{"", "switch", "tell", "call"}).Draw(t, "step"),
				Time: t0.Add(time.Duration(i) * time.Second), Wait: jv1.RunWait(rapid.IntRange(0, 3).Draw(t, "wait")),
				State: jv1.RunState(rapid.IntRange(0, 7).Draw(t, "state")), Decision: &jv1.Decision{Actor: "ana", Approved: true},
			}
			before := proto.CloneOf(run)
			next, stored, err := runs.Fold(run, laid, e)
			if !proto.Equal(run, before) {
				t.Fatalf("Fold changed its argument by %v", e.Kind)
			}
			if err != nil {
				if next != nil || stored != nil {
					t.Fatal("a refused event left something")
				}
				continue
			}
			if runs.Ended(run.GetState()) {
				t.Fatalf("an ended run took %v", e.Kind)
			}
			again, _, err := runs.Fold(run, laid, e)
			if err != nil || !proto.Equal(again, next) {
				t.Fatalf("the same event gave another record")
			}
			run = next
			for _, d := range runs.Next(run, laid, t0) {
				if d.Action == runs.Advance && runs.StepEnded(run.GetSteps()[d.Index].GetState()) {
					t.Fatalf("advance a step that has ended: %v", run)
				}
			}
		}
	})
}
