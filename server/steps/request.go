package steps

import (
	"fmt"
	"net/http"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/message"
)

// request is one HTTP request with its templates filled in. Its secret is only a reference.
type request struct {
	method, url, body string
	headers           map[string]string
	credential        string
	key               string // idempotency key; empty: the request changes nothing
}

// fillCall fills the templates of a call in. The key is in the data.
func fillCall(spec *jv1.HttpRequestStep, data message.Data) (request, error) {
	r, err := fillHead(spec.GetUrl(), spec.GetHeaders(), data)
	if err != nil {
		return r, err
	}
	r.method, r.credential, r.key = spec.GetMethod(), spec.GetCredential(), data.IdempotencyKey
	if r.method == "" {
		r.method = http.MethodPost
	}
	if r.body, err = expand(spec.GetBody(), runbooks.MaxBody, data); err != nil {
		return r, fmt.Errorf("body: %w", err)
	}
	return r, nil
}

// fillCheck fills in the question whether a call was carried out.
func fillCheck(spec *jv1.HttpRequestStep, data message.Data) (request, error) {
	check := spec.GetCheck()
	r, err := fillHead(check.GetUrl(), check.GetHeaders(), data)
	if err != nil {
		return r, fmt.Errorf("check: %w", err)
	}
	r.method, r.credential = http.MethodGet, check.GetCredential()
	if r.credential == "" {
		r.credential = spec.GetCredential()
	}
	return r, nil
}

// fillHead fills address and headers in, and refuses what no request can be made of: nothing was sent then.
func fillHead(address string, headers map[string]string, data message.Data) (r request, err error) {
	r.headers = make(map[string]string, len(headers))
	if r.url, err = expand(address, runbooks.MaxURL, data); err != nil {
		return r, fmt.Errorf("url: %w", err)
	}
	r.url = strings.TrimSpace(r.url)
	if problem := runbooks.AddressProblem(r.url); problem != "" {
		return r, fmt.Errorf("url: %s", problem)
	}
	for name, value := range headers {
		if r.headers[name], err = expand(value, 2*runbooks.MaxHeader, data); err != nil {
			return r, fmt.Errorf("header %s: %w", name, err)
		}
		if problem := runbooks.HeaderValueProblem(r.headers[name]); problem != "" {
			return r, fmt.Errorf("header %s: %s", name, problem)
		}
	}
	return r, nil
}

// expand fills a text of the operator's in.
func expand(src string, limit int, data message.Data) (string, error) {
	if !strings.Contains(src, "{{") {
		return src, nil
	}
	t, err := message.ParseText(src, limit)
	if err != nil {
		return "", err
	}
	return t.Render(data)
}
