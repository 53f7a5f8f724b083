package steps_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

const (
	okEv      = jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED
	failEv    = jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED
	retryEv   = jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED
	unknownEv = jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN
)

// input is a step of a fresh run on an empty store: kinds that read no facts need no more.
func input(t *testing.T, step *jv1.Step, edit ...func(*jv1.Run)) (*steps.Input, func(func(*steps.Input))) {
	t.Helper()
	st := store.New(store.Options{Backend: store.NewMemory(store.MemoryOptions{})})
	if err := st.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	step.Id = "call"
	plan := &jv1.Runbook{Name: "book", Version: 1, Services: []string{"chat"}, Steps: []*jv1.Step{step}}
	tree, err := runbooks.Expand(plan, func(string) *jv1.Runbook { return nil }, "chat")
	if err != nil {
		t.Fatal(err)
	}
	run, _ := runs.New(runs.Start{
		Name: "r-1", Tree: tree, Service: "chat", Reason: "test", Actor: "ana", Now: time.Now(), Parameters: map[string]string{"who": "x y"},
	})
	for _, f := range edit {
		f(run)
	}
	for _, further := range run.GetSteps()[1:] {
		plan.Steps = append(plan.Steps, &jv1.Step{Id: further.GetId()})
	}
	if tree, err = runbooks.Expand(plan, func(string) *jv1.Runbook { return nil }, "chat"); err != nil {
		t.Fatal(err)
	}
	in := &steps.Input{Run: run, At: run.GetSteps()[0], Step: step, Tree: tree, Conditions: &steps.Conditions{}}
	return in, func(f func(*steps.Input)) {
		st.Read(func(v store.View) {
			in.Desk = continuity.Open(v, "chat", time.Now())
			f(in)
		})
	}
}

// call makes the first attempt of an http_request and returns what became of it.
func call(t *testing.T, client *http.Client, spec *jv1.HttpRequestStep, edit ...func(*jv1.Step)) runs.Event {
	t.Helper()
	step := &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: spec}}
	for _, f := range edit {
		f(step)
	}
	_, with := input(t, step)
	kind, _ := steps.New(steps.Options{Client: client}).Kind("http_request")
	var m steps.Move
	with(func(in *steps.Input) { m = kind.Advance(in) })
	if m.Then != steps.Call || m.Event.Kind != jv1.RunEventKind_RUN_EVENT_KIND_INTENT || m.Event.Key != "r-1.call" {
		t.Fatalf("move %+v", m)
	}
	return m.Call(t.Context())
}

func TestAnswersAreJudged(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		header http.Header
		spec   *jv1.HttpRequestStep
		want   jv1.RunEventKind
	}{
		"200":                              {status: 200, spec: &jv1.HttpRequestStep{}, want: okEv},
		"204":                              {status: 204, spec: &jv1.HttpRequestStep{}, want: okEv},
		"302 is not followed and no good":  {status: 302, header: http.Header{"Location": {"/elsewhere"}}, spec: &jv1.HttpRequestStep{}, want: failEv},
		"400 is final":                     {status: 400, spec: &jv1.HttpRequestStep{Method: "PUT"}, want: failEv},
		"404 may be expected":              {status: 404, spec: &jv1.HttpRequestStep{ExpectStatus: []int32{404}}, want: okEv},
		"200 may be unexpected":            {status: 200, spec: &jv1.HttpRequestStep{ExpectStatus: []int32{201}}, want: failEv},
		"429 of a repeatable call":         {status: 429, spec: &jv1.HttpRequestStep{Method: "PUT"}, want: retryEv},
		"429 of a call made once":          {status: 429, spec: &jv1.HttpRequestStep{}, want: failEv},
		"503 of a call made once":          {status: 503, spec: &jv1.HttpRequestStep{}, want: failEv},
		"502 of a call made once":          {status: 502, spec: &jv1.HttpRequestStep{}, want: unknownEv},
		"502 of a repeatable call":         {status: 502, spec: &jv1.HttpRequestStep{Method: "PUT"}, want: retryEv},
		"502 of a POST said to be safe":    {status: 502, spec: &jv1.HttpRequestStep{Repeat: jv1.Repeatability_REPEATABILITY_IDEMPOTENT}, want: retryEv},
		"502 of a PUT said not to be safe": {status: 502, spec: &jv1.HttpRequestStep{Method: "PUT", Repeat: jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE}, want: unknownEv},
		"condition holds":                  {status: 200, body: `{"ok":true}`, spec: &jv1.HttpRequestStep{Expect: "json.ok"}, want: okEv},
		"condition does not hold":          {status: 200, body: `{"ok":false}`, spec: &jv1.HttpRequestStep{Expect: "json.ok"}, want: failEv},
		"condition on what is not JSON":    {status: 200, body: `<html>`, spec: &jv1.HttpRequestStep{Expect: "json.ok"}, want: failEv},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tc.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			tc.spec.Url = server.URL
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			if ev := call(t, client, tc.spec); ev.Kind != tc.want || ev.Step != "call" {
				t.Errorf("%v: %+v", ev.Kind, ev)
			}
		})
	}
}

func TestWhatDidNotReachTheReceiverIsNotUnknown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + ln.Addr().String()
	_ = ln.Close()
	if ev := call(t, http.DefaultClient, &jv1.HttpRequestStep{Url: refused}); ev.Kind != failEv {
		t.Errorf("a refused connection: %+v", ev)
	}
	reset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	defer reset.Close()
	if ev := call(t, http.DefaultClient, &jv1.HttpRequestStep{Url: reset.URL}); ev.Kind != unknownEv {
		t.Errorf("a connection closed without an answer: %+v", ev)
	}
}

func TestTheRequestIsWhatTheRunbookSays(t *testing.T) {
	t.Setenv("JM_TEST_TOKEN", "s3cret")
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 100)
		n, _ := r.Body.Read(b)
		got, body = r, string(b[:n])
		_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
	}))
	defer server.Close()
	ev := call(t, http.DefaultClient, &jv1.HttpRequestStep{
		Method: "PATCH", Url: server.URL + "/hook", Headers: map[string]string{"X-Run": "{{.Run}}"}, Body: "service {{.Service}}",
		Credential: "env:JM_TEST_TOKEN",
	})
	if ev.Kind != okEv || len(ev.Output["result"]) > 4096 {
		t.Fatalf("%v, %d bytes kept", ev.Kind, len(ev.Output["result"]))
	}
	if got.Method != http.MethodPatch || got.URL.Path != "/hook" || got.Header.Get("X-Run") != "r-1" || body != "service chat" ||
		got.Header.Get("Authorization") != "Bearer s3cret" || got.Header.Get("Idempotency-Key") != "r-1.call" {
		t.Errorf("request %v %v %q", got.URL, got.Header, body)
	}
}

func TestAFailedAttemptWaitsAsTheReceiverAsks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	ev := call(t, http.DefaultClient, &jv1.HttpRequestStep{Url: server.URL, Method: "PUT"})
	if wait := time.Until(ev.Wake); ev.Kind != retryEv || wait < 29*time.Second || wait > 31*time.Second {
		t.Errorf("%v, waits %v", ev.Kind, wait)
	}
}

func TestAHangEndsWithTheStep(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, with := input(t, &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Url: server.URL}}})
	kind, _ := steps.New(steps.Options{Client: http.DefaultClient}).Kind("http_request")
	var m steps.Move
	with(func(in *steps.Input) { m = kind.Advance(in) })
	if ev := m.Call(ctx); ev.Kind != unknownEv {
		t.Errorf("a call that hung: %+v", ev)
	}
}

func TestAMissingCredentialFailsWithoutACall(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
	defer server.Close()
	ev := call(t, http.DefaultClient, &jv1.HttpRequestStep{Url: server.URL, Credential: "env:JM_TEST_NOT_SET"})
	if ev.Kind != failEv || !strings.Contains(ev.Error, "JM_TEST_NOT_SET") {
		t.Errorf("%+v", ev)
	}
}
