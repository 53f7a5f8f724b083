package steps

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/server/credential"
	"github.com/jurymast/jurymast/server/notify"
)

const (
	maxAnswer = 64 << 10 // bytes of a body that are read
	maxKept   = 2 << 10  // bytes of an answer that are kept
)

// NewClient returns the client of calls: bounded dialling, handshakes and headers, proxies from the environment. A
// redirect is an answer, not a new address to call: it would carry credential and idempotency key to somebody else.
func NewClient() *http.Client {
	return callClient(&http.Client{Transport: notify.NewTransport()})
}

// callClient is the client as calls use it, whatever it follows elsewhere.
func callClient(c *http.Client) *http.Client {
	if c == nil {
		c = http.DefaultClient
	}
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &own
}

// answer is what a receiver said.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	flooded bool   // there was more than is read
	broken  *fault // the body broke off
	latency time.Duration
	secret  string // what must not be kept of it
}

// exchange makes one request within the time of ctx. What it reads is bounded, and the connection is closed whatever is
// left on it.
func exchange(parent context.Context, client *http.Client, r request, limit time.Duration) (*answer, *fault) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	secret, err := credential.Resolve(r.credential)
	if err != nil {
		return nil, &fault{name: faultCredential, text: err.Error()}
	}
	var asked, connected atomic.Bool
	hr, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return nil, &fault{name: faultNoRequest, text: err.Error()}
	}
	// On a connection that was used before, the client would send a request again whose connection breaks, as soon as it
	// carries an Idempotency-Key: what may be made only once would be made twice.
	hr.Close = true
	for name, value := range r.headers {
		hr.Header.Set(name, value)
	}
	if r.key != "" {
		hr.Header.Set("Idempotency-Key", r.key)
	}
	if secret != "" {
		hr.Header.Set("Authorization", "Bearer "+secret)
	}
	if ctx.Err() != nil {
		// An outcome is unknown only when something was sent.
		return nil, &fault{name: faultNotSent, text: context.Cause(ctx).Error()}
	}
	begun := time.Now()
	resp, err := client.Do(hr)
	if err != nil {
		name := faultOf(parent, ctx, err)
		// Who asked for a connection and got none has sent nothing. A client that tells neither may have.
		never := asked.Load() && !connected.Load() || !asked.Load() && name == faultConnection
		return nil, &fault{name: name, text: faultText(name, hide(err.Error(), secret), limit), sent: !never}
	}
	return receive(parent, ctx, resp, begun, limit, secret), nil
}

// receive reads the answer within its bounds.
func receive(parent, ctx context.Context, resp *http.Response, begun time.Time, limit time.Duration, secret string) *answer {
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header, secret: secret}
	if a.status == http.StatusSwitchingProtocols {
		a.latency = time.Since(begun)
		return a // what follows is no body, and has no end
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a.latency = time.Since(begun)
	if len(body) > maxAnswer {
		a.body, a.flooded = body[:maxAnswer], true
		return a
	}
	a.body = body
	if err != nil {
		name := faultOf(parent, ctx, err)
		if name == faultBroken || name == faultUnknownState {
			name = faultTruncated
		}
		a.broken = &fault{name: name, sent: true, text: fmt.Sprintf("the answer %d broke off after %d bytes: %s",
			a.status, len(body), faultText(name, hide(err.Error(), secret), limit))}
	}
	return a
}

// faultText says what an operator can do something with.
func faultText(name faultName, text string, limit time.Duration) string {
	switch name {
	case faultTimeout:
		return fmt.Sprintf("no answer within %v", limit.Round(time.Millisecond))
	case faultStopped:
		return "it was stopped before its answer came"
	case faultHeaders:
		return "the answer has more headers than are read: " + text
	}
	return text
}

// words gives status and the beginning of the body.
func (a *answer) words() string {
	text := fmt.Sprintf("%d %s", a.status, shorten(hide(string(a.body), a.secret), maxKept))
	if a.flooded {
		text += fmt.Sprintf(" (more than %d bytes)", maxAnswer)
	}
	return strings.TrimSpace(text)
}

// facts are what expressions may ask about. What was cut off is no JSON.
func (a *answer) facts() expr.Response {
	r := expr.Response{Status: a.status, Latency: a.latency, Headers: make(map[string]string, len(a.header))}
	for name, values := range a.header {
		r.Headers[strings.ToLower(name)] = hide(strings.Join(values, ", "), a.secret)
	}
	if !a.flooded && a.broken == nil {
		r.JSON = expr.ParseJSON([]byte(hide(string(a.body), a.secret)))
	}
	return r
}

// shortestSecret is the length from which a secret is looked for in what is kept: shorter ones stand in every text.
const shortestSecret = 4

// hide takes a secret out of a text that a receiver may have repeated it in.
func hide(text, secret string) string {
	if len(secret) < shortestSecret {
		return text
	}
	return strings.ReplaceAll(text, secret, "[secret]")
}

func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return shorten(line, 200)
}
