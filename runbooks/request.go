package runbooks

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/message"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
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
	s.request(s.field(""), request, s.earlier())
	checkable := request.GetRepeat() == jv1.Repeatability_REPEATABILITY_CHECKABLE
	switch {
	case checkable && request.GetCheck() == nil:
		s.problem(s.field("repeat"), "checkable needs a check that tells whether the call was carried out")
	case !checkable && request.GetCheck() != nil:
		s.problem(s.field("check"), "a check is asked only with repeat: checkable")
	case checkable:
		s.checkable(s.field("check."), request.GetCheck())
	}
}

// request checks a request at a place; prefix ends with a dot. Its templates may name outputs of the given steps.
func (s *stepCheck) request(prefix string, request *jv1.HttpRequestStep, steps []*jv1.Step) {
	s.head(prefix, request.GetUrl(), request.GetHeaders(), steps)
	s.text(prefix+"body", request.GetBody(), MaxBody, steps)
	if request.GetMethod() == "GET" && request.GetBody() != "" {
		s.problem(prefix+"body", "a GET has no body")
	}
	if request.GetExpect() != "" {
		if _, err := expr.CompileResponse(request.GetExpect()); err != nil {
			s.refuse(prefix+"expect", err)
		}
	}
	for _, name := range names(request.GetOutputs()) {
		field := quoted(prefix+"outputs", name)
		if name == ResultOutput {
			s.problem(field, "every http_request gives %s: choose another name", ResultOutput)
		}
		if _, err := expr.CompileValue(request.GetOutputs()[name]); err != nil {
			s.refuse(field, err)
		}
	}
}

// checkable checks the question whether a call was carried out.
func (s *stepCheck) checkable(prefix string, check *jv1.HttpCheck) {
	s.head(prefix, check.GetUrl(), check.GetHeaders(), s.earlier())
	if _, err := expr.CompileResponse(check.GetCarriedOut()); err != nil {
		s.refuse(prefix+"carried_out", err)
	}
}

// head checks address and headers.
func (s *stepCheck) head(prefix, address string, headers map[string]string, steps []*jv1.Step) {
	s.text(prefix+"url", address, MaxURL, steps)
	if problem := templateAddressProblem(address); problem != "" {
		s.problem(prefix+"url", "%s", problem)
	}
	for _, name := range names(headers) {
		field := quoted(prefix+"headers", name)
		if problem := headerProblem(name); problem != "" {
			s.problem(field, "%s", problem)
		}
		s.text(field, headers[name], MaxHeader, steps)
	}
}

// text checks a template of a request.
func (s *stepCheck) text(field, src string, limit int, steps []*jv1.Step) {
	t, err := message.ParseText(src, limit)
	if err == nil {
		err = t.Check()
	}
	if err != nil {
		s.problem(field, "%v", err)
		return
	}
	s.references(field, t, steps)
}

// templateAddressProblem says what is wrong with the address of a call as far as its template tells.
func templateAddressProblem(address string) string {
	switch {
	case address == "" || strings.HasPrefix(address, "{{"):
		return ""
	case !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://"):
		return "must begin with http:// or https://"
	case strings.Contains(address, "{{"):
		return ""
	}
	return AddressProblem(address)
}

// AddressProblem says what is wrong with the address of a call once its template is filled in. Empty: nothing.
func AddressProblem(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https":
		return "must be an address that begins with http:// or https://"
	case u.Hostname() == "":
		return "the address has no host"
	case u.User != nil:
		return "the address holds a user name or a password: use credential"
	}
	return ""
}

// HeaderValueProblem says what is wrong with the value of a request header once its template is filled in (RFC 9110,
// section 5.5). Empty: nothing.
func HeaderValueProblem(value string) string {
	if len(value) > MaxHeader {
		return fmt.Sprintf("is longer than %d bytes", MaxHeader)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "holds a line break or another control character"
		}
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
