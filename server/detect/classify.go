package detect

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Short names of what a finding can be.
const (
	stateOK      = jv1.SignalState_SIGNAL_STATE_OK
	stateFailing = jv1.SignalState_SIGNAL_STATE_FAILING
	stateUnknown = jv1.SignalState_SIGNAL_STATE_UNKNOWN

	causeNone          = jv1.SignalCause_SIGNAL_CAUSE_UNSPECIFIED
	causeOutage        = jv1.SignalCause_SIGNAL_CAUSE_OUTAGE
	causeThrottle      = jv1.SignalCause_SIGNAL_CAUSE_THROTTLE
	causeConfiguration = jv1.SignalCause_SIGNAL_CAUSE_CONFIGURATION
)

// statusRule says what an HTTP status means that was not expected.
type statusRule struct {
	from, to int
	// anonymous: only for a probe that shows no credential and names no expectation.
	anonymous bool
	// body is text that the answer must contain. Empty: any.
	body   string
	state  jv1.SignalState
	cause  jv1.SignalCause
	reason string
}

// statusRules are tried in order; the first that fits holds. An API that asks an anonymous caller for its key proves
// that it is alive; the same answer to a caller with a key says that the key, the credit or the request is wrong, which
// is ours to mend and no outage. 529 and 530 are how some providers and CDNs say that the origin is overloaded or gone.
var statusRules = []statusRule{
	{from: 401, to: 403, anonymous: true, state: stateOK, reason: "alive"},
	{from: 405, to: 405, anonymous: true, state: stateOK, reason: "alive"},
	{from: 429, to: 429, body: "insufficient_quota", state: stateFailing, cause: causeConfiguration, reason: "credit_exhausted"},
	{from: 429, to: 429, state: stateFailing, cause: causeThrottle, reason: "throttled"},
	{from: 402, to: 402, state: stateFailing, cause: causeConfiguration, reason: "credit_exhausted"},
	{from: 401, to: 403, state: stateFailing, cause: causeConfiguration, reason: "credential_refused"},
	{from: 408, to: 408, state: stateFailing, cause: causeOutage, reason: "request_timeout"},
	{from: 400, to: 499, state: stateFailing, cause: causeConfiguration, reason: "request_refused"},
	{from: 300, to: 399, state: stateFailing, cause: causeConfiguration, reason: "redirected"},
	{from: 500, to: 599, state: stateFailing, cause: causeOutage, reason: "server_error"},
	{from: 0, to: 999, state: stateFailing, cause: causeOutage, reason: "unexpected_status"},
}

// classifyStatus returns the rule of a status that was not expected.
func classifyStatus(status int, anonymous bool, body []byte) statusRule {
	for _, r := range statusRules {
		if status >= r.from && status <= r.to && (!r.anonymous || anonymous) &&
			(r.body == "" || bytes.Contains(body, []byte(r.body))) {
			return r
		}
	}
	return statusRules[len(statusRules)-1]
}

// origin says where an error comes from.
type origin uint8

const (
	// remote: the other side, or its network; an outage.
	remote origin = iota
	// likelyRemote: looks like the other side, but our own network would look the same.
	likelyRemote
	// likelyLocal: looks like our own network, but the other side's name service or network could look the same.
	likelyLocal
	// local: this machine.
	local
)

// errorRule says what an error of a call without an answer means.
type errorRule struct {
	fits   func(error) bool
	origin origin
	reason string
}

// errorRules are tried in order; the first that fits holds. Time-outs are not among them: what they mean depends on
// how far the call came.
var errorRules = []errorRule{
	{isAny(syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM), local, "local_resources"},
	{isProxy, local, "proxy_failure"},
	{isType[*net.DNSError], likelyLocal, "dns_failure"},
	{isAny(syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN), likelyLocal, "network_unreachable"},
	{isAny(syscall.ECONNREFUSED), remote, "connection_refused"},
	{isAny(syscall.ETIMEDOUT), likelyRemote, "connect_timeout"},
	{isAny(syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF), remote, "connection_broken"},
	{isTLS, remote, "tls_failure"},
	{func(error) bool { return true }, remote, "call_failed"},
}

// classifyError returns the rule of an error that is no time-out.
func classifyError(err error) errorRule {
	for _, r := range errorRules {
		if r.fits(err) {
			return r
		}
	}
	return errorRules[len(errorRules)-1]
}

func isAny(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

func isType[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// isProxy tells whether the proxy of our own network failed, not what is behind it.
func isProxy(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

func isTLS(err error) bool {
	return isType[*tls.CertificateVerificationError](err) || isType[tls.RecordHeaderError](err) || isType[tls.AlertError](err) ||
		isType[x509.UnknownAuthorityError](err) || isType[x509.HostnameError](err) || isType[x509.CertificateInvalidError](err)
}
