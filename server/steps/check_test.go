package steps_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/steps"
)

const (
	checkedEv = jv1.RunEventKind_RUN_EVENT_KIND_CHECKED
	intentEv  = jv1.RunEventKind_RUN_EVENT_KIND_INTENT
	surely    = jv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	not       = jv1.AttemptState_ATTEMPT_STATE_FAILED
	perhaps   = jv1.AttemptState_ATTEMPT_STATE_UNKNOWN
)

// lost is a step whose executor was lost after it stored its n-th intent.
func lost(n int32) func(*jv1.Run) {
	return func(r *jv1.Run) {
		s := r.GetSteps()[0]
		s.State, s.AttemptCount, s.StartTime = jv1.StepState_STEP_STATE_RUNNING, n, timestamppb.Now()
		s.Attempts = []*jv1.Attempt{{Id: "t-1", IdempotencyKey: "r-1.call", State: jv1.AttemptState_ATTEMPT_STATE_INTENT}}
	}
}

// move lets http_request decide once.
func move(t *testing.T, step *jv1.Step, edit ...func(*jv1.Run)) steps.Move {
	t.Helper()
	_, with := input(t, step, edit...)
	kind, _ := steps.New(steps.Options{Client: steps.NewClient()}).Kind("http_request")
	var m steps.Move
	with(func(in *steps.Input) { m = kind.Advance(in) })
	return m
}

func checkableStep(url string, edit ...func(*jv1.Step)) *jv1.Step {
	step := &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{
		Url: url + "/tickets", Repeat: jv1.Repeatability_REPEATABILITY_CHECKABLE, Outputs: map[string]string{"id": "json.id"},
		Check: &jv1.HttpCheck{
			Url: url + "/tickets/by-key/{{.IdempotencyKey}}", CarriedOut: "status == 200 && json.id != ''",
			Headers: map[string]string{"X-Key": "{{.IdempotencyKey}}"},
		},
	}}}
	for _, f := range edit {
		f(step)
	}
	return step
}

func retrying(attempts int32, budget time.Duration) func(*jv1.Step) {
	return func(s *jv1.Step) {
		s.Retry = &jv1.Retry{Attempts: attempts}
		if budget > 0 {
			s.Retry.Budget = durationpb.New(budget)
		}
	}
}

// What becomes of a call whose executor was lost, by what the receiver says when it is asked.
func TestTheReceiverIsAskedWhatBecameOfACall(t *testing.T) {
	began := func(ago time.Duration) func(*jv1.Run) {
		return func(r *jv1.Run) { r.GetSteps()[0].StartTime = timestamppb.New(time.Now().Add(-ago)) }
	}
	asked := func(n int32) func(*jv1.Run) {
		return func(r *jv1.Run) { r.GetSteps()[0].Attempts[0].Checks = n }
	}
	type edits = []func(*jv1.Run)
	for name, tc := range map[string]struct {
		status  int
		body    string
		step    func(*jv1.Step)
		edit    edits
		want    jv1.RunEventKind
		attempt jv1.AttemptState
		text    string
	}{
		"carried out":                     {200, `{"id":"T-7"}`, nil, nil, checkedEv, surely, ""},
		"carried out, without the output": {200, `{"id":["x"]}`, nil, nil, checkedEv, surely, "carried out, but output id: "},
		"carried out, though the time is up": {
			200, `{"id":"T-7"}`, within(time.Second), edits{began(time.Hour)}, checkedEv, surely, "",
		},
		"not carried out":               {404, ``, nil, nil, checkedEv, not, "was not carried out: 404"},
		"not carried out, nothing left": {404, ``, retrying(1, 0), nil, failEv, not, "no attempt is left"},
		"not carried out, time is up":   {404, ``, within(time.Second), edits{began(time.Hour)}, failEv, not, "the step's time is up"},
		"not carried out, budget is up": {404, ``, retrying(5, time.Minute), edits{began(time.Hour)}, failEv, not, "the time for retries is up"},
		"nothing said":                  {500, ``, nil, nil, checkedEv, perhaps, "the check answered 500"},
		"no right to ask":               {403, ``, nil, nil, checkedEv, perhaps, "the check answered 403"},
		"too many questions":            {429, ``, nil, nil, checkedEv, perhaps, "the check answered 429"},
		"moved":                         {302, ``, nil, nil, checkedEv, perhaps, "the check answered 302"},
		"an answer to something else":   {200, `<html>`, nil, nil, checkedEv, perhaps, "no such"},
		"nothing said for the last time": {
			503, ``, nil, edits{asked(2)}, unknownEv, perhaps, "the check answered 503",
		},
		"nothing said, and the time is up": {
			503, ``, within(time.Second), edits{began(time.Hour)}, unknownEv, perhaps, "the check answered 503",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/tickets/by-key/r-1.call" || r.Header.Get("X-Key") != "r-1.call" ||
					r.Header.Get("Idempotency-Key") != "" {
					t.Errorf("asked by %s %s %v", r.Method, r.URL, r.Header)
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			step := checkableStep(server.URL)
			if tc.step != nil {
				tc.step(step)
			}
			m := move(t, step, append(edits{lost(1)}, tc.edit...)...)
			if m.Then != steps.Call || m.Event.Kind != 0 {
				t.Fatalf("%+v", m)
			}
			ev := m.Call(t.Context())
			if ev.Kind != tc.want || ev.Attempt != tc.attempt || !strings.Contains(ev.Error, tc.text) || (tc.text == "") != (ev.Error == "") {
				t.Errorf("%v %v: %+v", ev.Kind, ev.Attempt, ev)
			}
			if tc.want == checkedEv && tc.attempt == surely && tc.text == "" && ev.Output["id"] != "T-7" {
				t.Errorf("output %v", ev.Output)
			}
			if later := ev.Wake.After(time.Now()); later != (tc.want == checkedEv && tc.attempt == perhaps) {
				t.Errorf("asked again at %v", ev.Wake)
			}
		})
	}
}

func TestOutputsAreTakenOutOfTheAnswer(t *testing.T) {
	many := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		many[name] = "json.long"
	}
	for name, tc := range map[string]struct {
		outputs map[string]string
		want    jv1.RunEventKind
		text    string
	}{
		"one of each":  {map[string]string{"id": "json.id", "n": "json.n", "status": "string(status) + '/' + headers['x-a']", "none": "''"}, okEv, ""},
		"missing":      {map[string]string{"id": "json.nope"}, failEv, "carried out, but output id: evaluating"},
		"null":         {map[string]string{"id": "json.none"}, failEv, "the result is null_type"},
		"too long":     {map[string]string{"id": "json.long + json.long"}, failEv, "output id has 1800 characters, at most 1000 can be kept"},
		"too much":     {many, failEv, "at most 4096 can be kept"},
		"too costly":   {map[string]string{"id": "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30].all(x, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30].all(y, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30].all(z, json.long.matches('(a|aa)*b') == false))) ? 'x' : 'y'"}, failEv, "output id: "},
		"nearly all":   {map[string]string{"a": "json.long", "b": "json.long", "c": "json.long", "d": "json.long"}, okEv, ""},
		"not declared": {nil, okEv, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-A", "b")
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(`{"id":"T-7","n":12345678901234567890,"none":null,"long":"` + strings.Repeat("a", 900) + `"}`))
			}))
			defer server.Close()
			ev := call(t, steps.NewClient(), &jv1.HttpRequestStep{Url: server.URL, Outputs: tc.outputs})
			if ev.Kind != tc.want || !strings.Contains(ev.Error, tc.text) {
				t.Fatalf("%+v", ev)
			}
			if tc.want == failEv {
				if ev.Details["fault"] != "output" || ev.Attempt != surely {
					t.Errorf("a call that was carried out is told to be %v, fault %q", ev.Attempt, ev.Details["fault"])
				}
				return
			}
			size := 0
			for k, v := range ev.Output {
				size += len(k) + len(v)
			}
			if size > 4096 || len(ev.Output) != len(tc.outputs)+1 {
				t.Errorf("%d bytes of output: %v", size, ev.Output)
			}
			if name == "one of each" && (ev.Output["id"] != "T-7" || ev.Output["n"] != "12345678901234567890" || ev.Output["status"] != "201/b" || ev.Output["none"] != "") {
				t.Errorf("%v", ev.Output)
			}
		})
	}
}

// One attempt takes 30 s at most, and never longer than the step has left; the only attempt of a step that says how long
// it may take gets all of that.
func TestHowLongOneAttemptMayTake(t *testing.T) {
	for name, tc := range map[string]struct {
		edit []func(*jv1.Step)
		want time.Duration
	}{
		"nothing said":                 {nil, 30 * time.Second},
		"a short step":                 {[]func(*jv1.Step){within(5 * time.Second)}, 5 * time.Second},
		"a long step with one attempt": {[]func(*jv1.Step){within(5 * time.Minute)}, 5 * time.Minute},
		"a long step with attempts":    {[]func(*jv1.Step){within(5 * time.Minute), retrying(2, 0)}, 30 * time.Second},
		"one attempt, nothing said":    {[]func(*jv1.Step){retrying(1, 0)}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var left time.Duration
			client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				deadline, _ := r.Context().Deadline()
				left = time.Until(deadline)
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})}
			call(t, client, &jv1.HttpRequestStep{Url: "http://sink/"}, tc.edit...)
			if left > tc.want || left < tc.want-2*time.Second {
				t.Errorf("%v, want %v", left, tc.want)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// No attempt begins after the time for retries is up, whatever was down meanwhile.
func TestNoAttemptBeginsAfterTheBudget(t *testing.T) {
	waits := func(begun time.Duration) func(*jv1.Run) {
		return func(r *jv1.Run) {
			s := r.GetSteps()[0]
			s.State, s.AttemptCount, s.StartTime = jv1.StepState_STEP_STATE_RETRYING, 40, timestamppb.New(time.Now().Add(-begun))
			s.WakeTime = timestamppb.New(time.Now().Add(-time.Second))
			s.Attempts = []*jv1.Attempt{{Id: "t-40", State: not, StartTime: timestamppb.New(time.Now().Add(-2 * time.Second))}}
		}
	}
	step := func() *jv1.Step {
		s := &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Url: "http://sink/", Method: "PUT"}}}
		retrying(100, time.Minute)(s)
		return s
	}
	if m := move(t, step(), waits(50*time.Second)); m.Event.Kind != intentEv {
		t.Errorf("within the budget: %+v", m.Event)
	}
	if m := move(t, step(), waits(61*time.Second)); m.Event.Kind != failEv || m.Event.Error != "the time for retries is up" {
		t.Errorf("after the budget: %+v", m.Event)
	}
	// A call that was begun in time and whose executor was lost is not made again either, and may have been carried out.
	if m := move(t, step(), lost(3), func(r *jv1.Run) { r.GetSteps()[0].StartTime = timestamppb.New(time.Now().Add(-time.Hour)) }); m.Event.Kind != failEv ||
		m.Event.Attempt != perhaps {
		t.Errorf("resumed after the budget: %+v", m.Event)
	}
}
