package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server"
)

// options are those of a server on free ports, with an etcd of its own that doesn't sync.
func options(t testing.TB) server.Options {
	t.Helper()
	o := server.DefaultOptions(filepath.Join(t.TempDir(), "data"))
	o.GRPCListen, o.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	o.UnsafeNoFsync = true
	o.Version = "test"
	return o
}

// rig is a running server and a client of it.
type rig struct {
	t      testing.TB
	server *server.Server
	conn   *grpc.ClientConn
	called sync.Map // full names of methods that succeeded
}

func start(t testing.TB, o server.Options) *rig {
	t.Helper()
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, server: s}
	t.Cleanup(r.stop)
	r.dial(grpc.WithTransportCredentials(insecure.NewCredentials()))
	return r
}

// dial connects with the given credentials and notes which methods succeed.
func (r *rig) dial(more ...grpc.DialOption) {
	r.t.Helper()
	note := func(method string, err error) {
		if err == nil {
			r.called.Store(method, true)
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+r.server.Addrs().GRPC, append(more,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, cc, opts...)
			note(method, err)
			return err
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, cc, method, opts...)
			note(method, err)
			return s, err
		}),
	)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
	r.t.Cleanup(func() { _ = conn.Close() })
}

func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.server.Stop(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

func (r *rig) catalog() jv1.CatalogServiceClient { return jv1.NewCatalogServiceClient(r.conn) }

func (r *rig) runbooks() jv1.RunbookServiceClient { return jv1.NewRunbookServiceClient(r.conn) }

func (r *rig) runs() jv1.RunServiceClient { return jv1.NewRunServiceClient(r.conn) }

func (r *rig) continuity() jv1.ContinuityServiceClient { return jv1.NewContinuityServiceClient(r.conn) }

func (r *rig) detectors() jv1.DetectorServiceClient { return jv1.NewDetectorServiceClient(r.conn) }

func (r *rig) admin() jv1.AdminServiceClient { return jv1.NewAdminServiceClient(r.conn) }

func (r *rig) apply(resources ...*jv1.Resource) *jv1.ApplyResponse {
	r.t.Helper()
	out, err := r.catalog().Apply(r.t.Context(), &jv1.ApplyRequest{Resources: resources})
	if err != nil {
		r.t.Fatalf("apply: %v %v", err, status.Convert(err).Details())
	}
	return out
}

// http makes a request of the HTTP listener.
func (r *rig) http(method, path, body string) (code int, text string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.server.Addrs().HTTP+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// follow sends the states of a service to a channel.
func (r *rig) follow(service string) <-chan *jv1.ContinuityState {
	r.t.Helper()
	stream, err := r.continuity().WatchContinuity(r.t.Context(), &jv1.WatchContinuityRequest{Services: []string{service}})
	if err != nil {
		r.t.Fatal(err)
	}
	states := make(chan *jv1.ContinuityState, 100)
	go func() {
		defer close(states)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if m.GetEvent() == jv1.WatchEvent_WATCH_EVENT_PUT {
				states <- m.GetState()
			}
		}
	}()
	return states
}

// bearer shows a token, over a plain connection too.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func plain() grpc.DialOption { return grpc.WithTransportCredentials(insecure.NewCredentials()) }

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// reason is that of an error's ErrorInfo.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// provider is a local server that plays one.
type provider struct {
	name   string
	url    string
	broken atomic.Bool
}

func newProvider(t testing.TB, name string) *provider {
	t.Helper()
	p := &provider{name: name}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.broken.Load() {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"object":"list"}`)
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *provider) resource() *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: p.name, BaseUrl: p.url}}}
}

// service is one that fails over fast.
func service(name string, providers ...*provider) *jv1.Resource {
	s := &jv1.Service{Name: name, Health: &jv1.HealthRule{
		Failing:        &jv1.FailingRule{Agree: 1, For: durationpb.New(100 * time.Millisecond)},
		RecoveredAfter: durationpb.New(time.Hour),
	}}
	for _, p := range providers {
		s.Providers = append(s.Providers, &jv1.ServiceProvider{Name: p.name})
	}
	return &jv1.Resource{Kind: &jv1.Resource_Service{Service: s}}
}

func probe(name, service string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: &jv1.Detector{Name: name, Service: service, Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{
		Path: "/models", Interval: durationpb.New(100 * time.Millisecond), Timeout: durationpb.New(90 * time.Millisecond), Failures: 2, Successes: 1,
	}}}}}
}

func webhook(name, service string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: &jv1.Detector{Name: name, Service: service, Kind: &jv1.Detector_Webhook{Webhook: &jv1.WebhookDetector{
		Format: jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL,
	}}}}}
}

func logChannel(name string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Channel{Channel: &jv1.Channel{Name: name, Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}}}
}

func hook(name, url string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Channel{Channel: &jv1.Channel{Name: name, Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: url}}}}}
}

// failover switches to any provider and tells a channel.
func failover(name, service, channel string) *jv1.Runbook {
	return &jv1.Runbook{
		Name: name, Services: []string{service},
		On:         &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_FAILING},
		Automation: &jv1.AutomationPolicy{Default: jv1.AutomationLevel_AUTOMATION_LEVEL_ACT},
		Steps: []*jv1.Step{
			{Id: "switch", Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{"any"}}}},
			{Id: "tell", Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{channel}, Template: "outage-handled"}}},
		},
	}
}

func runbook(rb *jv1.Runbook) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: rb}}
}

// asking waits for an approval, so that a run can be steered.
func asking(name, service string) *jv1.Runbook {
	return &jv1.Runbook{
		Name: name, Services: []string{service},
		Steps: []*jv1.Step{
			{Id: "ask", Action: &jv1.Step_Approval{Approval: &jv1.ApprovalStep{Text: "go on?"}}},
			{Id: "rest", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(time.Hour)}}},
		},
	}
}

// errClosedEarly says that a stream ended.
var errClosedEarly = errors.New("the stream ended")

// sink is a receiver of webhooks.
type sink struct {
	url string
	got chan string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{got: make(chan string, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.got <- string(b)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// logged is a logger whose lines a test can read.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: l})
}

// freeAddress is a port nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr())
}
