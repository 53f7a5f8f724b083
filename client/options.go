package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// DefaultAddress is where a server listens when nobody says otherwise.
const DefaultAddress = "127.0.0.1:7400"

const (
	defaultPort    = "7400"
	maxServices    = 256 // of WatchContinuityRequest.services
	maxSubscriber  = 128 // of ReportInForceRequest.subscriber
	defaultSilence = 45 * time.Second
	defaultMinWait = 100 * time.Millisecond
	defaultMaxWait = 5 * time.Second
)

// ErrOptions says that options can't be used; the wrapping error says which and why.
var ErrOptions = errors.New("client options")

// Options says whom to follow and how. The zero value follows every service of a server on this machine, keeps nothing
// on disk and reports what is in force under a name made of host, program and process.
type Options struct {
	// Addresses of the servers, tried in turn: `host:port`, `host` (port 7400) or `unix:/path`. Empty: DefaultAddress.
	Addresses []string
	// Services to follow, at most 256. Empty: all.
	Services []string
	// CacheDir is a directory, made when missing, that the last states are kept in. Two running clients need two
	// directories. Empty: memory only.
	CacheDir string
	// Subscriber is the name under which epochs in force are reported, unique among gateways and clients, at most 128
	// bytes. Empty: host, program and process id.
	Subscriber string
	// NoReport keeps the client from reporting what is in force.
	NoReport bool
	// Queues says what the application has queued, by service, for the reports of what is in force; a service without an
	// entry has no queue here. It is asked before each report, and every 2 s while a service that is followed is to be
	// drained; from one goroutine, and must not block. Nil: the application keeps no queue.
	Queues func() map[string]*jv1.QueueStatus

	// TLS of the connections. Nil: none, which a server takes on loopback only.
	TLS *tls.Config
	// Token returns the bearer token and is asked again at every call, so that a token may rotate. Nil: none.
	Token TokenSource
	// Insecure lets the token go out without TLS to another machine.
	Insecure bool
	// DialOptions are added to those of every connection.
	DialOptions []grpc.DialOption

	// OnChange is called after each change of a service, from one goroutine, one call at a time; what was restored from
	// the cache comes first. It has the meaning of State's results: with ok false the service is gone. Changes that
	// overtake each other are told once, as the newest. An epoch is reported as in force after OnChange returned nil, so
	// return when new work follows the state; after an error it is called again, later and later, and the epoch is not
	// reported meanwhile. Nil: the application asks State, and an epoch is in force at once.
	OnChange func(service string, s State, ok bool) error

	// Logger is told what a human should know. Nil: warnings and errors go to standard error.
	Logger hclog.Logger
	// Now is the clock for ages. Nil: time.Now.
	Now func() time.Time
	// SilenceTimeout is how long a server may be silent before it is left for the next. Zero: 45 s.
	SilenceTimeout time.Duration
	// MinBackoff is the wait after the first failed connection or call of OnChange; it doubles, with jitter. Zero: 100 ms.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait between two of either. Zero: 5 s.
	MaxBackoff time.Duration
}

// TokenSource returns a bearer token, without the word "Bearer". It must be safe for concurrent use.
type TokenSource func() (string, error)

// StaticToken returns a source that always gives the same token.
func StaticToken(token string) TokenSource {
	return func() (string, error) { return token, nil }
}

// TokenFile returns a source that reads a file at every call, without the white space around the token.
func TokenFile(path string) TokenSource {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		token := strings.TrimSpace(string(b))
		if token == "" {
			return "", fmt.Errorf("reading the token: %s is empty", path)
		}
		return token, nil
	}
}

// complete returns the options with every default filled in, or says what is wrong with them.
func (o Options) complete() (Options, error) {
	var err error
	if o.Addresses, err = normalAddresses(o.Addresses); err != nil {
		return o, err
	}
	if len(o.Services) > maxServices {
		return o, fmt.Errorf("%w: %d services, at most %d; with none given all are followed", ErrOptions, len(o.Services), maxServices)
	}
	if slices.Contains(o.Services, "") {
		return o, fmt.Errorf("%w: a service has an empty name", ErrOptions)
	}
	o.Services = slices.Compact(slices.Sorted(slices.Values(o.Services)))
	if o.Subscriber == "" {
		o.Subscriber = defaultSubscriber()
	}
	if len(o.Subscriber) > maxSubscriber {
		return o, fmt.Errorf("%w: the subscriber's name has %d bytes, at most %d", ErrOptions, len(o.Subscriber), maxSubscriber)
	}
	if o.Token != nil && o.TLS == nil && !o.Insecure {
		for _, a := range o.Addresses {
			if !isLocal(a) {
				return o, fmt.Errorf("%w: the token would go to %s unencrypted; give TLS, or Insecure", ErrOptions, a)
			}
		}
	}
	for _, d := range []time.Duration{o.SilenceTimeout, o.MinBackoff, o.MaxBackoff} {
		if d < 0 {
			return o, fmt.Errorf("%w: negative duration %s", ErrOptions, d)
		}
	}
	if o.Logger == nil {
		o.Logger = hclog.New(&hclog.LoggerOptions{Name: "jurymast", Level: hclog.Warn})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.SilenceTimeout = orDefault(o.SilenceTimeout, defaultSilence)
	o.MinBackoff = orDefault(o.MinBackoff, defaultMinWait)
	o.MaxBackoff = max(orDefault(o.MaxBackoff, defaultMaxWait), o.MinBackoff)
	return o, nil
}

func orDefault(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return d
}

// defaultSubscriber is unique among the processes of a network whose hosts have names of their own.
func defaultSubscriber() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	tail := ":" + filepath.Base(os.Args[0]) + ":" + strconv.Itoa(os.Getpid())
	if room := maxSubscriber - len(tail); len(host) > room {
		host = host[:max(room, 0)]
	}
	name := host + tail
	return name[:min(len(name), maxSubscriber)]
}

func normalAddresses(in []string) ([]string, error) {
	if len(in) == 0 {
		return []string{DefaultAddress}, nil
	}
	out := make([]string, 0, len(in))
	for _, a := range in {
		n, err := normalAddress(strings.TrimSpace(a))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

func normalAddress(a string) (string, error) {
	if path, ok := strings.CutPrefix(a, unixScheme); ok {
		if path == "" {
			return "", fmt.Errorf("%w: %q names no socket", ErrOptions, a)
		}
		return a, nil
	}
	if a == "" || strings.ContainsAny(a, "/ \t") {
		return "", fmt.Errorf("%w: %q is no address: write host:port or unix:/path", ErrOptions, a)
	}
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		host, port = strings.Trim(a, "[]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("%w: %q is no address: %w", ErrOptions, a, err)
		}
	}
	if n, err := strconv.Atoi(port); host == "" || err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%w: %q is no address: write host:port, with a port from 1 to 65535", ErrOptions, a)
	}
	return net.JoinHostPort(host, port), nil
}

// isLocal tells whether what is sent to a normal address stays on this machine.
func isLocal(address string) bool {
	if strings.HasPrefix(address, unixScheme) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
