package auth

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// ErrUnsafeListener says that an address can be reached by others and would be open to them.
var ErrUnsafeListener = errors.New("refusing to listen where others can reach it")

// Guarding says what guards a listener.
type Guarding struct {
	// TLS: calls are encrypted and the server proves itself.
	TLS bool
	// Authentication: callers prove who they are.
	Authentication bool
	// Insecure: the operator insists.
	Insecure bool
}

// CheckListen refuses an address that is not loopback unless it is guarded by TLS and authentication, or the operator
// insists. A host name counts as loopback only if it is `localhost` or a name below it, which never leave the machine
// (RFC 6761, section 6.3). The error wraps ErrUnsafeListener, or says what is wrong with the address.
func CheckListen(addr string, g Guarding) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: want host:port: %w", addr, err)
	}
	if g.Insecure || (g.TLS && g.Authentication) || IsLoopback(host) {
		return nil
	}
	var missing []string
	if !g.TLS {
		missing = append(missing, "TLS (--tls-cert, --tls-key)")
	}
	if !g.Authentication {
		missing = append(missing, "authentication (--auth-file)")
	}
	where := addr
	if host == "" {
		where += " (all interfaces)"
	}
	return fmt.Errorf("%w: %s has no %s; listen on 127.0.0.1, add it, or insist with --insecure",
		ErrUnsafeListener, where, strings.Join(missing, " and no "))
}

// IsLoopback tells whether a host, without a port, is this machine only.
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if i := strings.IndexByte(host, '%'); i >= 0 {
		host = host[:i] // an IPv6 zone
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
