package steps_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/steps"
)

// speak serves every connection by hand, and says when one that it served was closed from the other side.
func speak(t *testing.T, serve func(conn net.Conn, head string)) (address string, closed <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{}, 16)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				var head strings.Builder
				for {
					line, err := in.ReadString('\n')
					head.WriteString(line)
					if err != nil || line == "\r\n" {
						break
					}
				}
				serve(conn, head.String())
				_, _ = io.Copy(io.Discard, in)
				gone <- struct{}{}
			}()
		}
	}()
	return "http://" + ln.Addr().String(), gone
}

func write(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// within gives the step's only attempt a time.
func within(d time.Duration) func(*jv1.Step) {
	return func(s *jv1.Step) { s.Timeout = durationpb.New(d) }
}

// Whatever a receiver does, an attempt ends within its time, keeps little, and is recorded with the name of what went
// wrong and with whether it may have been carried out.
func TestHostileReceiversAreBoundedAndNamed(t *testing.T) {
	type hostile struct {
		serve func(net.Conn, string)
		spec  *jv1.HttpRequestStep
		want  jv1.RunEventKind
		fault string
		text  string
	}
	drip := func(conn net.Conn, what string) {
		for range 1000 {
			if _, err := io.WriteString(conn, what); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, tc := range map[string]hostile{
		"hangs": {
			func(net.Conn, string) {}, &jv1.HttpRequestStep{}, unknownEv, "timeout", "no answer within",
		},
		"headers by drops": {
			func(c net.Conn, _ string) { write(c, "HTTP/1.1 200 OK\r\n"); drip(c, "X-A: b\r\n") },
			&jv1.HttpRequestStep{}, unknownEv, "timeout", "no answer within",
		},
		"a body by drops": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
				drip(c, "x")
			},
			&jv1.HttpRequestStep{}, unknownEv, "timeout", "the answer 200 broke off after",
		},
		"a truncated body": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":")
				_ = c.(*net.TCPConn).CloseWrite()
			},
			&jv1.HttpRequestStep{}, unknownEv, "truncated", "the answer 200 broke off after 6 bytes",
		},
		"a refusal with a truncated body": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\nno")
				_ = c.(*net.TCPConn).CloseWrite()
			},
			&jv1.HttpRequestStep{}, failEv, "status", "answered 422 no",
		},
		"closes at once": {
			func(c net.Conn, _ string) { _ = c.Close() }, &jv1.HttpRequestStep{}, unknownEv, "broken", "",
		},
		"huge headers": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 1<<20)+"\r\n\r\n")
			},
			&jv1.HttpRequestStep{}, unknownEv, "headers", "more headers than are read",
		},
		"many small headers": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-A: b\r\n", 1<<16)+"\r\n")
			},
			&jv1.HttpRequestStep{}, unknownEv, "headers", "more headers than are read",
		},
		"no HTTP": {
			func(c net.Conn, _ string) { write(c, "SSH-2.0-OpenSSH_9.6\r\n\r\n") },
			&jv1.HttpRequestStep{}, unknownEv, "malformed", "",
		},
		"endless interim answers": {
			func(c net.Conn, _ string) {
				for range 200_000 {
					if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
						return
					}
				}
			},
			&jv1.HttpRequestStep{}, unknownEv, "headers", "",
		},
		"interim answers, then a good one": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			},
			&jv1.HttpRequestStep{}, okEv, "", "",
		},
		"another protocol": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			},
			&jv1.HttpRequestStep{ExpectStatus: []int32{101}}, okEv, "", "",
		},
		"HTML instead of JSON": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>welcome</html>")
			},
			&jv1.HttpRequestStep{Expect: "json.ok"}, failEv, "expectation", "answered 200 <html>welcome</html>: ",
		},
		"JSON of the wrong shape": {
			func(c net.Conn, _ string) {
				write(c, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n"+strings.Repeat("[", 30000))
			},
			&jv1.HttpRequestStep{Expect: "json.ok"}, failEv, "expectation", "json.ok",
		},
		"bytes that are no text": {
			func(c net.Conn, _ string) { write(c, "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n\xff\xfe\x00binary") },
			&jv1.HttpRequestStep{}, unknownEv, "status", "answered 500",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, _ := speak(t, tc.serve)
			tc.spec.Url = address
			begun := time.Now()
			ev := call(t, steps.NewClient(), tc.spec, within(400*time.Millisecond))
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if ev.Kind != tc.want || ev.Details["fault"] != tc.fault || !strings.Contains(ev.Error, tc.text) {
				t.Errorf("%v, fault %q: %q", ev.Kind, ev.Details["fault"], ev.Error)
			}
			if ev.Kind == unknownEv && ev.Attempt != jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
				t.Errorf("the attempt is %v", ev.Attempt)
			}
			if len(ev.Error) > 8<<10 || len(ev.Message) > 8<<10 {
				t.Errorf("%d and %d bytes kept", len(ev.Error), len(ev.Message))
			}
		})
	}
}

// A flood is read to its bound, kept shorter, and its connection closed.
func TestAFloodIsCutAndItsConnectionClosed(t *testing.T) {
	var sent atomic.Int64
	address, closed := speak(t, func(c net.Conn, _ string) {
		write(c, "HTTP/1.1 200 OK\r\n\r\n")
		block := strings.Repeat("x", 64<<10)
		for {
			n, err := io.WriteString(c, block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	ev := call(t, steps.NewClient(), &jv1.HttpRequestStep{Url: address})
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection stays open")
	}
	if ev.Kind != okEv || len(ev.Output["result"]) > 3<<10 || sent.Load() > 64<<20 {
		t.Errorf("%v, %d bytes kept of %d", ev.Kind, len(ev.Output["result"]), sent.Load())
	}
	ev = call(t, steps.NewClient(), &jv1.HttpRequestStep{Url: address, Expect: "json == null || true"})
	if ev.Kind != okEv || !strings.Contains(ev.Output["result"], "more than 65536 bytes") && len(ev.Output["result"]) < 2<<10 {
		t.Errorf("%+v", ev)
	}
}

// A redirect is an answer: neither the call nor its secret or key goes anywhere else, even with a client that follows.
func TestARedirectIsAnAnswer(t *testing.T) {
	t.Setenv("JM_TEST_TOKEN", "s3cret-token")
	var elsewhere atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL+"/?token="+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), status)
		}))
		for name, client := range map[string]*http.Client{"ours": steps.NewClient(), "one that follows": {}} {
			ev := call(t, client, &jv1.HttpRequestStep{Url: server.URL, Method: "GET", Credential: "env:JM_TEST_TOKEN"})
			if ev.Kind != failEv || ev.Details["fault"] != "redirect" || !strings.Contains(ev.Error, "points to "+thief.URL) ||
				strings.Contains(ev.Error, "s3cret-token") {
				t.Errorf("%d with %s: %+v", status, name, ev)
			}
		}
		server.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d calls went elsewhere", n)
	}
}

// What fails before anything is sent leaves no doubt.
func TestTLSThatFailsSendsNothing(t *testing.T) {
	var called atomic.Int64
	served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Add(1) })
	secure := httptest.NewUnstartedServer(served)
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	old := httptest.NewUnstartedServer(served)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} // too old to be talked to
	old.StartTLS()
	defer old.Close()
	plain := httptest.NewServer(served)
	defer plain.Close()
	for name, address := range map[string]string{
		"an unknown authority": secure.URL, "too old": old.URL, "no TLS at all": strings.Replace(plain.URL, "http:", "https:", 1),
	} {
		ev := call(t, steps.NewClient(), &jv1.HttpRequestStep{Url: address})
		if ev.Kind != failEv || ev.Details["fault"] != "tls" || ev.Attempt == jv1.AttemptState_ATTEMPT_STATE_UNKNOWN {
			t.Errorf("%s: %+v", name, ev)
		}
	}
	if called.Load() != 0 {
		t.Error("something was sent")
	}
}

// A call that may be made only once is sent once, even on a connection that breaks after it was used before: the HTTP
// client would send again what carries an Idempotency-Key.
func TestACallThatMayBeMadeOnceIsSentOnce(t *testing.T) {
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/warm" {
			return
		}
		posts.Add(1)
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = conn.Close()
		}
	}))
	defer server.Close()
	client := steps.NewClient()
	for range 4 {
		if ev := call(t, client, &jv1.HttpRequestStep{Url: server.URL + "/warm"}); ev.Kind != okEv {
			t.Fatalf("%+v", ev)
		}
		posts.Store(0)
		if ev := call(t, client, &jv1.HttpRequestStep{Url: server.URL + "/post"}); ev.Kind != unknownEv || posts.Load() != 1 {
			t.Fatalf("sent %d times: %+v", posts.Load(), ev)
		}
	}
}

// What templates make of an address or a header is judged before anything is sent.
func TestRequestsThatCanNotBeMadeFailWithTheirPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		spec *jv1.HttpRequestStep
		want string
	}{
		"no scheme":       {&jv1.HttpRequestStep{Url: "{{.Params.who}}"}, "url: must be an address"},
		"a file":          {&jv1.HttpRequestStep{Url: `{{"file:///etc/passwd"}}`}, "url: must be an address"},
		"a password":      {&jv1.HttpRequestStep{Url: `{{"http://a:b@sink/"}}`}, "url: the address holds a user name"},
		"a line break":    {&jv1.HttpRequestStep{Url: "http://sink/", Headers: map[string]string{"X-A": "{{printf \"a\\nX-B: c\"}}"}}, "header X-A: holds a line break"},
		"a long header":   {&jv1.HttpRequestStep{Url: "http://sink/", Headers: map[string]string{"X-A": strings.Repeat("a", 5000)}}, "header X-A: is longer than 4096 bytes"},
		"in the question": {&jv1.HttpRequestStep{Url: "http://sink/", Repeat: jv1.Repeatability_REPEATABILITY_CHECKABLE, Check: &jv1.HttpCheck{Url: "{{.Run}}", CarriedOut: "true"}}, "check: url: must be"},
	} {
		_, with := input(t, &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: tc.spec}})
		kind, _ := steps.New(steps.Options{Client: steps.NewClient()}).Kind("http_request")
		with(func(in *steps.Input) {
			if m := kind.Advance(in); m.Event.Kind != failEv || !strings.Contains(m.Event.Error, "no_request: "+tc.want) {
				t.Errorf("%s: %+v", name, m.Event)
			}
		})
	}
}

// The answer of a receiver that repeats our secret is kept without it.
func TestASecretThatIsRepeatedIsNotKept(t *testing.T) {
	t.Setenv("JM_TEST_TOKEN", "s3cret-token")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		_, _ = fmt.Fprintf(w, `{"seen": %q}`, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	ev := call(t, steps.NewClient(), &jv1.HttpRequestStep{
		Url: server.URL, Credential: "env:JM_TEST_TOKEN", Outputs: map[string]string{"seen": "json.seen", "head": `headers["x-echo"]`},
	})
	if text := fmt.Sprint(ev); ev.Kind != okEv || strings.Contains(text, "s3cret") || ev.Output["seen"] != "Bearer [secret]" || ev.Output["head"] != "Bearer [secret]" {
		t.Errorf("%+v", ev)
	}
}

// A cancel ends a call at once, whatever the receiver does.
func TestACancelEndsACallAtOnce(t *testing.T) {
	begun := make(chan struct{}, 1)
	address, _ := speak(t, func(net.Conn, string) { begun <- struct{}{} })
	_, with := input(t, &jv1.Step{Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Url: address}}})
	kind, _ := steps.New(steps.Options{Client: steps.NewClient()}).Kind("http_request")
	var m steps.Move
	with(func(in *steps.Input) { m = kind.Advance(in) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan runs.Event, 1)
	go func() { done <- m.Call(ctx) }()
	<-begun
	cancel()
	select {
	case ev := <-done:
		if ev.Kind != unknownEv || ev.Details["fault"] != "stopped" {
			t.Errorf("%+v", ev)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the call goes on")
	}
}
