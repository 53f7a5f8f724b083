package steps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
)

// faultName names why a call has no answer that can be used. It stands in the attempt's error and in the event's details.
type faultName string

const (
	faultCredential   faultName = "credential"    // the reference of the secret leads nowhere
	faultNotSent      faultName = "not_sent"      // its time was up, or it was stopped, before anything was sent
	faultConnection   faultName = "no_connection" // no name, refused, unreachable
	faultTLS          faultName = "tls"           // the receiver is not who it must be, or speaks no TLS
	faultTimeout      faultName = "timeout"       // no answer, or no end of it, in time
	faultStopped      faultName = "stopped"       // a cancel, or the end of our session
	faultBroken       faultName = "broken"        // the connection broke without an answer
	faultHeaders      faultName = "headers"       // more headers than are read
	faultMalformed    faultName = "malformed"     // no HTTP
	faultTruncated    faultName = "truncated"     // the answer broke off
	faultStatus       faultName = "status"        // a status that is not good
	faultRedirect     faultName = "redirect"      // it points elsewhere, and is not followed
	faultExpectation  faultName = "expectation"   // the condition on the answer does not hold
	faultOutput       faultName = "output"        // carried out, but an output can't be taken out of the answer
	faultNoRequest    faultName = "no_request"    // no request can be made of what the templates gave
	faultUnknownState faultName = "unknown"       // anything else
)

// fault is why a call has no answer that can be used.
type fault struct {
	name faultName
	text string
	sent bool // something may have reached the receiver
}

// Error gives name and text.
func (f *fault) Error() string { return string(f.name) + ": " + f.text }

// faultOf classifies what the HTTP client said. The parent's end, a cancel, is told from the attempt's own.
func faultOf(parent, attempt context.Context, err error) faultName {
	var op *net.OpError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var protocol textproto.ProtocolError
	var timeout net.Error
	text := err.Error()
	switch {
	case parent.Err() != nil:
		return faultStopped
	case attempt.Err() != nil:
		return faultTimeout
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &certificate), errors.As(err, &authority),
		strings.Contains(text, "tls: "), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return faultTLS
	case errors.As(err, &dns), errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return faultConnection
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "too many 1xx"):
		return faultHeaders
	case errors.As(err, &protocol), strings.Contains(text, "malformed"), strings.Contains(text, "bad Content-Length"),
		strings.Contains(text, "unsupported transfer encoding"), strings.Contains(text, "invalid "):
		return faultMalformed
	case errors.As(err, &timeout) && timeout.Timeout():
		return faultTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op):
		return faultBroken
	}
	return faultUnknownState
}
