package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/api"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/backup"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
	"github.com/jurymast/jurymast/server/telemetry"
)

// errPart is an error of a part that the API was told how to show.
var errPart = errors.New("part says no")

// parts stands for engine and detect: it records what it is asked and answers as it is told.
type parts struct {
	mu     sync.Mutex
	asked  []string
	err    error
	panics bool
}

func (p *parts) take(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, what)
	if p.panics {
		panic("the secret of a panic")
	}
	return p.err
}

func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *parts) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return ""
	}
	return p.asked[len(p.asked)-1]
}

func (p *parts) Start(_ context.Context, r *jv1.StartRunRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: "r-new", Runbook: r.GetRunbook()}, p.take("start " + r.GetRunbook())
}

func (p *parts) Cancel(_ context.Context, r *jv1.CancelRunRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("cancel " + r.GetName())
}

func (p *parts) Pause(_ context.Context, r *jv1.PauseRunRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("pause " + r.GetName())
}

func (p *parts) Resume(_ context.Context, r *jv1.ResumeRunRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("resume " + r.GetName())
}

func (p *parts) Decide(_ context.Context, r *jv1.DecideRunRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("decide " + r.GetName())
}

func (p *parts) Skip(_ context.Context, r *jv1.SkipStepRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("skip " + r.GetName() + " " + r.GetStep())
}

func (p *parts) Retry(_ context.Context, r *jv1.RetryStepRequest) (*jv1.Run, error) {
	return &jv1.Run{Name: r.GetName()}, p.take("retry " + r.GetName() + " " + r.GetStep())
}

func (p *parts) Fire(_ context.Context, r *jv1.FireTriggerRequest) (*jv1.Trigger, error) {
	return &jv1.Trigger{Name: "g-new", Service: r.GetService()}, p.take("fire " + r.GetService())
}

func (p *parts) WhyNot(_ context.Context, service string) (*jv1.WhyNotResponse, error) {
	return &jv1.WhyNotResponse{}, p.take("why-not " + service)
}

func (p *parts) Plan(_ context.Context, r *jv1.PlanRunbookRequest) (*jv1.Plan, error) {
	return &jv1.Plan{Runbook: r.GetName()}, p.take("plan " + r.GetName())
}

func (p *parts) Report(_ context.Context, source string, signals []*jv1.Signal) (accepted, absorbed int, err error) {
	return len(signals), 0, p.take("report " + source)
}

func (p *parts) OperatorSignal(_ context.Context, service, provider string, _ jv1.SignalState, _ string, _ time.Duration) (int64, error) {
	return 7, p.take("signal " + service + "/" + provider)
}

// options are what a test wants otherwise.
type options struct {
	auth     *auth.Authenticator
	tls      *auth.TLS
	insecure bool
	webhooks http.Handler
	// client and token are what the clients show.
	client *tls.Config
	token  string
	// now is the API's clock; nil: the real one.
	now func() time.Time
	// stale is after how long without a sign of life the mirror is not live; zero: the default.
	stale time.Duration
	// backend is what the store stands on; nil: a new one in memory.
	backend store.Backend
}

// rig is a real server on loopback over a store in memory, with the engine's and detect's parts played.
type rig struct {
	t       *testing.T
	store   *store.Store
	backend *storetest.Faulty
	parts   *parts
	server  *api.Server
	logged  *lockedBuffer
	address string // of the gRPC listener
	base    string // URL of the HTTP listener
	http    *http.Client
	token   string
	conn    *grpc.ClientConn
}

func start(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, parts: &parts{}, logged: &lockedBuffer{}, token: o.token}
	if o.backend == nil {
		memory := store.NewMemory(store.MemoryOptions{})
		t.Cleanup(func() { _ = memory.Close() })
		o.backend = memory
	}
	r.backend = storetest.NewFaulty(o.backend)
	r.store = store.New(store.Options{Backend: r.backend, Probe: 50 * time.Millisecond, Stale: o.stale})
	if err := r.store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.store.Close)
	if o.auth == nil {
		var err error
		if o.auth, err = auth.New(auth.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	registry := prometheus.NewRegistry()
	desk := continuity.NewDesk(r.store, time.Now)
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: r.logged})
	server, err := api.New(api.Options{
		Store: r.store, Runs: r.parts, Triggers: r.parts, Planner: r.parts, Signals: r.parts,
		Continuity: desk, Automation: desk, Present: continuity.Present, PresentRoute: continuity.PresentRoute,
		Backups: backups{t.TempDir()}, Restores: &backup.Confirmer{Store: r.store, Now: time.Now},
		Errors:   []api.Known{{Err: errPart, Class: api.NotPossible}},
		Webhooks: o.webhooks, Metrics: telemetry.MetricsHandler(log, registry), Registry: registry,
		Auth: o.auth, TLS: o.tls, Insecure: o.insecure, Now: o.now,
		Identity: api.Identity{Version: "test", Replica: "a", StartTime: time.Now()}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.server = server
	grpcListener, httpListener := listen(t), listen(t)
	r.address, r.base = grpcListener.Addr().String(), "http://"+httpListener.Addr().String()
	transport := &http.Transport{}
	creds := insecure.NewCredentials()
	if o.tls != nil {
		r.base = "https://" + httpListener.Addr().String()
		transport.TLSClientConfig = o.client
		creds = credentials.NewTLS(o.client)
	}
	r.http = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	r.conn = r.dial(creds)
	server.Start(grpcListener, httpListener)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Stop(ctx)
	})
	return r
}

func (r *rig) dial(creds credentials.TransportCredentials) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(bearer(r.token)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bearer shows a token, over a plain connection too; the empty one shows nothing.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (r *rig) catalog() jv1.CatalogServiceClient { return jv1.NewCatalogServiceClient(r.conn) }

func (r *rig) runbooks() jv1.RunbookServiceClient { return jv1.NewRunbookServiceClient(r.conn) }

func (r *rig) runs() jv1.RunServiceClient { return jv1.NewRunServiceClient(r.conn) }

func (r *rig) continuity() jv1.ContinuityServiceClient { return jv1.NewContinuityServiceClient(r.conn) }

func (r *rig) detectors() jv1.DetectorServiceClient { return jv1.NewDetectorServiceClient(r.conn) }

func (r *rig) admin() jv1.AdminServiceClient { return jv1.NewAdminServiceClient(r.conn) }

// put stores something past the API, and waits until reads see it.
func (r *rig) put(ops ...store.Op) int64 {
	r.t.Helper()
	result, err := r.store.Commit(r.t.Context(), store.Txn{Then: ops})
	if err != nil || !result.Committed {
		r.t.Fatalf("commit: %+v, %v", result, err)
	}
	if err := r.store.WaitRevision(r.t.Context(), result.Revision); err != nil {
		r.t.Fatal(err)
	}
	return result.Revision
}

// answer is what came back over HTTP.
type answer struct {
	code   int
	header http.Header
	body   string
}

func (r *rig) do(method, path, body string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{code: resp.StatusCode, header: resp.Header, body: string(text)}
}

// detail returns the first detail of a kind that a status carries; the zero value when there is none.
func detail[T any](err error) (found T) {
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(T); ok {
			return d
		}
	}
	return found
}

// wants checks code and reason of an error.
func wants(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	if got := status.Code(err); got != code {
		t.Errorf("error %v, want the code %v", err, code)
	}
	if info := detail[*errdetails.ErrorInfo](err); info.GetReason() != reason || info.GetDomain() != "jurymast" {
		t.Errorf("error %v with info %v, want the reason %s", err, info, reason)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// lockedBuffer is a buffer that a logger writes while a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// provider, service, detector, channel and runbook make small resources that refer to each other.
func provider(name string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: name, BaseUrl: "http://127.0.0.1:1/" + name}}}
}

func service(name string, providers ...string) *jv1.Resource {
	s := &jv1.Service{Name: name, Health: &jv1.HealthRule{Failing: &jv1.FailingRule{Agree: 1}}}
	for _, p := range providers {
		s.Providers = append(s.Providers, &jv1.ServiceProvider{Name: p})
	}
	return &jv1.Resource{Kind: &jv1.Resource_Service{Service: s}}
}

func detector(name, service string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: &jv1.Detector{
		Name: name, Service: service, Kind: &jv1.Detector_Http{Http: &jv1.HttpProbe{}},
	}}}
}

func channel(name string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Channel{Channel: &jv1.Channel{Name: name, Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}}}
}

func plan(name, service, to, tell string) *jv1.Runbook {
	return &jv1.Runbook{
		Name: name, Services: []string{service},
		On: &jv1.RunbookOn{Health: jv1.OnHealth_ON_HEALTH_FAILING},
		Steps: []*jv1.Step{
			{Id: "switch", Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{to}}}},
			{Id: "tell", Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{tell}, Template: "outage-handled"}}},
		},
	}
}

func runbook(name, service, to, tell string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: plan(name, service, to, tell)}}
}

// world applies two providers, a service, a detector, a channel and a runbook.
func (r *rig) world() *jv1.ApplyResponse {
	r.t.Helper()
	out, err := r.catalog().Apply(r.t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		runbook("failover", "chat", "beta", "log"), channel("log"), detector("probe", "chat"),
		service("chat", "alpha", "beta"), provider("alpha"), provider("beta"),
	}})
	if err != nil {
		r.t.Fatalf("apply: %v", err)
	}
	return out
}

func actions(results []*jv1.ApplyResult) string {
	var out []string
	for _, r := range results {
		out = append(out, fmt.Sprintf("%s/%s %s", r.GetKind(), r.GetName(), strings.ToLower(strings.TrimPrefix(r.GetAction().String(), "APPLY_ACTION_"))))
	}
	return strings.Join(out, ", ")
}

// backups takes backups that are small and the same each time.
type backups struct{ dir string }

func (b backups) Take(context.Context) (backup.File, error) {
	path := filepath.Join(b.dir, "backup")
	sum := sha256.Sum256([]byte("backup"))
	return backup.File{Path: path, SHA256: hex.EncodeToString(sum[:])}, os.WriteFile(path, []byte("backup"), 0o600)
}
