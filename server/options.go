package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/auth"
)

// Default addresses; both are reached from this machine only.
const (
	// DefaultGRPCListen is where gRPC is served.
	DefaultGRPCListen = "127.0.0.1:7400"
	// DefaultHTTPListen is where JSON, server-sent events, webhooks and metrics are served.
	DefaultHTTPListen = "127.0.0.1:7401"
)

// ErrOptions says that options are impossible or contradict each other.
var ErrOptions = errors.New("impossible options")

// Options say how a server runs. DataDir is needed; see [DefaultOptions] for the rest.
type Options struct {
	// DataDir holds what the server keeps on disk: the embedded etcd, and the replica's name. It is created with mode
	// 0700, and belongs to one process at a time.
	DataDir string
	// Replica is this replica's name in the cluster, a DNS label. Empty: the one in DataDir, made on the first start from
	// the host's name and chance.
	Replica string
	// GRPCListen and HTTPListen are addresses to listen on, host:port; port 0 takes a free one.
	GRPCListen, HTTPListen string
	// Etcd is the external cluster to use. Without endpoints the server runs an etcd of its own.
	Etcd EtcdOptions
	// TLS guards both listeners.
	TLS auth.TLSOptions
	// AuthFile holds the principals, see package auth. Empty: no authentication.
	AuthFile string
	// Insecure allows listeners that others can reach without TLS and authentication.
	Insecure bool
	// Version of the binary, as it tells it. Empty: `unknown`.
	Version string
	// SessionTTL is how long the replica's session outlives it when it dies. 0: 10 s.
	SessionTTL time.Duration
	// Canaries are URLs that answer whenever this machine's own network works; see detect.Options.
	Canaries []string
	// BackupEvery is the time between two automatic backups of the embedded store. 0: none are taken.
	BackupEvery time.Duration
	// BackupKeep is how many automatic backups are kept. 0: 24.
	BackupKeep int
	// UnsafeNoFsync lets the embedded etcd lose acknowledged writes when the machine goes down: for tests and throw-away
	// data only.
	UnsafeNoFsync bool
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// EtcdOptions say how an external etcd is reached.
type EtcdOptions struct {
	// Endpoints of the members: http, https or unix URLs. Empty: the server runs an etcd of its own.
	Endpoints []string
	// CAFile, CertFile and KeyFile are PEM files: the authority of the members' certificates, and the client's own
	// certificate and key. Empty: the system's authorities, no certificate.
	CAFile, CertFile, KeyFile string
	// Username, and a reference to its password, `env:NAME` or `file:/path`.
	Username, Password string
}

// DefaultOptions returns the options of a server on loopback with an etcd of its own.
func DefaultOptions(dataDir string) Options {
	return Options{DataDir: dataDir, GRPCListen: DefaultGRPCListen, HTTPListen: DefaultHTTPListen}
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// validate refuses what would fail later, or worse.
func (o Options) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.DataDir == "" {
		wrong("no data directory (--data-dir)")
	}
	if o.Replica != "" && !dnsLabel.MatchString(o.Replica) {
		wrong("replica %q is no DNS label: want a-z, 0-9 and dashes, at most 63", o.Replica)
	}
	if o.BackupEvery < 0 || o.BackupEvery > 0 && o.BackupEvery < time.Minute {
		wrong("a backup every %v is too often: want at least 1m, or 0 for none", o.BackupEvery)
	}
	if o.BackupKeep < 0 {
		wrong("%d backups can't be kept", o.BackupKeep)
	}
	if o.SessionTTL != 0 && o.SessionTTL < 2*time.Second {
		wrong("a session of %v is too short: a slow disk would end it; want at least 2s", o.SessionTTL)
	}
	if o.AuthFile == "" && o.TLS.ClientCAFile != "" {
		wrong("--client-ca without --auth-file: which principal a certificate is for stands there")
	}
	guard := auth.Guarding{TLS: o.TLS.Enabled(), Authentication: o.AuthFile != "", Insecure: o.Insecure}
	for _, addr := range []string{o.GRPCListen, o.HTTPListen} {
		if err := auth.CheckListen(addr, guard); err != nil {
			errs = append(errs, err)
		}
	}
	if same(o.GRPCListen, o.HTTPListen) {
		wrong("gRPC and HTTP can't share the address %s", o.GRPCListen)
	}
	errs = append(errs, o.Etcd.validate())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

// same tells whether two addresses are one; port 0 is never the same.
func same(a, b string) bool {
	_, port, err := net.SplitHostPort(a)
	return err == nil && port != "0" && a == b
}

// external tells whether an etcd that isn't ours is used.
func (o EtcdOptions) external() bool { return len(o.Endpoints) > 0 }

func (o EtcdOptions) validate() error {
	if !o.external() {
		if o.CAFile+o.CertFile+o.KeyFile+o.Username+o.Password != "" {
			return errors.New("options of an external etcd without --etcd-endpoints")
		}
		return nil
	}
	for _, endpoint := range o.Endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err == nil && u.Scheme == "unix" && u.Path != "":
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			return fmt.Errorf("etcd endpoint %q is no http, https or unix URL", endpoint)
		case u.Scheme == "http" && (o.CAFile != "" || o.CertFile != ""):
			return fmt.Errorf("etcd endpoint %q is not encrypted, although certificates are given", endpoint)
		case u.User != nil:
			return errors.New("an etcd endpoint holds a password: give --etcd-username and --etcd-password")
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return errors.New("a client certificate for etcd needs both --etcd-cert and --etcd-key")
	}
	if (o.Username == "") != (o.Password == "") {
		return errors.New("--etcd-username and --etcd-password belong together")
	}
	return nil
}

// tls returns the configuration for connections to an external etcd; nil for plain http.
func (o EtcdOptions) tls() (*tls.Config, error) {
	encrypted := false
	for _, endpoint := range o.Endpoints {
		if u, err := url.Parse(endpoint); err == nil && u.Scheme == "https" {
			encrypted = true
		}
	}
	if !encrypted {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authority of etcd: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority of etcd: no certificate in %s", o.CAFile)
		}
	}
	if o.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile); err != nil {
			return nil, fmt.Errorf("client certificate for etcd: %w", err)
		}
		// Read anew for every connection, so that a rotated certificate is picked up.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			return &pair, err
		}
	}
	return c, nil
}
