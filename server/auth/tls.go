package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TLSOptions names the files of a listener's TLS. They are read again when they change.
type TLSOptions struct {
	// CertFile and KeyFile are PEM files of the server's certificate, with its chain, and key. Both or none.
	CertFile, KeyFile string
	// ClientCAFile is a PEM file of the authorities that sign clients' certificates. Empty: none are asked for. A
	// certificate is optional even so, because a token serves as well; what it is good for stands in the file of
	// principals.
	ClientCAFile string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log receives what goes wrong when a changed file is read. Nil: nothing.
	Log hclog.Logger
}

// Enabled tells whether TLS is asked for.
func (o TLSOptions) Enabled() bool {
	return o.CertFile != "" || o.KeyFile != "" || o.ClientCAFile != ""
}

// TLS is a server's TLS configuration that follows its files. Safe for concurrent use.
type TLS struct {
	current *reloading[*tls.Config]
}

// NewTLS reads the files. It fails when they can't be used.
func NewTLS(o TLSOptions) (*TLS, error) {
	if o.CertFile == "" || o.KeyFile == "" {
		return nil, errors.New("TLS needs both a certificate and a key (--tls-cert, --tls-key)")
	}
	files := []string{o.CertFile, o.KeyFile}
	if o.ClientCAFile != "" {
		files = append(files, o.ClientCAFile)
	}
	r := &reloading[*tls.Config]{what: "TLS certificate " + o.CertFile, files: files, now: o.Now, log: o.Log, load: o.load}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	return &TLS{current: r}, nil
}

func (o TLSOptions) load() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load the certificate and its key: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if o.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("load the clients' authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", o.ClientCAFile)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}

// Config returns a configuration for a listener that offers the protocols, e.g. `h2`. Each handshake uses the files as
// they are then. Sessions are not resumed: a resumed one would keep a certificate alive that is trusted no more.
func (t *TLS) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := t.current.get().Clone()
			c.NextProtos = protocols
			c.SessionTicketsDisabled = true
			return c, nil
		},
	}
}
