package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jurymast/jurymast/server/credential"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// maxAnswer is how much of an answer is read. All receivers we know answer in a line.
	maxAnswer = 16 << 10
	// maxExcerpt is how many characters of an answer or an error are kept.
	maxExcerpt = 200
)

// NewTransport returns the transport of senders: proxies from the environment, bounded dialling, TLS handshakes and
// headers, and few idle connections, because notifications are rare.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// poster makes HTTP requests on behalf of the senders.
type poster struct {
	client  *http.Client
	timeout time.Duration
	now     func() time.Time
}

func newPoster(o SenderOptions) poster {
	return poster{
		client: &http.Client{
			Transport: o.Transport,
			// A redirect would carry the message, its signature and the address's secrets to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: o.Timeout,
		now:     o.Now,
	}
}

// post is one request.
type post struct {
	// address to post to, or a reference to it.
	address string
	// secretAddress says that not even the host may show in a text.
	secretAddress bool
	header        http.Header
	body          []byte
	// secrets that no text may hold, beside those in the address.
	secrets []string
	// final tells which refusals (4xx) are for good.
	final func(status int) bool
}

// answer is what a receiver that took the message said.
type answer struct {
	status int
	body   []byte
}

// receipt is what is kept of an answer when nothing better is known.
func (a answer) receipt() string {
	return strings.TrimSpace(strconv.Itoa(a.status) + " " + http.StatusText(a.status))
}

// send makes the request. Its error is a [Failure] without secrets.
func (p poster) send(ctx context.Context, r post) (answer, error) {
	target, err := resolveTarget(r.address)
	if err != nil {
		return answer{}, err
	}
	hide := newVeil(target, r)
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, &Failure{Cause: CauseCredential, Err: errors.New("the channel's address can't be used in a request")}
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "jurymast")
	res, err := p.client.Do(req)
	if err != nil {
		return answer{}, p.broken(ctx, err, hide)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		// The status is the answer; a body that breaks off afterwards takes nothing back.
		return answer{status: res.StatusCode, body: body}, nil
	}
	if err != nil {
		body = nil
	}
	f := judge(res, r.final, p.now())
	f.Err = errors.New("the receiver answered " + answer{status: res.StatusCode}.receipt() + hide.quoted(body))
	return answer{}, f
}

// broken is the failure of a request without an answer.
func (p poster) broken(ctx context.Context, err error, hide *veil) *Failure {
	// url.Error repeats the whole address; what it wraps does not.
	var located *url.Error
	if errors.As(err, &located) {
		err = located.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Failure{Cause: CauseTimeout, Err: fmt.Errorf("no answer within %s", p.timeout)}
	}
	return &Failure{Cause: CauseNetwork, Err: errors.New("no answer: " + hide.clean(err.Error()))}
}

// judge tells what a status other than 2xx means.
func judge(res *http.Response, final func(int) bool, now time.Time) *Failure {
	f := &Failure{RetryAfter: retryAfter(res.Header.Get("Retry-After"), now)}
	switch s := res.StatusCode; {
	case s == http.StatusTooManyRequests:
		f.Cause = CauseThrottled
	case s >= 500:
		f.Cause = CauseServer
	case s >= 400:
		f.Cause = CauseRefused
		f.Permanent = final(s)
	default:
		f.Cause = CauseRedirect
	}
	return f
}

// finalForMessage tells the refusals that concern the message itself. The others, a wrong key or an address that moved,
// concern the channel's configuration, which the operator may mend while the message waits.
func finalForMessage(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
}

// retryAfter reads the header in both of its forms (RFC 9110, 10.2.3); 0 when it is absent, past or not understood.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// resolveTarget returns the address that is meant. Its errors never hold the address.
func resolveTarget(address string) (*url.URL, error) {
	text, err := credential.ResolveAddress(address)
	if err != nil {
		return nil, &Failure{Cause: CauseCredential, Err: fmt.Errorf("the channel's address: %w", err)}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &Failure{Cause: CauseCredential, Err: errors.New("the channel's address is not an http or https URL")}
	}
	return u, nil
}

// resolveSecret resolves a reference; what names it in errors is the reference alone.
func resolveSecret(what, ref string) (string, error) {
	secret, err := credential.Resolve(ref)
	if err != nil {
		return "", &Failure{Cause: CauseCredential, Err: fmt.Errorf("the channel's %s: %w", what, err)}
	}
	return secret, nil
}

// veil removes what is secret from text that is kept: the parts of an address and the channel's keys, also where a
// receiver repeats them in its answer.
type veil struct{ known telemetry.Redactor }

// shortestPart is the length from which a part of a path is taken for a key.
const shortestPart = 8

func newVeil(u *url.URL, r post) *veil {
	v := &veil{}
	v.known.Add(r.secrets...)
	for _, secret := range r.secrets {
		for part := range strings.FieldsSeq(secret) {
			v.known.Add(part, strings.TrimPrefix(part, secretPrefix))
		}
	}
	password, _ := u.User.Password()
	v.known.Add(u.String(), u.RequestURI(), u.RawQuery, password)
	for _, values := range u.Query() {
		v.known.Add(values...)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= shortestPart {
			v.known.Add(part)
		}
	}
	if r.secretAddress {
		v.known.Add(u.Host, u.Hostname(), u.User.Username())
	}
	return v
}

// clean returns the text without secrets, on one line and not too long.
func (v *veil) clean(text string) string {
	return excerpt(v.known.Redact(text))
}

// excerpt puts text on one line and cuts it.
func excerpt(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	return cut(text, maxExcerpt)
}

// cut shortens text to at most limit characters.
func cut(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

// quoted is what is shown of an answer's body; nothing when it is no text.
func (v *veil) quoted(body []byte) string {
	if text := v.clean(strings.ToValidUTF8(string(body), "")); text != "" {
		return ": " + text
	}
	return ""
}
