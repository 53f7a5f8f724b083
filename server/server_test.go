package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/auth/authtest"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/etcdnode/etcdtest"
)

func TestNewRefuses(t *testing.T) {
	ca := authtest.NewCA(t)
	pair := ca.Issue(authtest.Identity{CommonName: "server", Server: true})
	for _, test := range []struct {
		name   string
		change func(*server.Options)
		want   string
	}{
		{"no data directory", func(o *server.Options) { o.DataDir = "" }, "data directory"},
		{"odd replica", func(o *server.Options) { o.Replica = "a/b" }, "DNS label"},
		{"all interfaces", func(o *server.Options) { o.HTTPListen = ":0" }, "refusing to listen"},
		{"another interface", func(o *server.Options) { o.GRPCListen = "10.0.0.1:7400" }, "no TLS"},
		{"TLS alone", func(o *server.Options) {
			o.GRPCListen, o.TLS = "0.0.0.0:0", auth.TLSOptions{CertFile: pair.CertFile, KeyFile: pair.KeyFile}
		}, "no authentication"},
		{"no port", func(o *server.Options) { o.GRPCListen = "127.0.0.1" }, "host:port"},
		{"one address", func(o *server.Options) { o.GRPCListen, o.HTTPListen = "127.0.0.1:7", "127.0.0.1:7" }, "can't share"},
		{"certificate without a key", func(o *server.Options) { o.TLS.CertFile = pair.CertFile }, "both"},
		{"certificate that isn't there", func(o *server.Options) { o.TLS = auth.TLSOptions{CertFile: "none", KeyFile: "none"} }, "none"},
		{"authority without principals", func(o *server.Options) {
			o.TLS = auth.TLSOptions{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: ca.File}
		}, "--auth-file"},
		{"principals that aren't there", func(o *server.Options) { o.AuthFile = "none" }, "none"},
		{"short session", func(o *server.Options) { o.SessionTTL = time.Second }, "too short"},
		{"endpoint without a scheme", func(o *server.Options) { o.Etcd.Endpoints = []string{"10.0.0.1:2379"} }, "http, https or unix"},
		{"password in an endpoint", func(o *server.Options) { o.Etcd.Endpoints = []string{"https://a:b@10.0.0.1:2379"} }, "password"},
		{"certificates for plain http", func(o *server.Options) {
			o.Etcd = server.EtcdOptions{Endpoints: []string{"http://10.0.0.1:2379"}, CAFile: "x"}
		}, "not encrypted"},
		{"half a client certificate", func(o *server.Options) {
			o.Etcd = server.EtcdOptions{Endpoints: []string{"https://10.0.0.1:2379"}, CertFile: "x"}
		}, "both"},
		{"user without a password", func(o *server.Options) {
			o.Etcd = server.EtcdOptions{Endpoints: []string{"https://10.0.0.1:2379"}, Username: "x"}
		}, "belong together"},
		{"client certificate without endpoints", func(o *server.Options) { o.Etcd.CAFile = "x" }, "--etcd-endpoints"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(t)
			test.change(&o)
			_, err := server.New(o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if _, statErr := os.Stat(o.DataDir); o.DataDir != "" && !errors.Is(statErr, os.ErrNotExist) {
				t.Error("the data directory was touched")
			}
		})
	}
}

func TestInsistingOpensAListener(t *testing.T) {
	o := options(t)
	o.HTTPListen, o.Insecure = "0.0.0.0:0", true
	r := start(t, o)
	_, port, err := net.SplitHostPort(r.server.Addrs().HTTP)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://127.0.0.1:" + port + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestASecondServerOnTheSameDataIsRefused(t *testing.T) {
	o := options(t)
	r := start(t, o)
	second, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(t.Context())
	if !errors.Is(err, etcdnode.ErrLocked) || !strings.Contains(err.Error(), o.DataDir) {
		t.Errorf("error %v", err)
	}
	select {
	case <-second.Done():
	default:
		t.Error("it doesn't say that it is done")
	}
	if code, _ := r.http("GET", "/readyz", ""); code != http.StatusOK {
		t.Errorf("the first one is harmed: %d", code)
	}
}

// TestAStartThatFailsLeavesNothing takes a port away, and starts on the same data when it is free again.
func TestAStartThatFailsLeavesNothing(t *testing.T) {
	o := options(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.HTTPListen = taken.Addr().String()
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("error %v", err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("it started a second time")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, o)
}

func TestAStartIsBoundByItsContext(t *testing.T) {
	o := options(t)
	o.Etcd.Endpoints = []string{"http://" + freeAddress(t)}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	time.AfterFunc(500*time.Millisecond, cancel)
	select {
	case err := <-ended:
		if err == nil || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on without its context")
	}
}

// TestWaitingForEtcd starts before the cluster can be reached: it lives and says that it is not ready.
func TestWaitingForEtcd(t *testing.T) {
	o := options(t)
	o.Etcd.Endpoints = []string{"http://" + freeAddress(t)}
	o.HTTPListen = freeAddress(t)
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	get := func(path string) int {
		resp, err := http.Get("http://" + o.HTTPListen + path)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	eventually(t, "it answers", func() bool { return get("/healthz") == http.StatusOK })
	if got := get("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", got)
	}
	if got := get("/v1/runs"); got != http.StatusServiceUnavailable {
		t.Errorf("a list of what nobody knows: %d", got)
	}
	if got := get("/v1/info"); got != http.StatusOK {
		t.Errorf("info: %d", got)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a start that was given up succeeded")
	}
}

// TestReplicasOnAnExternalCluster runs two servers on three members: one applies, the other is asked; one goes, the other
// takes its run over at once.
func TestReplicasOnAnExternalCluster(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	replica := func(name string) *rig {
		o := options(t)
		o.Replica, o.Etcd.Endpoints = name, cluster.Endpoints()
		return start(t, o)
	}
	a, b := replica("a"), replica("b")
	alpha := newProvider(t, "alpha")
	a.apply(alpha.resource(), service("chat", alpha), runbook(asking("ask", "chat")))
	run, err := a.runs().StartRun(t.Context(), &jv1.StartRunRequest{Runbook: "ask", Reason: "x"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other replica sees both and the run", func() bool {
		info, err := b.admin().GetInfo(t.Context(), &jv1.GetInfoRequest{})
		got, runErr := b.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && runErr == nil && strings.Join(info.GetReplicas(), " ") == "a b" && !info.GetEmbeddedStore() && got.GetWait() != 0
	})
	began := time.Now()
	a.stop()
	if _, err := b.runs().DecideRun(t.Context(), &jv1.DecideRunRequest{Name: run.GetName(), Approve: true, Comment: "x"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other replica takes the run over", func() bool {
		got, err := b.runs().GetRun(t.Context(), &jv1.GetRunRequest{Name: run.GetName()})
		return err == nil && got.GetSteps()[1].GetState() == jv1.StepState_STEP_STATE_RUNNING
	})
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("taking over from a replica that left in order took %v, not less than its session's 10 s", took)
	}
}

// TestQuorumLoss: with most members dead, what is known is still read, and says so; writes are refused with a hint. When
// the members are back, everything works again.
func TestQuorumLoss(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	o := options(t)
	o.Etcd.Endpoints = cluster.Endpoints()
	r := start(t, o)
	alpha := newProvider(t, "alpha")
	r.apply(alpha.resource(), service("chat", alpha))
	cluster.Stop(0)
	cluster.Stop(1)
	eventually(t, "reads say that they are old", func() bool {
		got, err := r.continuity().GetContinuity(t.Context(), &jv1.GetContinuityRequest{Service: "chat"})
		if err != nil {
			t.Fatalf("a read was refused: %v", err)
		}
		return !got.GetFreshness().GetLive() && got.GetState().GetActiveProvider() == "alpha"
	})
	_, err := r.continuity().SetQueueing(t.Context(), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"})
	if status.Code(err) != codes.Unavailable || reason(err) != "STORE_UNAVAILABLE" {
		t.Errorf("error %v", err)
	}
	if code, _ := r.http("GET", "/readyz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", code)
	}
	cluster.Restart(0)
	cluster.Restart(1)
	eventually(t, "writes are taken again", func() bool {
		_, err := r.continuity().SetQueueing(t.Context(), &jv1.SetQueueingRequest{Service: "chat", On: true, Reason: "x"})
		return err == nil
	})
}

// TestTLS serves both listeners with TLS to a client with a certificate and to one with a token, and follows a rotation.
func TestTLS(t *testing.T) {
	ca := authtest.NewCA(t)
	pair := ca.Issue(authtest.Identity{CommonName: "server-1", Server: true})
	client := ca.Issue(authtest.Identity{CommonName: "gateway", URI: "spiffe://example.org/gateway"})
	principals := filepath.Join(t.TempDir(), "principals.yaml")
	write := func(token string) {
		text := fmt.Sprintf("principals:\n- {name: gateway-1, role: viewer, cert_uri: 'spiffe://example.org/gateway'}\n- {name: alice, role: operator, token_sha256: %s}\n", auth.HashToken(token))
		if err := os.WriteFile(principals+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(principals+".new", principals); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	o := options(t)
	o.GRPCListen, o.HTTPListen = "0.0.0.0:0", "0.0.0.0:0"
	o.TLS = auth.TLSOptions{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: ca.File}
	o.AuthFile = principals
	r := start(t, o)
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }

	withCertificate := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{client.TLS}, MinVersion: tls.VersionTLS12}
	withToken := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	whoIs := func(c *tls.Config, token string) (string, error) {
		t.Helper()
		options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(c))}
		if token != "" {
			options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
		}
		conn, err := grpc.NewClient("passthrough:///127.0.0.1"+port(r.server.Addrs().GRPC), options...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		info, err := jv1.NewAdminServiceClient(conn).GetInfo(t.Context(), &jv1.GetInfoRequest{})
		return info.GetPrincipal() + " " + info.GetRole(), err
	}
	if got, err := whoIs(withCertificate, ""); err != nil || got != "gateway-1 viewer" {
		t.Errorf("by certificate: %s, %v", got, err)
	}
	if got, err := whoIs(withToken, "first"); err != nil || got != "alice operator" {
		t.Errorf("by token: %s, %v", got, err)
	}
	if _, err := whoIs(withToken, ""); status.Code(err) != codes.Unauthenticated {
		t.Errorf("by nothing: %v", err)
	}
	overHTTP := func(c *tls.Config, token string) (code int, protocol, text string) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1"+port(r.server.Addrs().HTTP)+"/v1/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Proto, b.String()
	}
	if code, protocol, text := overHTTP(withCertificate, ""); code != 200 || protocol != "HTTP/2.0" || !strings.Contains(text, `"principal":"gateway-1"`) {
		t.Errorf("over HTTP by certificate: %d %s %s", code, protocol, text)
	}
	if code, _, text := overHTTP(withToken, "first"); code != 200 || !strings.Contains(text, `"principal":"alice"`) {
		t.Errorf("over HTTP by token: %d %s", code, text)
	}
	if code, _, _ := overHTTP(withToken, ""); code != http.StatusUnauthorized {
		t.Errorf("over HTTP by nothing: %d", code)
	}
	if resp, err := http.Get("http://127.0.0.1" + port(r.server.Addrs().HTTP) + "/v1/info"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("plain HTTP was answered")
		}
	}

	// Files that change are in force within seconds, without a restart.
	write("second")
	ca.IssueTo(authtest.Identity{CommonName: "server-2", Server: true}, &pair)
	eventually(t, "the new token is taken, and the old one refused", func() bool {
		_, now := whoIs(withToken, "second")
		_, before := whoIs(withToken, "first")
		return now == nil && status.Code(before) == codes.Unauthenticated
	})
	eventually(t, "the new certificate is shown", func() bool {
		conn, err := tls.Dial("tcp", "127.0.0.1"+port(r.server.Addrs().GRPC), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
		if err != nil {
			return false
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName == "server-2"
	})
}

func TestTheLogHoldsNoSecrets(t *testing.T) {
	var log logged
	principals := filepath.Join(t.TempDir(), "principals.yaml")
	if err := os.WriteFile(principals, []byte("principals: [{name: alice, role: admin, token_sha256: "+auth.HashToken("very-secret")+"}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.AuthFile, o.Logger = principals, log.logger()
	r := start(t, o)
	ctx := t.Context()
	conn, err := grpc.NewClient("passthrough:///"+r.server.Addrs().GRPC, plain(), grpc.WithPerRPCCredentials(bearer("very-secret")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := jv1.NewAdminServiceClient(conn).GetInfo(ctx, &jv1.GetInfoRequest{}); err != nil {
		t.Fatal(err)
	}
	wrong, err := grpc.NewClient("passthrough:///"+r.server.Addrs().GRPC, plain(), grpc.WithPerRPCCredentials(bearer("guessed-secret")))
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := jv1.NewAdminServiceClient(wrong).GetInfo(ctx, &jv1.GetInfoRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("error %v", err)
	}
	if text := log.String(); strings.Contains(text, "very-secret") || strings.Contains(text, "guessed-secret") || strings.Contains(text, auth.HashToken("very-secret")) {
		t.Errorf("the log shows a secret:\n%s", text)
	}
	if !strings.Contains(log.String(), "principal=alice") {
		t.Error("the log doesn't say who called")
	}
}
