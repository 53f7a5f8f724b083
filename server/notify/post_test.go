package notify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/notify"
)

// secretPath is the part of a receiver's address that must never show.
const secretPath = "/services/T0SECRET00/B0SECRET00/abcdefSECRETabcdef"

func opening() *jv1.Notification {
	return &jv1.Notification{
		Name: "r-1-notify-oncall", Channel: "oncall", Run: "r-1", Step: "notify", Service: "chat", Thread: "chat-7",
		Kind: jv1.NotificationKind_NOTIFICATION_KIND_OPEN, Severity: jv1.Severity_SEVERITY_CRITICAL,
		Title: "chat is failing", Text: "since 12:00, switching", Details: map[string]string{"provider": "primary"},
	}
}

func newSender(t *testing.T, ch *jv1.Channel, timeout time.Duration) notify.Sender {
	t.Helper()
	transport := notify.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	s, err := notify.NewSender(ch, notify.SenderOptions{Transport: transport, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func webhookTo(url string) *jv1.Channel {
	return &jv1.Channel{Name: "oncall", Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: url}}}
}

// inFile writes a secret to a file and returns its reference.
func inFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

func TestAnswersOfReceivers(t *testing.T) {
	const retryAt = "Fri, 31 Dec 2100 23:59:59 GMT"
	for _, test := range []struct {
		name      string
		answer    func(w http.ResponseWriter, r *http.Request)
		receipt   string
		cause     notify.Cause
		permanent bool
		after     time.Duration
		text      string
	}{
		{name: "200", answer: status(200), receipt: "200 OK"},
		{name: "202", answer: status(202), receipt: "202 Accepted"},
		{name: "204", answer: status(204), receipt: "204 No Content"},
		{name: "body that breaks off", answer: breakOff, receipt: "200 OK"},
		{name: "redirect", answer: redirect, cause: notify.CauseRedirect, text: "the receiver answered 302 Found"},
		{name: "400", answer: status(400), cause: notify.CauseRefused, permanent: true, text: "the receiver answered 400 Bad Request: no"},
		{name: "401", answer: status(401), cause: notify.CauseRefused, text: "the receiver answered 401 Unauthorized: no"},
		{name: "404", answer: status(404), cause: notify.CauseRefused, text: "the receiver answered 404 Not Found: no"},
		{name: "410", answer: status(410), cause: notify.CauseRefused, permanent: true, text: "the receiver answered 410 Gone: no"},
		{name: "413", answer: status(413), cause: notify.CauseRefused, permanent: true, text: "the receiver answered 413 Request Entity Too Large: no"},
		{name: "422", answer: status(422), cause: notify.CauseRefused, permanent: true, text: "the receiver answered 422 Unprocessable Entity: no"},
		{name: "429", answer: status(429), cause: notify.CauseThrottled, text: "the receiver answered 429 Too Many Requests: no"},
		{name: "429 with seconds", answer: status(429, "Retry-After", "42"), cause: notify.CauseThrottled, after: 42 * time.Second, text: "the receiver answered 429 Too Many Requests: no"},
		{name: "429 with a date far away", answer: status(429, "Retry-After", retryAt), cause: notify.CauseThrottled, after: 15 * time.Minute, text: "the receiver answered 429 Too Many Requests: no"},
		{name: "429 with too many seconds", answer: status(429, "Retry-After", "99999999999"), cause: notify.CauseThrottled, after: 15 * time.Minute, text: "the receiver answered 429 Too Many Requests: no"},
		{name: "429 with nonsense", answer: status(429, "Retry-After", "soon"), cause: notify.CauseThrottled, text: "the receiver answered 429 Too Many Requests: no"},
		{name: "500", answer: status(500), cause: notify.CauseServer, text: "the receiver answered 500 Internal Server Error: no"},
		{name: "503 with seconds", answer: status(503, "Retry-After", "7"), cause: notify.CauseServer, after: 7 * time.Second, text: "the receiver answered 503 Service Unavailable: no"},
		{name: "500 with a long body", answer: said(500, strings.Repeat("x", 1000)), cause: notify.CauseServer, text: "the receiver answered 500 Internal Server Error: " + strings.Repeat("x", 199) + "…"},
		{name: "500 with control characters", answer: said(500, "a\r\n\x00b\x1b[31m"), cause: notify.CauseServer, text: "the receiver answered 500 Internal Server Error: a b [31m"},
		{name: "reset", answer: reset, cause: notify.CauseNetwork},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(test.answer))
			defer server.Close()
			receipt, err := newSender(t, webhookTo(server.URL), 5*time.Second).Send(t.Context(), opening())
			if receipt != test.receipt {
				t.Errorf("receipt %q, want %q", receipt, test.receipt)
			}
			if test.cause == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			f := failure(t, err)
			if f.Cause != test.cause || f.Permanent != test.permanent || f.RetryAfter != test.after {
				t.Errorf("failed %+v, want cause %s, permanent %t, retry after %s", f, test.cause, test.permanent, test.after)
			}
			if test.text != "" && f.Error() != test.text {
				t.Errorf("text %q, want %q", f.Error(), test.text)
			}
		})
	}
}

func TestHangingReceiverTimesOut(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(w http.ResponseWriter)
	}{
		{"before the answer", func(http.ResponseWriter) {}},
		{"in the body of a refusal", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server doesn't notice that the client left
				test.before(w)
				<-r.Context().Done()
			}))
			defer server.Close()
			began := time.Now()
			_, err := newSender(t, webhookTo(server.URL), 100*time.Millisecond).Send(t.Context(), opening())
			if f := failure(t, err); f.Permanent {
				t.Errorf("a hang is for good: %v", f)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s with a time-out of 100ms", took)
			}
		})
	}
}

func TestHugeAnswerIsNotRead(t *testing.T) {
	const block = 64 << 10
	for _, code := range []int{http.StatusOK, http.StatusBadGateway} {
		var blocks atomic.Int32
		done := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			defer close(done)
			w.WriteHeader(code)
			for range 1 << 12 { // 256 MiB, unless the reader leaves
				if _, err := w.Write(bytes.Repeat([]byte("x"), block)); err != nil {
					return
				}
				blocks.Add(1)
			}
		}))
		_, err := newSender(t, webhookTo(server.URL), 5*time.Second).Send(t.Context(), opening())
		<-done
		server.Close()
		if n := blocks.Load(); n > 1<<10 { // what the buffers of the system hold is far less
			t.Errorf("%d: %d MiB were taken (%v)", code, n*block>>20, err)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var followed atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(status(code, "Location", elsewhere.URL))
		_, err := newSender(t, webhookTo(server.URL), 5*time.Second).Send(t.Context(), opening())
		server.Close()
		if f := failure(t, err); f.Cause != notify.CauseRedirect || f.Permanent {
			t.Errorf("%d: %+v", code, f)
		}
	}
	if followed.Load() {
		t.Error("the message went to another address")
	}
}

func TestFailuresHoldNoSecret(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadGateway)
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s %s", r.Host, r.URL, key, whsec, whsec[6:], body)
	}))
	defer echo.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + deaf.Addr().String()
	if err := deaf.Close(); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(echo.URL, "http://")
	for _, test := range []struct {
		name    string
		channel *jv1.Channel
		secrets []string
	}{
		{"slack by reference, echoed", slackTo(inFile(t, echo.URL+secretPath)), []string{host, "SECRET"}},
		{"slack, plain, echoed", slackTo(echo.URL + secretPath), []string{host, "SECRET"}},
		{"slack by reference, nobody there", slackTo(inFile(t, gone+secretPath)), []string{strings.TrimPrefix(gone, "http://"), "SECRET", "Post"}},
		{"slack by reference, unknown host", slackTo(inFile(t, "http://hidden-host.invalid"+secretPath)), []string{"hidden-host", "SECRET"}},
		{"slack by reference, no address", slackTo(inFile(t, "SECRET-word")), []string{"SECRET"}},
		{"slack by reference, bad address", slackTo(inFile(t, "http://[SECRET"+secretPath)), []string{"SECRET"}},
		{"slack by reference, control character", slackTo(inFile(t, "http://SECRET\x7f"+secretPath)), []string{"SECRET"}},
		{
			"webhook with a password and a token in its address",
			webhookTo(strings.Replace(echo.URL, "://", "://user:hunter22SECRET@", 1) + "/hook?token=SECRETtoken"),
			[]string{"SECRET"},
		},
		{
			"webhook with a signing secret, echoed",
			&jv1.Channel{Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: echo.URL, Secret: inFile(t, whsec)}}},
			[]string{whsec[6:]},
		},
		{
			"webhook with a broken signing secret",
			&jv1.Channel{Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: echo.URL, Secret: inFile(t, "whsec_SECRET!")}}},
			[]string{"SECRET"},
		},
		{"pagerduty, echoed", pagerDutyTo(echo.URL, inFile(t, key)), []string{key}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newSender(t, test.channel, 5*time.Second).Send(t.Context(), opening())
			text := failure(t, err).Error()
			t.Log(text)
			for _, secret := range test.secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%q shows %q", text, secret)
				}
			}
		})
	}
}

func TestUnresolvedReferencesMayBeRepeated(t *testing.T) {
	missing := "file:" + filepath.Join(t.TempDir(), "not-there")
	for name, ch := range map[string]*jv1.Channel{
		"webhook address": webhookTo("env:JURYMAST_TEST_NOT_SET"),
		"webhook secret":  {Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "http://127.0.0.1:1", Secret: missing}}},
		"slack address":   slackTo(missing),
		"pagerduty key":   pagerDutyTo("http://127.0.0.1:1", missing),
	} {
		_, err := newSender(t, ch, time.Second).Send(t.Context(), opening())
		if f := failure(t, err); f.Cause != notify.CauseCredential || f.Permanent {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestSecretsAreReadAtEverySend(t *testing.T) {
	var first, second atomic.Int32
	a := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { first.Add(1) }))
	defer a.Close()
	b := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { second.Add(1) }))
	defer b.Close()
	ref := inFile(t, a.URL)
	sender := newSender(t, slackTo(ref), 5*time.Second)
	if _, err := sender.Send(t.Context(), opening()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimPrefix(ref, "file:"), []byte(b.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), opening()); err != nil {
		t.Fatal(err)
	}
	if first.Load() != 1 || second.Load() != 1 {
		t.Errorf("the addresses got %d and %d, want one each", first.Load(), second.Load())
	}
}

func TestCancelledSendEnds(t *testing.T) {
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := newSender(t, webhookTo(server.URL), time.Minute).Send(ctx, opening())
	if f := failure(t, err); f.Permanent {
		t.Errorf("%+v", f)
	}
}

func failure(t *testing.T, err error) *notify.Failure {
	t.Helper()
	var f *notify.Failure
	if !errors.As(err, &f) {
		t.Fatalf("%v (%T) is no failure", err, err)
	}
	return f
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		if code != http.StatusNoContent {
			_, _ = io.WriteString(w, "no")
		}
	}
}

func said(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func redirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "http://"+r.Host+"/again")
	w.WriteHeader(http.StatusFound)
}

func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "half")
}

// reset ends the connection with a TCP reset instead of an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
