package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// looking makes a probe of a provider with the real transport.
func looking(t *testing.T, spec *jv1.HttpProbe, p *jv1.Provider) *httpProbe {
	t.Helper()
	transport := NewTransport()
	probe, err := newHTTPProbe(spec, p, probeTools{transport: transport, network: newNetwork(nil, transport, time.Now), now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return probe
}

func (f finding) is(state jv1.SignalState, cause jv1.SignalCause, reason string) error {
	if f.state != state || f.cause != cause || f.reason != reason {
		return fmt.Errorf("found %v, %v, %s (%s), want %v, %v, %s", f.state, f.cause, f.reason, f.summary, state, cause, reason)
	}
	return nil
}

func TestHTTPProbeStatuses(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		spec   *jv1.HttpProbe
		state  jv1.SignalState
		cause  jv1.SignalCause
		reason string
	}{
		{status: 200, state: stateOK, reason: "ok"},
		{status: 204, state: stateOK, reason: "ok"},
		{status: 401, state: stateOK, reason: "alive"},
		{status: 402, state: stateOK, reason: "alive"},
		{status: 403, state: stateOK, reason: "alive"},
		{status: 405, state: stateOK, reason: "alive"},
		{status: 404, state: stateFailing, cause: causeConfiguration, reason: "request_refused"},
		{status: 408, state: stateFailing, cause: causeOutage, reason: "request_timeout"},
		{status: 429, state: stateFailing, cause: causeThrottle, reason: "throttled"},
		{status: 429, body: `{"error":{"code":"insufficient_quota"}}`, state: stateFailing, cause: causeConfiguration, reason: "credit_exhausted"},
		{status: 304, state: stateFailing, cause: causeConfiguration, reason: "redirected"},
		{status: 500, state: stateFailing, cause: causeOutage, reason: "server_error"},
		{status: 503, state: stateFailing, cause: causeOutage, reason: "server_error"},
		{status: 529, state: stateFailing, cause: causeOutage, reason: "server_error"},
		{status: 530, state: stateFailing, cause: causeOutage, reason: "server_error"},
		{status: 999, state: stateFailing, cause: causeOutage, reason: "unexpected_status"},

		{status: 200, spec: &jv1.HttpProbe{Authenticate: true}, state: stateOK, reason: "ok"},
		{status: 401, spec: &jv1.HttpProbe{Authenticate: true}, state: stateFailing, cause: causeConfiguration, reason: "credential_refused"},
		{status: 402, spec: &jv1.HttpProbe{Authenticate: true}, state: stateFailing, cause: causeConfiguration, reason: "credit_exhausted"},
		{status: 403, spec: &jv1.HttpProbe{Authenticate: true}, state: stateFailing, cause: causeConfiguration, reason: "credential_refused"},
		{status: 405, spec: &jv1.HttpProbe{Authenticate: true}, state: stateFailing, cause: causeConfiguration, reason: "request_refused"},

		{status: 401, spec: &jv1.HttpProbe{ExpectStatus: []int32{401}}, state: stateOK, reason: "ok"},
		{status: 200, spec: &jv1.HttpProbe{ExpectStatus: []int32{401}}, state: stateFailing, cause: causeOutage, reason: "unexpected_status"},
		{status: 403, spec: &jv1.HttpProbe{ExpectStatus: []int32{200}}, state: stateFailing, cause: causeConfiguration, reason: "credential_refused"},
		{status: 500, spec: &jv1.HttpProbe{ExpectStatus: []int32{500}}, state: stateOK, reason: "ok"},

		{status: 200, body: `{"data":[{"id":"gpt-4.1"}]}`, spec: &jv1.HttpProbe{Expect: `size(json.data) > 0`}, state: stateOK, reason: "ok"},
		{status: 200, body: `{"data":[]}`, spec: &jv1.HttpProbe{Expect: `size(json.data) > 0`}, state: stateFailing, cause: causeOutage, reason: "condition_failed"},
		{status: 200, body: `<html>moved</html>`, spec: &jv1.HttpProbe{Expect: `size(json.data) > 0`}, state: stateFailing, cause: causeOutage, reason: "condition_unanswered"},
		{status: 200, body: `{}`, spec: &jv1.HttpProbe{Expect: `headers["x-state"] == "fine" && latency < duration("5s") && status == 200`}, state: stateOK, reason: "ok"},
		{status: 200, body: strings.Repeat(" ", maxProbeBody+1), spec: &jv1.HttpProbe{Expect: `json == null`}, state: stateFailing, cause: causeConfiguration, reason: "body_too_large"},
		{status: 200, body: strings.Repeat(" ", maxProbeBody+1), spec: &jv1.HttpProbe{Expect: `status == 200`}, state: stateOK, reason: "ok"},
		{status: 401, spec: &jv1.HttpProbe{Expect: `status == 401`}, state: stateFailing, cause: causeConfiguration, reason: "credential_refused"},
	} {
		t.Run(fmt.Sprintf("%d %v", test.status, test.spec), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-State", "fine")
				w.WriteHeader(test.status)
				if test.status != 204 && test.status != 304 {
					_, _ = io.WriteString(w, test.body)
				}
			}))
			defer server.Close()
			f := looking(t, test.spec, &jv1.Provider{BaseUrl: server.URL}).look(t.Context())
			if err := f.is(test.state, test.cause, test.reason); err != nil {
				t.Error(err)
			}
			if f.summary == "" || f.at.IsZero() {
				t.Errorf("finding %+v", f)
			}
		})
	}
}

// TestHTTPProbeRequest: what is sent is what detector and provider say.
func TestHTTPProbeRequest(t *testing.T) {
	t.Setenv("PROBE_KEY", "secret-1")
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}))
	defer server.Close()
	p := &jv1.Provider{
		BaseUrl: server.URL + "/openai/v1", Credential: "env:PROBE_KEY", AuthHeader: "api-key",
		Headers: map[string]string{"X-Team": "a"}, Query: map[string]string{"api-version": "1"},
	}
	f := looking(t, &jv1.HttpProbe{Path: "/models?limit=1", Method: "POST", Body: `{"a":1}`, Authenticate: true}, p).look(t.Context())
	if f.state != stateOK || got == nil {
		t.Fatalf("found %+v", f)
	}
	if got.Method != http.MethodPost || got.URL.Path != "/openai/v1/models" || got.URL.RawQuery != "limit=1&api-version=1" || body != `{"a":1}` ||
		got.Header.Get("Api-Key") != "secret-1" || got.Header.Get("Authorization") != "" || got.Header.Get("X-Team") != "a" ||
		got.Header.Get("Content-Type") != "application/json" || got.Header.Get("User-Agent") != userAgent {
		t.Errorf("%s %s, headers %v, body %q", got.Method, got.URL, got.Header, body)
	}
	if strings.Contains(f.summary, "secret") || strings.Contains(f.summary, "api-version") {
		t.Errorf("summary says too much: %s", f.summary)
	}
	p.AuthHeader, p.BaseUrl = "", server.URL
	if f := looking(t, &jv1.HttpProbe{Path: "/models"}, p).look(t.Context()); !strings.HasPrefix(f.summary, "GET "+strings.TrimPrefix(server.URL, "http://")+"/models: status 200 after ") ||
		got.URL.Path != "/models" {
		t.Errorf("%s, summary %s", got.URL, f.summary)
	}
	looking(t, &jv1.HttpProbe{Authenticate: true}, p).look(t.Context())
	if got.Header.Get("Authorization") != "Bearer secret-1" || got.URL.Path != "/" {
		t.Errorf("%s, headers %v", got.URL, got.Header)
	}
	looking(t, &jv1.HttpProbe{}, p).look(t.Context())
	if got.Header.Get("Authorization") != "" {
		t.Error("the credential was shown without being asked for")
	}
	p.Credential = "env:PROBE_KEY_THAT_IS_NOT_SET"
	if err := looking(t, &jv1.HttpProbe{Authenticate: true}, p).look(t.Context()).is(stateFailing, causeConfiguration, "credential_unresolved"); err != nil {
		t.Error(err)
	}
}

func TestHTTPProbeRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was called") }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/there":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	}))
	defer server.Close()
	for path, want := range map[string]finding{
		"/here":  {state: stateOK, reason: "ok"},
		"/there": {state: stateFailing, cause: causeConfiguration, reason: "redirected"},
		"/round": {state: stateFailing, cause: causeConfiguration, reason: "redirected"},
	} {
		f := looking(t, &jv1.HttpProbe{Path: path}, &jv1.Provider{BaseUrl: server.URL}).look(t.Context())
		if err := f.is(want.state, want.cause, want.reason); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// raw serves connections by hand.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// request reads the header of a request.
func request(c net.Conn) {
	text := ""
	for b := make([]byte, 1024); !strings.Contains(text, "\r\n\r\n"); {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		text += string(b[:n])
	}
}

// TestHTTPProbeTroubles calls servers that misbehave, over real connections.
func TestHTTPProbeTroubles(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, test := range []struct {
		name   string
		url    string
		reason string
	}{
		{"hang", raw(t, func(net.Conn) { <-over }), "no_first_byte"},
		{"hang after the header", raw(t, func(c net.Conn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
			<-over
		}), "body_timeout"},
		{"hang in the header", raw(t, func(c net.Conn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200")
			<-over
		}), "answer_timeout"},
		{"body cut", raw(t, func(c net.Conn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
		}), "body_broken"},
		{"closed at once", raw(t, func(c net.Conn) { request(c) }), "connection_broken"},
		{"reset", raw(t, func(c net.Conn) {
			request(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}), "connection_broken"},
		{"not HTTP", raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") }), "call_failed"},
		{"refused", "http://" + closed.Addr().String(), "connection_refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := &jv1.HttpProbe{Timeout: durationpb.New(150 * time.Millisecond)}
			if err := looking(t, spec, &jv1.Provider{BaseUrl: test.url}).look(t.Context()).is(stateFailing, causeOutage, test.reason); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHTTPProbeTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	server.StartTLS() // of an authority nobody knows
	defer server.Close()
	if err := looking(t, &jv1.HttpProbe{}, &jv1.Provider{BaseUrl: server.URL}).look(t.Context()).is(stateFailing, causeOutage, "tls_failure"); err != nil {
		t.Error(err)
	}
}

func TestEachProbeHasItsOwnConnection(t *testing.T) {
	remotes := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { remotes[r.RemoteAddr] = true }))
	defer server.Close()
	p := looking(t, &jv1.HttpProbe{}, &jv1.Provider{BaseUrl: server.URL})
	for range 3 {
		p.look(t.Context())
	}
	if len(remotes) != 3 {
		t.Errorf("%d connections for 3 probes", len(remotes))
	}
}

func TestHTTPProbeThatIsStoppedKnowsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := raw(t, func(net.Conn) { cancel(); <-t.Context().Done() })
	if err := looking(t, &jv1.HttpProbe{}, &jv1.Provider{BaseUrl: url}).look(ctx).is(stateUnknown, causeNone, "stopped"); err != nil {
		t.Error(err)
	}
}

// TestOwnNetwork: what can't be reached is only held against the provider when our own network is known to work.
func TestOwnNetwork(t *testing.T) {
	dns := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "openai.example", IsNotFound: true}}
	unreachable := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	unanswered := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}
	for _, test := range []struct {
		name     string
		err      error
		canaries map[string]error // by host: what calling it gives, nil: an answer
		others   map[string]bool  // by host: reached or not
		stale    bool             // the others were called long ago
		earlier  bool             // the others were called before this one first failed
		state    jv1.SignalState
		reason   string
	}{
		{name: "refused is the provider's", err: syscall.ECONNREFUSED, state: stateFailing, reason: "connection_refused"},
		{name: "no descriptors is ours", err: syscall.EMFILE, others: map[string]bool{"azure.example": true}, state: stateUnknown, reason: "local_resources"},
		{name: "a proxy is ours", err: &net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, state: stateUnknown, reason: "proxy_failure"},

		{name: "no name, nothing known", err: dns, state: stateUnknown, reason: "dns_failure"},
		{name: "no name, another was reached", err: dns, others: map[string]bool{"azure.example": true}, state: stateFailing, reason: "dns_failure"},
		{name: "no name, no other was reached", err: dns, others: map[string]bool{"azure.example": false}, state: stateUnknown, reason: "dns_failure"},
		{name: "no name, another was reached long ago", err: dns, others: map[string]bool{"azure.example": true}, stale: true, state: stateUnknown, reason: "dns_failure"},
		{name: "no name, another was reached before", err: dns, others: map[string]bool{"azure.example": true}, earlier: true, state: stateUnknown, reason: "dns_failure"},
		{name: "no connection, another was reached before", err: unanswered, others: map[string]bool{"azure.example": true}, earlier: true, state: stateFailing, reason: "connect_timeout"},
		{name: "no name, loopback was reached", err: dns, others: map[string]bool{"127.0.0.1": true, "localhost": true, "::1": true}, state: stateUnknown, reason: "dns_failure"},
		{name: "no way, nothing known", err: unreachable, state: stateUnknown, reason: "network_unreachable"},
		{name: "no way, another was reached", err: unreachable, others: map[string]bool{"azure.example": true}, state: stateFailing, reason: "network_unreachable"},

		{name: "no connection, nothing known", err: unanswered, state: stateFailing, reason: "connect_timeout"},
		{name: "no connection, no other was reached", err: unanswered, others: map[string]bool{"azure.example": false}, state: stateUnknown, reason: "connect_timeout"},
		{name: "no connection, one of the others was reached", err: unanswered, others: map[string]bool{"a.example": false, "b.example": true}, state: stateFailing, reason: "connect_timeout"},

		{name: "canary answers", err: dns, canaries: map[string]error{"canary.example": nil}, others: map[string]bool{"azure.example": false}, state: stateFailing, reason: "dns_failure"},
		{name: "canary refuses", err: dns, canaries: map[string]error{"canary.example": syscall.ECONNREFUSED}, state: stateFailing, reason: "dns_failure"},
		{name: "canary can't be reached", err: unanswered, canaries: map[string]error{"canary.example": dns}, others: map[string]bool{"azure.example": true}, state: stateUnknown, reason: "connect_timeout"},
		{name: "one canary of two", err: dns, canaries: map[string]error{"a.example": unreachable, "b.example": nil}, state: stateFailing, reason: "dns_failure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			world := newProviders()
			world.set("openai.example", fails(test.err))
			var canaries []string
			for host, err := range test.canaries {
				canaries = append(canaries, "http://"+host+"/")
				world.set(host, fails(err))
				if err == nil {
					world.set(host, answers(404, ""))
				}
			}
			now := t0
			n := newNetwork(canaries, world, func() time.Time { return now })
			p, err := newHTTPProbe(nil, &jv1.Provider{BaseUrl: "http://openai.example"}, probeTools{transport: world, network: n, now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			if !test.earlier && !test.stale {
				p.look(t.Context())
				now = now.Add(time.Second)
			}
			for host, reached := range test.others {
				n.note(host, reached)
			}
			now = now.Add(time.Second)
			if test.stale {
				now = now.Add(time.Hour)
			}
			cause := causeNone
			if test.state == stateFailing {
				cause = causeOutage
			}
			if err := p.look(t.Context()).is(test.state, cause, test.reason); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCanariesAreAskedOnceByMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newProviders()
		world.set("canary.example", func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answers(200, "")(r)
		})
		n := newNetwork([]string{"http://canary.example/"}, world, time.Now)
		answers := make(chan reach)
		for range 20 {
			go func() { answers <- n.beyond(context.Background(), "openai.example") }()
		}
		for range 20 {
			if got := <-answers; got != up {
				t.Errorf("answer %v", got)
			}
		}
		if asked := world.count("canary.example"); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(canaryFresh)
		world.set("canary.example", hangs)
		if got := n.beyond(context.Background(), "openai.example"); got != down || world.count("canary.example") != 2 {
			t.Errorf("answer %v after %d questions", got, world.count("canary.example"))
		}
	})
}

func TestDNSTimeout(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	defer cancel()
	transport := NewTransport()
	transport.DialContext = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		<-over.Done()
		return nil, over.Err()
	}}}).DialContext
	p, err := newHTTPProbe(&jv1.HttpProbe{Timeout: durationpb.New(100 * time.Millisecond)}, &jv1.Provider{BaseUrl: "http://openai.example"},
		probeTools{transport: transport, network: newNetwork(nil, transport, time.Now), now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.look(t.Context()).is(stateUnknown, causeNone, "dns_timeout"); err != nil {
		t.Error(err)
	}
}

func TestNewHTTPProbeRefuses(t *testing.T) {
	for _, test := range []struct {
		spec *jv1.HttpProbe
		url  string
	}{
		{&jv1.HttpProbe{Expect: "json."}, "http://a.example"},
		{&jv1.HttpProbe{Expect: "1 + 1"}, "http://a.example"},
		{nil, "http://[::1"},
		{nil, "/no/host"},
	} {
		if p, err := newHTTPProbe(test.spec, &jv1.Provider{BaseUrl: test.url}, probeTools{}); err == nil {
			t.Errorf("%v at %s gave %v", test.spec, test.url, p)
		}
	}
}

func TestClassifyErrorNamesEverything(t *testing.T) {
	for _, err := range []error{errors.New("anything"), io.EOF, syscall.EHOSTUNREACH, fmt.Errorf("wrapped: %w", syscall.ECONNRESET)} {
		if r := classifyError(err); r.reason == "" {
			t.Errorf("%v has no reason", err)
		}
	}
	if r := classifyError(fmt.Errorf("wrapped: %w", syscall.ECONNRESET)); r.reason != "connection_broken" {
		t.Errorf("a wrapped reset is %s", r.reason)
	}
}
