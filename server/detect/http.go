package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/server/credential"
)

// Limits and defaults of the http probe.
const (
	defaultInterval = 15 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultJitter   = 0.1
	// maxProbeBody is the most of an answer that is read.
	maxProbeBody = 1 << 20
	maxRedirects = 5
	userAgent    = "jurymast-probe"
)

// NewTransport returns the transport that probes use when none is given: no connection serves two probes, so that a
// provider that hangs is seen to hang and one that came back is seen at once.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// httpProbe calls one endpoint of one provider.
type httpProbe struct {
	spec      *jv1.HttpProbe
	provider  *jv1.Provider
	url       *url.URL
	timeout   time.Duration
	condition *expr.ResponseCondition // nil: none
	client    *http.Client
	network   *network
	now       func() time.Time
}

// newHTTPProbe makes the probe of a provider. It fails when the condition doesn't compile or the address is wrong.
func newHTTPProbe(spec *jv1.HttpProbe, provider *jv1.Provider, tools probeTools) (*httpProbe, error) {
	p := &httpProbe{
		spec: spec, provider: provider, timeout: httpTimeout(spec), network: tools.network, now: tools.now,
		client: &http.Client{Transport: tools.transport, CheckRedirect: sameHost},
	}
	if spec.GetExpect() != "" {
		condition, err := expr.CompileResponse(spec.GetExpect())
		if err != nil {
			return nil, fmt.Errorf("condition: %w", err)
		}
		p.condition = condition
	}
	u, err := url.Parse(provider.GetBaseUrl())
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("base URL of provider %s: %w", provider.GetName(), errors.Join(err, ErrInvalid))
	}
	if spec.GetPath() != "" {
		path, query, _ := strings.Cut(spec.GetPath(), "?")
		if u.Path == "" {
			u.Path = "/" // else the joined path would be relative
		}
		u = u.JoinPath(path)
		u.RawQuery = joinQuery(u.RawQuery, query)
	}
	extra := url.Values{}
	for name, value := range provider.GetQuery() {
		extra.Set(name, value)
	}
	u.RawQuery = joinQuery(u.RawQuery, extra.Encode())
	p.url = u
	return p, nil
}

func joinQuery(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
}

// httpTimeout is the limit of one probe: what is asked for, else 5 s or the interval, whichever is less.
func httpTimeout(spec *jv1.HttpProbe) time.Duration {
	return orDefault(spec.GetTimeout(), min(defaultTimeout, httpInterval(spec)))
}

func httpInterval(spec *jv1.HttpProbe) time.Duration {
	return orDefault(spec.GetInterval(), defaultInterval)
}

// sameHost follows a redirect only where the credential may go: to the same host, without leaving TLS.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Host != first.Host || first.Scheme == "https" && req.URL.Scheme != "https" || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// host is what the probe needs to reach.
func (p *httpProbe) host() string { return p.url.Hostname() }

// look implements probe.
func (p *httpProbe) look(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var came progress
	req, err := p.request(httptrace.WithClientTrace(ctx, came.trace()))
	if err != nil {
		return p.found(stateFailing, causeConfiguration, "credential_unresolved", err.Error())
	}
	began := p.now()
	resp, err := p.client.Do(req)
	if err != nil {
		return p.unanswered(ctx, &came, err)
	}
	defer func() { _ = resp.Body.Close() }()
	p.network.note(p.host(), true)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody+1))
	took := p.now().Sub(began)
	if err != nil {
		reason := "body_broken"
		if ctx.Err() != nil {
			reason = "body_timeout"
		}
		return p.found(stateFailing, causeOutage, reason, fmt.Sprintf("status %d, but the answer did not end within %v", resp.StatusCode, p.timeout))
	}
	return p.answered(resp, body, took)
}

func (p *httpProbe) request(ctx context.Context) (*http.Request, error) {
	method := p.spec.GetMethod()
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if p.spec.GetBody() != "" {
		body = strings.NewReader(p.spec.GetBody())
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range p.provider.GetHeaders() {
		req.Header.Set(name, value)
	}
	if !p.spec.GetAuthenticate() || p.provider.GetCredential() == "" {
		return req, nil
	}
	secret, err := credential.Resolve(p.provider.GetCredential())
	if err != nil {
		return nil, err
	}
	if header := p.provider.GetAuthHeader(); header != "" {
		req.Header.Set(header, secret)
	} else {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	return req, nil
}

// answered judges an answer that came as a whole.
func (p *httpProbe) answered(resp *http.Response, body []byte, took time.Duration) finding {
	what := fmt.Sprintf("status %d after %v", resp.StatusCode, took.Round(time.Millisecond))
	if !p.expected(resp.StatusCode) {
		anonymous := !p.spec.GetAuthenticate() && len(p.spec.GetExpectStatus()) == 0 && p.condition == nil
		r := classifyStatus(resp.StatusCode, anonymous, body)
		return p.found(r.state, r.cause, r.reason, what)
	}
	if p.condition == nil {
		return p.found(stateOK, causeNone, "ok", what)
	}
	if len(body) > maxProbeBody && p.condition.Reads("json") {
		return p.found(stateFailing, causeConfiguration, "body_too_large", what+fmt.Sprintf(", its body is longer than %d bytes", maxProbeBody))
	}
	holds, err := p.condition.Eval(p.facts(resp, body, took))
	switch {
	case err != nil:
		return p.found(stateFailing, causeOutage, "condition_unanswered", what+", the condition can't be answered: "+err.Error())
	case !holds:
		return p.found(stateFailing, causeOutage, "condition_failed", what+", the condition does not hold")
	}
	return p.found(stateOK, causeNone, "ok", what)
}

func (p *httpProbe) expected(status int) bool {
	if expect := p.spec.GetExpectStatus(); len(expect) > 0 {
		return slices.Contains(expect, int32(status))
	}
	return status >= 200 && status <= 299
}

// facts are what the condition may ask about. A body that is no JSON is null.
func (p *httpProbe) facts(resp *http.Response, body []byte, took time.Duration) expr.Response {
	r := expr.Response{Status: resp.StatusCode, Latency: took, Headers: make(map[string]string, len(resp.Header))}
	for name, values := range resp.Header {
		r.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if p.condition.Reads("json") && json.Unmarshal(body, &r.JSON) != nil {
		r.JSON = nil
	}
	return r
}

// unanswered judges a call that ended without an answer.
func (p *httpProbe) unanswered(ctx context.Context, came *progress, err error) finding {
	rule := classifyError(err)
	text := rule.reason
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return p.found(stateUnknown, causeNone, "stopped", "the probe was stopped")
		}
		rule = came.timeout()
		text = fmt.Sprintf("%s within %v", strings.ReplaceAll(rule.reason, "_", " "), p.timeout)
	} else if inner := innermost(err); inner != "" {
		text = inner
	}
	switch rule.origin {
	case remote:
		p.network.note(p.host(), true)
		return p.found(stateFailing, causeOutage, rule.reason, text)
	case local:
		return p.found(stateUnknown, causeNone, rule.reason, text)
	}
	p.network.note(p.host(), false)
	beyond := p.network.beyond(context.WithoutCancel(ctx), p.host())
	if beyond == up || beyond == unsure && rule.origin == likelyRemote {
		return p.found(stateFailing, causeOutage, rule.reason, text)
	}
	return p.found(stateUnknown, causeNone, rule.reason, text+"; our own network may be down")
}

// innermost is the text of the error without the URL, which net/http puts first and which may hold a secret.
func innermost(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return cut(err.Error(), maxEvidenceSummary)
}

func (p *httpProbe) found(state jv1.SignalState, cause jv1.SignalCause, reason, text string) finding {
	method := p.spec.GetMethod()
	if method == "" {
		method = http.MethodGet
	}
	return finding{
		at: p.now(), state: state, cause: cause, reason: reason,
		summary: valid(cut(fmt.Sprintf("%s %s%s: %s", method, p.url.Host, p.url.Path, text), maxEvidenceSummary)),
	}
}

// progress is how far a call came. The transport may still write it while it is read.
type progress struct{ resolving, connected, answered atomic.Bool }

func (g *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { g.resolving.Store(true) },
		DNSDone:              func(httptrace.DNSDoneInfo) { g.resolving.Store(false) },
		ConnectDone:          func(_, _ string, err error) { g.connected.CompareAndSwap(false, err == nil) },
		GotConn:              func(httptrace.GotConnInfo) { g.connected.Store(true) },
		GotFirstResponseByte: func() { g.answered.Store(true) },
	}
}

// timeout says what it means that the time was over.
func (g *progress) timeout() errorRule {
	switch {
	case g.answered.Load():
		return errorRule{origin: remote, reason: "answer_timeout"}
	case g.connected.Load():
		return errorRule{origin: remote, reason: "no_first_byte"}
	case g.resolving.Load():
		return errorRule{origin: likelyLocal, reason: "dns_timeout"}
	default:
		return errorRule{origin: likelyRemote, reason: "no_connection"}
	}
}
