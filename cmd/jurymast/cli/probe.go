package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/credential"
)

// verdict is what a call to a provider showed, as a word.
type verdict string

const (
	verdictOK          verdict = "OK"          // it answered with its list of models
	verdictReachable   verdict = "REACHABLE"   // it answers, but lists no models, so the key is not proven
	verdictNoKey       verdict = "NO_KEY"      // the credential can't be resolved on this machine
	verdictRefused     verdict = "KEY_REFUSED" // 401 or 403
	verdictThrottled   verdict = "THROTTLED"   // 429
	verdictFailing     verdict = "FAILING"     // 5xx, or no HTTP
	verdictUnreachable verdict = "UNREACHABLE" // no connection, or no answer in time
	verdictNoModel     verdict = "NO_MODEL"    // it lists models, but not one that a service needs
)

func (v verdict) good() bool { return v == verdictOK || v == verdictReachable }

// probed is the result of a call to a provider.
type probed struct {
	Provider string        `json:"provider"`
	Verdict  verdict       `json:"result"`
	Status   int           `json:"status,omitempty"`
	Models   int           `json:"models,omitempty"`
	Took     time.Duration `json:"-"`
	TookMS   int64         `json:"took_ms"`
	Detail   string        `json:"detail,omitempty"`
	Services []string      `json:"services,omitempty"`

	listed []string
}

// modelsAtMost bounds the list of models that is read.
const modelsAtMost = 4 << 20

// probe makes a real call to a provider: its list of models, which costs nothing and wants the key.
func probe(ctx context.Context, p *jv1.Provider, limit time.Duration) probed {
	out := probed{Provider: p.GetName()}
	secret, err := credential.Resolve(p.GetCredential())
	if err != nil {
		out.Verdict, out.Detail = verdictNoKey, err.Error()
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := modelsRequest(ctx, p, secret)
	if err != nil {
		out.Verdict, out.Detail = verdictUnreachable, err.Error()
		return out
	}
	// A redirect could carry the key to somebody else.
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	began := time.Now()
	res, err := c.Do(req)
	if err != nil {
		out.Verdict, out.Detail = verdictUnreachable, causeOf(err, limit)
		out.took(began)
		return out
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, modelsAtMost))
	out.took(began)
	out.Status = res.StatusCode
	if err != nil {
		out.Verdict, out.Detail = verdictFailing, "the answer broke off: "+causeOf(err, limit)
		return out
	}
	out.judge(body, secret)
	return out
}

func (p *probed) took(began time.Time) {
	p.Took = time.Since(began)
	p.TookMS = p.Took.Milliseconds()
}

func modelsRequest(ctx context.Context, p *jv1.Provider, secret string) (*http.Request, error) {
	u, err := url.Parse(strings.TrimSuffix(p.GetBaseUrl(), "/") + "/models")
	if err != nil {
		return nil, fmt.Errorf("the base URL: %w", err)
	}
	q := u.Query()
	for k, v := range p.GetQuery() {
		q.Set(k, v)
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("the base URL: %w", err)
	}
	for k, v := range p.GetHeaders() {
		req.Header.Set(k, v)
	}
	switch {
	case secret == "":
	case p.GetAuthHeader() != "":
		req.Header.Set(p.GetAuthHeader(), secret)
	default:
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	return req, nil
}

// judge tells what an answer means.
func (p *probed) judge(body []byte, secret string) {
	switch {
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		p.Verdict = verdictRefused
		if secret == "" {
			p.Detail = "the provider wants a credential and has none"
		}
	case p.Status == http.StatusTooManyRequests:
		p.Verdict = verdictThrottled
	case p.Status >= 500:
		p.Verdict = verdictFailing
	case p.Status >= 300:
		p.Verdict, p.Detail = verdictReachable, "it lists no models at /models"
	default:
		p.models(body)
	}
	if p.Detail == "" && !p.Verdict.good() {
		p.Detail = http.StatusText(p.Status)
	}
}

func (p *probed) models(body []byte) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil || list.Data == nil {
		p.Verdict, p.Detail = verdictReachable, "the answer is no list of models"
		return
	}
	p.Verdict, p.Models = verdictOK, len(list.Data)
	for _, m := range list.Data {
		p.listed = append(p.listed, m.ID)
	}
}

// wants looks for the models that a service maps its own names to.
func (p *probed) wants(s *jv1.Service) {
	p.Services = append(p.Services, s.GetName())
	if p.Models == 0 {
		return
	}
	var missing []string
	for _, sp := range s.GetProviders() {
		if sp.GetName() != p.Provider {
			continue
		}
		for _, name := range sortedKeys(sp.GetModels()) {
			if model := sp.GetModels()[name]; !slices.Contains(p.listed, model) {
				missing = append(missing, model)
			}
		}
	}
	if len(missing) > 0 {
		p.Verdict = verdictNoModel
		p.Detail = strings.TrimPrefix(p.Detail+fmt.Sprintf("; %s wants %s, which it doesn't list", s.GetName(), strings.Join(missing, ", ")), "; ")
	}
}

// causeOf is the innermost reason of a failed call, without the address, which the table shows already.
func causeOf(err error, limit time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + limit.String()
	}
	var op *net.OpError
	var u *url.Error
	switch {
	case errors.As(err, &op):
		err = op.Err
	case errors.As(err, &u):
		err = u.Err
	}
	return err.Error()
}
