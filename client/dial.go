package client

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

const (
	unixScheme     = "unix:"
	connectTimeout = 3 * time.Second
)

// Dial returns a connection that goes to the first of the addresses that answers, and to the next when that one dies.
// It is for calls other than following a state; of the options only Addresses, TLS, Token, Insecure and DialOptions
// count. Connections are made directly, never through a proxy. The caller closes it.
func Dial(o Options) (*grpc.ClientConn, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return dial(o, o.Addresses)
}

// dial wants completed options.
func dial(o Options, addresses []string) (*grpc.ClientConn, error) {
	// The addresses are ours to order, so no resolver may reorder or re-resolve them: a name server that is down, too,
	// must not part us from a server whose connection stands.
	list := manual.NewBuilderWithScheme("jurymast")
	var state resolver.State
	for _, a := range addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{
			Addresses: []resolver.Address{{Addr: a, ServerName: serverName(a)}},
		})
	}
	list.InitialState(state)
	transport := insecure.NewCredentials()
	if o.TLS != nil {
		transport = credentials.NewTLS(o.TLS)
	}
	opts := []grpc.DialOption{
		grpc.WithResolvers(list),
		grpc.WithContextDialer(dialAddress),
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: defaultMinWait, Multiplier: 2, Jitter: 0.5, MaxDelay: o.MaxBackoff,
			},
			MinConnectTimeout: connectTimeout,
		}),
	}
	if o.Token != nil {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer{source: o.Token, tls: o.TLS != nil}))
	}
	conn, err := grpc.NewClient("jurymast:///servers", append(opts, o.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", strings.Join(addresses, ", "), err)
	}
	return conn, nil
}

func dialAddress(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(address, unixScheme); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", address)
}

// serverName is the name the certificate of a server must hold.
func serverName(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, unixScheme) {
		return "localhost"
	}
	return host
}

// bearer puts the token into every call.
type bearer struct {
	source TokenSource
	tls    bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b.source()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Options.complete has refused what must not go out
// in the clear.
func (b bearer) RequireTransportSecurity() bool { return b.tls }
