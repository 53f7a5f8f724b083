package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Names of principals that no file may give.
const (
	// Local is who calls over loopback when no authentication is configured.
	Local = "local"
	// Anonymous is who calls from elsewhere when the operator insisted on no authentication.
	Anonymous = "anonymous"
	// machine is what Jurymast calls itself in the audit.
	machine = "jurymast"
)

// ErrUnauthenticated says that a caller is nobody we know. The wrapping error says why, without the secret.
var ErrUnauthenticated = errors.New("not authenticated")

// Options says how callers are recognised.
type Options struct {
	// File holds the principals; see the package's documentation. Empty: no authentication, every caller is an admin,
	// which is for loopback only.
	File string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log receives what goes wrong when a changed file is read. Nil: nothing.
	Log hclog.Logger
}

// Authenticator recognises callers. Safe for concurrent use.
type Authenticator struct {
	principals *reloading[*directory] // nil: no authentication
}

// New returns an authenticator. It fails when the file can't be read or is wrong.
func New(o Options) (*Authenticator, error) {
	if o.File == "" {
		return &Authenticator{}, nil
	}
	r := &reloading[*directory]{
		what: "principals in " + o.File, files: []string{o.File}, now: o.Now, log: o.Log,
		load: func() (*directory, error) { return load(o.File) },
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	return &Authenticator{principals: r}, nil
}

func load(path string) (*directory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("everybody can write to it (mode %v); use chmod o-w", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return parse(text)
}

// Configured tells whether callers must prove who they are.
func (a *Authenticator) Configured() bool { return a.principals != nil }

// Proof is what a caller shows.
type Proof struct {
	// Authorization is the header or metadata of that name.
	Authorization string
	// Chains are the verified chains of the caller's certificate; nil without one.
	Chains [][]*x509.Certificate
	// Remote is the caller's address; nil for one within the process.
	Remote net.Addr
}

// Authenticate tells who shows the proof. A token outweighs a certificate: a wrong one is an error even beside a good
// certificate. Errors wrap ErrUnauthenticated.
func (a *Authenticator) Authenticate(p Proof) (Principal, error) {
	if a.principals == nil {
		return unproven(p.Remote), nil
	}
	known := a.principals.get()
	if p.Authorization != "" {
		scheme, token, _ := strings.Cut(p.Authorization, " ")
		if !strings.EqualFold(scheme, "bearer") {
			return Principal{}, fmt.Errorf("authorization must be `Bearer <token>`: %w", ErrUnauthenticated)
		}
		if who, ok := known.byToken(strings.TrimSpace(token)); ok {
			return who, nil
		}
		return Principal{}, fmt.Errorf("unknown token: %w", ErrUnauthenticated)
	}
	if len(p.Chains) > 0 && len(p.Chains[0]) > 0 {
		leaf := p.Chains[0][0]
		if who, ok := known.byCertificate(leaf); ok {
			return who, nil
		}
		return Principal{}, fmt.Errorf("the certificate of %q belongs to no principal: %w", leaf.Subject.CommonName, ErrUnauthenticated)
	}
	return Principal{}, fmt.Errorf("show a bearer token or a client certificate: %w", ErrUnauthenticated)
}

// Request tells who makes an HTTP request. Errors wrap ErrUnauthenticated.
func (a *Authenticator) Request(r *http.Request) (Principal, error) {
	p := Proof{Authorization: r.Header.Get("Authorization")}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Remote = net.TCPAddrFromAddrPort(addr)
	}
	if r.TLS != nil {
		p.Chains = r.TLS.VerifiedChains
	}
	return a.Authenticate(p)
}

// unproven names the caller of a server without authentication.
func unproven(remote net.Addr) Principal {
	name := Local
	if a, ok := remote.(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		name = Anonymous
	}
	return Principal{Name: name, Role: Admin}
}
