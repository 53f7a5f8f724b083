package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/client"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/credential"
)

// settings resolves how to speak to the servers: a flag goes before the environment, and that before the context. A
// context that was named by a flag goes before the environment, too.
func (a *App) settings() (namedContext, error) {
	file, err := a.loadContexts()
	if err != nil {
		return namedContext{}, err
	}
	name := cmp.Or(a.flags.context, a.Getenv("JURYMAST_CONTEXT"), file.Current)
	var stored namedContext
	if name != "" {
		c := file.find(name)
		if c == nil {
			return stored, usage("there is no context %q; see `jurymast context list`", name)
		}
		stored = *c
	}
	env := namedContext{
		Token: a.Getenv("JURYMAST_TOKEN"), CA: a.Getenv("JURYMAST_CA"), Cert: a.Getenv("JURYMAST_CERT"), Key: a.Getenv("JURYMAST_KEY"),
	}
	if s := a.Getenv("JURYMAST_SERVER"); s != "" {
		env.Servers = strings.Split(s, ",")
	}
	if s := a.Getenv("JURYMAST_INSECURE"); s != "" {
		if env.Insecure, err = strconv.ParseBool(s); err != nil {
			return stored, usage("JURYMAST_INSECURE is %q, want true or false", s)
		}
	}
	flags := namedContext{
		Servers: a.flags.servers, Token: a.flags.token, CA: a.flags.ca, Cert: a.flags.cert, Key: a.flags.key, Insecure: a.flags.insecure,
	}
	if flags.Token != "" && !credential.IsReference(flags.Token) {
		return stored, usage("--token must be a reference, env:NAME or file:/path: everybody on this machine can read the arguments of a program")
	}
	order := []namedContext{flags, env, stored}
	if a.flags.context != "" {
		order = []namedContext{flags, stored, env}
	}
	return merged(name, order), nil
}

// merged takes each setting from the first that has it.
func merged(name string, order []namedContext) namedContext {
	out := namedContext{Name: name}
	for _, c := range order {
		if len(out.Servers) == 0 {
			out.Servers = c.Servers
		}
		if out.Cert == "" && out.Key == "" {
			out.Cert, out.Key = c.Cert, c.Key
		}
		out.Token = cmp.Or(out.Token, c.Token)
		out.CA = cmp.Or(out.CA, c.CA)
		out.Insecure = out.Insecure || c.Insecure
	}
	return out
}

// clientOptions turns settings into those of the SDK.
func (a *App) clientOptions() (client.Options, error) {
	s, err := a.settings()
	if err != nil {
		return client.Options{}, err
	}
	o := client.Options{Addresses: s.Servers, Insecure: s.Insecure}
	if ref := s.Token; ref != "" {
		if _, err := resolveToken(ref); err != nil {
			return o, Exit(ExitUsage, err)
		}
		o.Token = func() (string, error) { return resolveToken(ref) }
	}
	if o.TLS, err = tlsConfig(s); err != nil {
		return o, Exit(ExitUsage, err)
	}
	return o, nil
}

// resolveToken takes a reference or, from the environment, the token itself.
func resolveToken(ref string) (string, error) {
	if !credential.IsReference(ref) {
		return ref, nil
	}
	token, err := credential.Resolve(ref)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	return token, nil
}

// tlsConfig returns nil when neither certificates to trust nor an own one are given.
func tlsConfig(s namedContext) (*tls.Config, error) {
	if s.CA == "" && s.Cert == "" && s.Key == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates to trust: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the certificates to trust: %s holds none", s.CA)
		}
	}
	if s.Cert == "" && s.Key == "" {
		return c, nil
	}
	if s.Cert == "" || s.Key == "" {
		return nil, errors.New("a certificate and its key go together: give --cert and --key")
	}
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fmt.Errorf("reading our certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// connect returns the connection of this call, which is made when first needed.
func (a *App) connect() (*grpc.ClientConn, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	o, err := a.clientOptions()
	if err != nil {
		return nil, err
	}
	o.DialOptions = []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(a.patient, a.noteFreshness),
		grpc.WithUserAgent("jurymast/" + a.Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}
	a.conn, err = client.Dial(o)
	return a.conn, err
}

// api is the clients of all services.
type api struct {
	jv1.CatalogServiceClient
	jv1.RunbookServiceClient
	jv1.RunServiceClient
	jv1.ContinuityServiceClient
	jv1.DetectorServiceClient
	jv1.AdminServiceClient
	jv1.IncidentServiceClient
}

func (a *App) api() (*api, error) {
	conn, err := a.connect()
	if err != nil {
		return nil, err
	}
	return &api{
		jv1.NewCatalogServiceClient(conn), jv1.NewRunbookServiceClient(conn), jv1.NewRunServiceClient(conn),
		jv1.NewContinuityServiceClient(conn), jv1.NewDetectorServiceClient(conn), jv1.NewAdminServiceClient(conn),
		jv1.NewIncidentServiceClient(conn),
	}, nil
}

// patient bounds each call, and repeats one that the server asks to repeat and that may be: a read, or a change that
// carries an id by which the server knows it again.
//
//nolint:revive // the signature is gRPC's
func (a *App) patient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := a.callContext(ctx)
	defer cancel()
	for {
		err := invoke(ctx, method, req, reply, cc, opts...)
		wait, ok := retryDelay(err)
		if !ok || !repeatable(method, req) {
			return err
		}
		if deadline, _ := ctx.Deadline(); time.Until(deadline) <= wait {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// retryDelay is how long the server asks to wait; not ok when it doesn't ask.
func retryDelay(err error) (time.Duration, bool) {
	st, ok := status.FromError(err)
	if err == nil || !ok || st.Code() != codes.Unavailable {
		return 0, false
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return max(r.GetRetryDelay().AsDuration(), 10*time.Millisecond), true
		}
	}
	return 0, false
}

func repeatable(method string, req any) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, read := range []string{"Get", "List", "Validate", "Plan", "WhyNot"} {
		if strings.HasPrefix(name, read) {
			return true
		}
	}
	r, ok := req.(interface{ GetRequestId() string })
	return ok && r.GetRequestId() != ""
}

// freshness is what the server said of its own picture.
type freshness struct {
	stale bool
	asOf  time.Time
}

// noteFreshness reads the headers by which a server says that it lost its store.
//
//nolint:revive // the signature is gRPC's
func (a *App) noteFreshness(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var header metadata.MD
	err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Header(&header))...)
	if live := header.Get("jurymast-live"); len(live) == 1 && live[0] == "false" && !a.heard.stale {
		a.heard.stale = true
		if asOf := header.Get("jurymast-as-of"); len(asOf) == 1 {
			a.heard.asOf, _ = time.Parse(time.RFC3339Nano, asOf[0])
		}
		a.say("warning: the server lost its store; this is what it knew %s", a.ago(a.heard.asOf))
	}
	return err
}
