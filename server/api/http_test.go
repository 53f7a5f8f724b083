package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"google.golang.org/genproto/googleapis/api/annotations"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
)

const provides = `{"resources":[
	{"provider":{"name":"alpha","base_url":"http://127.0.0.1:1/"}},
	{"service":{"name":"chat","providers":[{"name":"alpha"}]}}]}`

func TestJSON(t *testing.T) {
	r := start(t, options{})
	if got := r.do("POST", "/v1/catalog:apply", provides); got.code != 200 || !strings.Contains(got.body, `"action":"APPLY_ACTION_CREATED"`) {
		t.Fatalf("%d %s", got.code, got.body)
	}
	got := r.do("GET", "/v1/continuity/chat", "")
	if got.code != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Jurymast-Live") != "true" {
		t.Errorf("%d %v", got.code, got.header)
	}
	// The names are the proto's, and a default value is there to be read.
	for _, want := range []string{`"active_provider":"alpha"`, `"queueing":false`, `"phase":"PHASE_NORMAL"`, `"epoch":"1"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s is not in %s", want, got.body)
		}
	}
	var parsed struct {
		State struct {
			Weights map[string]int `json:"weights"`
			Service string         `json:"service"`
		} `json:"state"`
	}
	if err := json.Unmarshal([]byte(got.body), &parsed); err != nil || parsed.State.Service != "chat" || parsed.State.Weights == nil {
		t.Errorf("%+v, %v", parsed, err)
	}
	if got := r.do("DELETE", "/v1/runbooks/none?expected_revision=3", ""); got.code != 404 {
		t.Errorf("delete: %d %s", got.code, got.body)
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	r := start(t, options{})
	if got := r.do("POST", "/v1/catalog:apply", provides); got.code != 200 {
		t.Fatalf("%d %s", got.code, got.body)
	}
	for _, test := range []struct {
		name, method, path, body string
		code                     int
		text                     string
	}{
		{"unknown field", "POST", "/v1/runs", `{"runbok":"x"}`, 400, `unknown field \"runbok\"`},
		{"unknown nested field", "POST", "/v1/catalog:apply", `{"resources":[{"provider":{"nam":"x"}}]}`, 400, `unknown field \"nam\"`},
		{"wrong type", "POST", "/v1/runs", `{"runbook":7}`, 400, "runbook"},
		{"not JSON", "POST", "/v1/runs", `{`, 400, "request body"},
		{"YAML", "POST", "/v1/runs", "runbook: x", 400, "request body"},
		{"two values", "POST", "/v1/runs", `{"runbook":"x","reason":"y"} {}`, 400, "request body"},
		{"duplicate field", "POST", "/v1/runs", `{"runbook":"x","runbook":"y"}`, 400, "duplicate"},
		{"array", "POST", "/v1/runs", `[]`, 400, "request body"},
		{"NUL", "POST", "/v1/runs", "\x00", 400, "request body"},
		{"bad UTF-8", "POST", "/v1/runs", "{\"runbook\":\"\xff\"}", 400, "request body"},
		{"unknown enum", "POST", "/v1/runs", `{"runbook":"x","reason":"y","mode":"REAL"}`, 400, "REAL"},
		{"deep", "POST", "/v1/runbooks:validate", `{"runbook":{"steps":[` + strings.Repeat(`{"parallel":{"steps":[`, 20_000), 400, "request body"},
		{"nothing given", "POST", "/v1/runs", ``, 400, `"field":"runbook"`},
		{"rule", "POST", "/v1/runs", `{"runbook":"x"}`, 400, `"field":"reason"`},
		{"path and body disagree", "POST", "/v1/continuity/chat:queueing", `{"service":"other","on":true}`, 400, `"field":"reason"`},
		{"unknown parameter", "GET", "/v1/runs?sevrice=chat", "", 400, "no such parameter"},
		{"bad parameter", "GET", "/v1/runs?page_size=many", "", 400, "many"},
		{"bad escape", "GET", "/v1/runs?service=%zz", "", 400, ""},
		{"parameter of a POST", "POST", "/v1/runs?runbook=x", `{}`, 400, "belong into the body"},
		{"page size", "GET", "/v1/runs?page_size=1001", "", 400, `"field":"page_size"`},
		{"page token", "GET", "/v1/runs?page_token=x", "", 400, "page_token"},
		{"cursor", "GET", "/v1/runs:watch?cursor=x", "", 400, "cursor"},
		{"no such service", "GET", "/v1/continuity/none", "", 404, "NOT_FOUND"},
		{"encoded slash", "GET", "/v1/continuity/a%2Fb", "", 404, "NOT_FOUND"},
		{"no such path", "GET", "/v1/nothing", "", 404, "NOT_FOUND"},
		{"root", "GET", "/", "", 404, "NOT_FOUND"},
		{"wrong method", "PUT", "/v1/runs", `{}`, 405, "method not allowed"},
		{"verb", "POST", "/v1/continuity/chat:explode", `{}`, 405, "method not allowed"},
		{"guard", "POST", "/v1/continuity/chat:switch", `{"provider":"beta","reason":"x"}`, 409, "unknown_provider"},
		{"large", "POST", "/v1/runs", `{"runbook":"` + strings.Repeat("x", 3<<20) + `"}`, 413, "larger than"},
		{"long reason", "POST", "/v1/runs", `{"runbook":"x","reason":"` + strings.Repeat("x", 501) + `"}`, 400, `"field":"reason"`},
		{"method override", "GET", "/v1/runs", "", 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := r.do(test.method, test.path, test.body, "X-HTTP-Method-Override", "POST")
			if got.code != test.code || !strings.Contains(got.body, test.text) {
				t.Errorf("%d %.600s, want %d with %s", got.code, got.body, test.code, test.text)
			}
			if got.code >= 400 && !json.Valid([]byte(got.body)) {
				t.Errorf("not JSON: %.300s", got.body)
			}
			if strings.Contains(got.body, "goroutine") || strings.Contains(got.body, "\u00a0") {
				t.Errorf("body %.300s", got.body)
			}
		})
	}
	if got := r.do("GET", "/v1/info", ""); got.code != 200 {
		t.Errorf("afterwards: %d %s", got.code, got.body)
	}
	if strings.Contains(r.logged.String(), "own fault") {
		t.Errorf("a malformed request was taken for our own fault:\n%s", r.logged.String())
	}
}

// TestEveryMethodIsReachedOverHTTP calls every method by its HTTP rule: a rule that the gateway doesn't know, or that the
// check of parameters doesn't, would be a 404 or a 500.
func TestEveryMethodIsReachedOverHTTP(t *testing.T) {
	r := start(t, options{})
	for _, s := range services() {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			method, path := "GET", rule.GetGet()
			switch {
			case rule.GetPost() != "":
				method, path = "POST", rule.GetPost()
			case rule.GetDelete() != "":
				method, path = "DELETE", rule.GetDelete()
			}
			path = strings.NewReplacer("{name}", "x", "{service}", "x", "{run}", "x", "{provider}", "x", "{source}", "x").Replace(path)
			got := r.firstLine(method, path+"?nonsense=1")
			if got.code != 400 || !strings.Contains(got.body, "nonsense") {
				t.Errorf("%s %s?nonsense=1: %d %s", method, path, got.code, got.body)
			}
			got = r.firstLine(method, path)
			if got.code == 404 && !strings.Contains(got.body, `NOT_FOUND`) || got.code >= 500 || got.code == 405 || strings.Contains(got.body, "nothing is at") {
				t.Errorf("%s %s: %d %s", method, path, got.code, got.body)
			}
		}
	}
}

// firstLine makes a request and reads only the first line of the answer, which may be a stream.
func (r *rig) firstLine(method, path string) answer {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		r.t.Fatal(err)
	}
	return answer{code: resp.StatusCode, header: resp.Header, body: line}
}

// sse is a client of server-sent events as a browser is one.
type sse struct {
	t      *testing.T
	header http.Header
	events chan event
	cancel context.CancelFunc
}

type event struct{ id, name, data, retry string }

func (r *rig) listen(path string, header ...string) *sse {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := *r.http
	client.Timeout = 0
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	s := &sse{t: r.t, header: resp.Header, events: make(chan event, 100), cancel: cancel}
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("status %d", resp.StatusCode)
	}
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		var e event
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "":
				s.events <- e
				e = event{}
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data += value
			case "retry":
				e.retry = value
			default:
				e.data += "<odd line " + lines.Text() + ">"
			}
		}
	}()
	return s
}

func (s *sse) next() event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		s.t.Fatal("no event within 10 s")
	}
	return event{}
}

func TestServerSentEvents(t *testing.T) {
	r := start(t, options{})
	r.put(run("r-1", "chat"))
	s := r.listen("/v1/runs:watch")
	if got := s.header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %s", got)
	}
	if s.header.Get("Cache-Control") != "no-store" || s.header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("header %v", s.header)
	}
	first := s.next()
	var m struct {
		Event string `json:"event"`
		Run   struct {
			Name string `json:"name"`
		} `json:"run"`
	}
	if err := json.Unmarshal([]byte(first.data), &m); err != nil || m.Event != "WATCH_EVENT_PUT" || m.Run.Name != "r-1" || first.id != "" {
		t.Errorf("first %+v, %v", first, err)
	}
	mark := s.next()
	if !strings.Contains(mark.data, "WATCH_EVENT_BOOKMARK") || mark.id == "" || mark.retry != "1000" {
		t.Errorf("mark %+v", mark)
	}
	r.put(run("r-2", "chat"))
	second := s.next()
	if !strings.Contains(second.data, "r-2") || second.id == "" || second.id == mark.id {
		t.Errorf("second %+v", second)
	}
	s.cancel()
	r.put(run("r-3", "chat"))

	// A browser that comes back asks for its first address again, and says where it was.
	for _, path := range []string{"/v1/runs:watch", "/v1/runs:watch?cursor=" + mark.id} {
		again := r.listen(path, "Last-Event-ID", second.id)
		if e := again.next(); !strings.Contains(e.data, "r-3") {
			t.Errorf("resumed with %+v", e)
		}
		again.cancel()
	}

	r.put(run("r-4", "chat"))
	byCursor := r.listen("/v1/runs:watch?cursor="+second.id, "Accept", "text/event-stream, */*")
	if e := byCursor.next(); !strings.Contains(e.data, "r-3") {
		t.Errorf("resumed by cursor with %+v", e)
	}
	byCursor.next()
	r.server.Stop(t.Context())
	last := byCursor.next()
	for last.name == "" {
		last = byCursor.next()
	}
	if last.name != "failure" || !strings.Contains(last.data, "SERVER_STOPPING") {
		t.Errorf("a stopping server says %+v", last)
	}
}

func TestStreamsAsLinesOfJSON(t *testing.T) {
	r := start(t, options{})
	r.put(run("r-1", "chat"))
	got := r.firstLine("GET", "/v1/runs:watch")
	if !strings.HasPrefix(got.body, `{"result":{`) || !strings.Contains(got.body, "r-1") || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v %s", got.header, got.body)
	}
}

// TestBrowsersOfOthersAreRefused: without authentication, a web page must not reach us through its reader's browser.
func TestBrowsersOfOthersAreRefused(t *testing.T) {
	r := start(t, options{})
	body := `{"on":false,"reason":"x"}`
	for _, test := range []struct {
		name   string
		header []string
		code   int
	}{
		{"no browser", nil, 200},
		{"own page", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"other site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same site, other origin", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"other origin", []string{"Origin", "https://evil.example"}, 403},
		{"opaque origin", []string{"Origin", "null"}, 403},
		{"rebound name", []string{"Host", "evil.example:7401"}, 403},
		{"localhost", []string{"Host", "localhost:7401"}, 200},
		{"IPv6", []string{"Host", "[::1]:7401"}, 200},
	} {
		if got := r.do("POST", "/v1/automation", body, test.header...); got.code != test.code {
			t.Errorf("%s: %d %s", test.name, got.code, got.body)
		}
	}
	if got := r.do("GET", "/v1/info", "", "Host", "evil.example"); got.code != 403 {
		t.Errorf("reading by a rebound name: %d", got.code)
	}
	if got := r.do("GET", "/v1/info", ""); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("other origins are let in")
	}
}

func TestAuthenticationOverHTTP(t *testing.T) {
	webhooks := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, audit.From(req.Context()).Role)
	})
	r := start(t, options{auth: principals(t), webhooks: webhooks})
	as := func(token, method, path, body string) answer {
		r.token = token
		return r.do(method, path, body)
	}
	for _, test := range []struct {
		token, method, path, body string
		code                      int
	}{
		{"", "GET", "/healthz", "", 200},
		{"", "GET", "/readyz", "", 200},
		{"", "GET", "/metrics", "", 401},
		{"", "GET", "/v1/info", "", 401},
		{"", "GET", "/v1/nothing", "", 401},
		{"wrong", "GET", "/v1/info", "", 401},
		{"viewer", "GET", "/v1/info", "", 200},
		{"viewer", "GET", "/metrics", "", 200},
		{"viewer", "POST", "/v1/automation", `{"reason":"x"}`, 403},
		{"operator", "POST", "/v1/automation", `{"reason":"x"}`, 200},
		{"operator", "POST", "/v1/catalog:apply", provides, 403},
		{"admin", "POST", "/v1/catalog:apply", provides, 200},
		{"viewer", "GET", "/v1/runs:watch", "", 200},
	} {
		if test.path == "/v1/runs:watch" {
			continue
		}
		got := as(test.token, test.method, test.path, test.body)
		if got.code != test.code {
			t.Errorf("%q %s %s: %d %s", test.token, test.method, test.path, got.code, got.body)
		}
		if got.code == 401 && got.header.Get("Www-Authenticate") != `Bearer realm="jurymast"` {
			t.Errorf("challenge %q", got.header.Get("Www-Authenticate"))
		}
	}
	if got := as("operator", "GET", "/v1/audit?page_size=1", ""); !strings.Contains(got.body, `"actor":"admin-1"`) {
		t.Errorf("audit %s", got.body)
	}
	// What we hand over in process can't be handed over from outside.
	r.token = "viewer"
	if got := r.do("POST", "/v1/automation", `{"reason":"x"}`, "Grpc-Metadata-Jurymast-Role", "admin", "Jurymast-Role", "admin", "Jurymast-Principal", "x"); got.code != 403 {
		t.Errorf("forged: %d %s", got.code, got.body)
	}
	// A webhook decides by itself; it is told who calls, if we know.
	if got := as("operator", "POST", "/v1/signals/probe", "{}"); got.code != 200 || got.body != "operator" {
		t.Errorf("webhook with our token: %d %q", got.code, got.body)
	}
	if got := as("a sender's own secret", "POST", "/v1/webhooks/alertmanager/probe", "{}"); got.code != 200 || got.body != "" {
		t.Errorf("webhook with its own secret: %d %q", got.code, got.body)
	}
}

func TestPanicsOfHTTPHandlersAreNotShown(t *testing.T) {
	r := start(t, options{webhooks: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the secret of a panic") })})
	got := r.do("POST", "/v1/signals/x", "{}")
	if got.code != 500 || strings.Contains(got.body, "secret") || !strings.Contains(got.body, "INTERNAL") {
		t.Errorf("%d %s", got.code, got.body)
	}
	if !strings.Contains(r.logged.String(), "the secret of a panic") {
		t.Error("the log doesn't tell of it")
	}
}

// TestSlowClients: a client that never ends its headers is cut off, and doesn't keep others from being served.
func TestSlowClients(t *testing.T) {
	r := start(t, options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if got := r.do("GET", "/healthz", ""); got.code != 200 {
		t.Errorf("%d", got.code)
	}
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if text, err := io.ReadAll(conn); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("%q, %v after %v", text, err, time.Since(began))
	}
	long := r.do("GET", "/healthz", "", "X-Long", strings.Repeat("x", 64<<10))
	if long.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("long header: %d", long.code)
	}
}

func TestMetrics(t *testing.T) {
	r := start(t, options{})
	r.do("GET", "/v1/runs/none", "")
	if _, err := r.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{}); err != nil {
		t.Fatal(err)
	}
	got := r.do("GET", "/metrics", "")
	for _, want := range []string{
		`jurymast_api_calls_total{code="NotFound",method="RunService.GetRun",transport="http"} 1`,
		`jurymast_api_calls_total{code="OK",method="AdminService.GetInfo",transport="grpc"} 1`,
		`jurymast_api_call_seconds_count{method="RunService.GetRun",transport="http"} 1`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s is not there", want)
		}
	}
}
