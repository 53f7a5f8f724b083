package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// process is the real daemon as a child process that is killed and started again on the same data.
type process struct {
	t    *testing.T
	path string
	dir  string
	addr string
	web  string
	cmd  *exec.Cmd
	log  *tail
	conn *grpc.ClientConn
}

func newProcess(t *testing.T) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir(), path: filepath.Join(t.TempDir(), "jurymastd")}
	build := exec.Command("go", "build", "-o", p.path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, addr := range []*string{&p.addr, &p.web} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = ln.Addr().String()
		_ = ln.Close()
	}
	// The client must find the daemon as soon as it is back, or its patience is measured.
	soon := backoff.Config{BaseDelay: 2 * time.Millisecond, Multiplier: 1.2, MaxDelay: 10 * time.Millisecond}
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() {
		_ = conn.Close()
		p.kill()
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.log = &tail{}
	p.cmd = exec.Command(p.path, "--data-dir", p.dir, "--grpc-listen", p.addr, "--http-listen", p.web)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		res, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil && res.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return
		}
		time.Sleep(time.Millisecond)
	}
	p.kill()
	p.t.Fatalf("the daemon did not come to serve:\n%s", p.log.String())
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if len(w.text) > 1<<20 {
		w.text = append([]byte(nil), w.text[len(w.text)-1<<19:]...)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// receiver honours idempotency keys and remembers how often each was shown.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	shown map[string]int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{shown: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.shown[req.Header.Get("Idempotency-Key")]++
		r.mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
	}))
	t.Cleanup(r.Close)
	return r
}

// killCampaign starts runs of three outside calls and a switch while the daemon is killed at random moments. Every
// accepted run must end well, no request may start two runs, no completed step may be repeated.
func killCampaign(t *testing.T, kills int) {
	p, sink := newProcess(t), newReceiver(t)
	p.start()
	p.catalog(sink.URL)
	accepted := map[string]string{} // request id to run
	begin := time.Now()
	var down time.Duration
	for k := range kills {
		stop := time.Now().Add(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		for n := 0; time.Now().Before(stop); n++ {
			id := fmt.Sprintf("req-%d-%d", k, n)
			if run := p.request(id); run != "" {
				accepted[id] = run
			}
			if n%3 == 2 {
				p.wait(accepted[id], stop)
			}
		}
		p.kill()
		at := time.Now()
		p.start()
		down += time.Since(at)
	}
	for id, run := range accepted {
		if got := p.end(run); got.GetState() != jv1.RunState_RUN_STATE_SUCCEEDED {
			t.Errorf("request %s: run %s ended %v: %s", id, run, got.GetState(), got.GetOutcome())
		}
		if again := p.request(id); again != run {
			t.Errorf("request %s started run %s, and asked again %s", id, run, again)
		}
	}
	repeated := 0
	sink.mu.Lock()
	for key, n := range sink.shown {
		if n > 1 {
			repeated += n - 1
		}
		if n > 1+kills {
			t.Errorf("%s was shown %d times", key, n)
		}
	}
	for _, run := range accepted {
		for _, step := range []string{"one", "two", "three"} {
			if sink.shown[run+"."+step] == 0 {
				t.Errorf("step %s of run %s never reached the receiver", step, run)
			}
		}
	}
	sink.mu.Unlock()
	if repeated > kills {
		t.Errorf("%d calls were repeated in %d kills: only the one in flight may be", repeated, kills)
	}
	if len(accepted) < kills {
		t.Errorf("only %d runs were accepted: too little traffic to prove anything", len(accepted))
	}
	t.Logf("%d kills, %d runs accepted, 0 lost, %d calls in flight repeated with their key; %v in all, back after %v on average",
		kills, len(accepted), repeated, time.Since(begin).Round(time.Second), (down / time.Duration(kills)).Round(time.Millisecond))
}

// catalog applies two services with a provider each, and a runbook of three calls.
func (p *process) catalog(sink string) {
	p.t.Helper()
	book := &jv1.Runbook{Name: "calls", Services: []string{"chat"}}
	for _, id := range []string{"one", "two", "three"} {
		book.Steps = append(book.Steps, &jv1.Step{Id: id, Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{
			Url: sink + "/" + id, Repeat: jv1.Repeatability_REPEATABILITY_IDEMPOTENT,
		}}})
	}
	_, err := jv1.NewCatalogServiceClient(p.conn).Apply(p.t.Context(), &jv1.ApplyRequest{Resources: []*jv1.Resource{
		{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: "only", BaseUrl: sink}}},
		{Kind: &jv1.Resource_Service{Service: &jv1.Service{Name: "chat", Providers: []*jv1.ServiceProvider{{Name: "only"}}}}},
		{Kind: &jv1.Resource_Runbook{Runbook: book}},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
}

// request asks for a run; it returns its name when it was accepted.
func (p *process) request(id string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	run, err := jv1.NewRunServiceClient(p.conn).StartRun(ctx, &jv1.StartRunRequest{Runbook: "calls", Reason: "campaign", RequestId: id})
	switch status.Code(err) {
	case codes.OK:
		return run.GetName()
	case codes.FailedPrecondition, codes.Unavailable: // another run acts on the service, or the daemon is going
		time.Sleep(time.Millisecond)
		return ""
	default:
		p.t.Fatalf("start: %v", err)
		return ""
	}
}

// wait gives a run time to end, so that kills fall into all its parts.
func (p *process) wait(run string, until time.Time) {
	for run != "" && time.Now().Before(until) {
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		got, err := jv1.NewRunServiceClient(p.conn).GetRun(ctx, &jv1.GetRunRequest{Name: run})
		cancel()
		if err != nil || got.GetEndTime() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// end waits for a run's end.
func (p *process) end(run string) *jv1.Run {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		got, err := jv1.NewRunServiceClient(p.conn).GetRun(p.t.Context(), &jv1.GetRunRequest{Name: run})
		if err != nil {
			p.t.Fatalf("run %s: %v", run, err)
		}
		if got.GetEndTime() != nil {
			return got
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.t.Fatalf("run %s did not end:\n%s", run, lastLines(p.log.String()))
	return nil
}

func lastLines(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func TestKillTheDaemon(t *testing.T) {
	if _, err := os.Stat("main.go"); err != nil {
		t.Fatal(err)
	}
	killCampaign(t, 8)
}
