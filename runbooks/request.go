package runbooks

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/message"
)

// Bounds of what the templates of a request may give.
const (
	// MaxURL is the most bytes of a request's address.
	MaxURL = 2048
	// MaxHeader is the most bytes of a request header's value.
	MaxHeader = 4096
	// MaxBody is the most bytes of a request's body.
	MaxBody = 64 << 10
)

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")

func checkRequest(s *stepCheck) {
	request := s.step.GetHttpRequest()
	s.text(s.field("url"), request.GetUrl(), MaxURL)
	if problem := addressProblem(request.GetUrl()); problem != "" {
		s.problem(s.field("url"), "%s", problem)
	}
	for _, name := range names(request.GetHeaders()) {
		field := quoted(s.field("headers"), name)
		if problem := headerProblem(name); problem != "" {
			s.problem(field, "%s", problem)
		}
		s.text(field, request.GetHeaders()[name], MaxHeader)
	}
	s.text(s.field("body"), request.GetBody(), MaxBody)
	if request.GetMethod() == "GET" && request.GetBody() != "" {
		s.problem(s.field("body"), "a GET has no body")
	}
	if request.GetExpect() != "" {
		if _, err := expr.CompileResponse(request.GetExpect()); err != nil {
			s.refuse(s.field("expect"), err, nil)
		}
	}
}

// text checks a template of a request.
func (s *stepCheck) text(field, src string, limit int) {
	t, err := message.ParseText(src, limit)
	if err == nil {
		err = t.Check()
	}
	if err != nil {
		s.problem(field, "%v", err)
		return
	}
	s.parameters(field, t.Params())
}

// addressProblem says what is wrong with the address of a call. What comes out of a template is judged when it is made.
func addressProblem(address string) string {
	if address == "" || strings.HasPrefix(address, "{{") {
		return ""
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return "must begin with http:// or https://"
	}
	if strings.Contains(address, "{{") {
		return ""
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "must be an address that begins with http:// or https://"
	case u.Hostname() == "":
		return "the address has no host"
	case u.User != nil:
		return "the address holds a user name or a password: use credential"
	}
	return ""
}

// headerProblem says what is wrong with the name of a header that is given in plain text.
func headerProblem(name string) string {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization":
		return "a secret must not stand here: use credential"
	case "host", "content-length", "transfer-encoding", "connection", "idempotency-key":
		return "this header is set by the client itself"
	}
	if !headerName.MatchString(name) {
		return "must be the name of a header"
	}
	return ""
}
