package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jurymast/jurymast/client"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Options configures the demo.
type Options struct {
	// Out takes the timeline, and the result when JSON is set.
	Out io.Writer
	// Color asks for colours in the timeline.
	Color bool
	// JSON prints only the result, as one JSON object.
	JSON bool
	// Keep leaves everything running at the end, until ctx ends.
	Keep bool
	// Daemon makes the command that runs the server with further arguments. Nil: this program's own `daemon` command.
	Daemon func(args ...string) *exec.Cmd
}

// limit bounds the whole show.
const limit = 60 * time.Second

// show is one performance.
type show struct {
	o      Options
	line   *timeline
	dir    string
	first  *provider
	second *provider
	daemon *daemon
	conn   *grpc.ClientConn
	client *client.Client
	app    *app
	pic    *picture
	result Result

	mu      sync.Mutex
	inForce map[string]time.Time // provider to when the application had it as its route last
	epoch   int64                // in force at the application

	closers []func()
}

// Run performs the demo. The error says what did not happen; it is nil only when everything did.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Daemon == nil {
		o.Daemon = self
	}
	out := o.Out
	if o.JSON {
		out = io.Discard
	}
	s := &show{o: o, line: &timeline{out: out, color: o.Color && !o.JSON, begin: time.Now()}, inForce: map[string]time.Time{}}
	defer s.close()
	err := s.perform(ctx)
	if err != nil {
		s.result.Problems = append(s.result.Problems, err.Error())
	}
	s.finish()
	if err == nil && o.Keep {
		s.keep(ctx)
	}
	return s.result, err
}

func (s *show) onClose(f func()) { s.closers = append(s.closers, f) }

func (s *show) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

func (s *show) perform(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	s.onClose(cancel)
	if err := s.setUp(ctx); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{s.calm, s.hang, s.killServer, s.breakStandby, s.recover} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// setUp starts providers, server and application.
func (s *show) setUp(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "jurymast-demo-"); err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	s.onClose(func() { _ = os.RemoveAll(s.dir) })
	for _, p := range []struct {
		name string
		at   **provider
	}{{primary, &s.first}, {standby, &s.second}} {
		if *p.at, err = startProvider(p.name); err != nil {
			return err
		}
		s.onClose((*p.at).stop)
	}
	if s.daemon, err = newDaemon(s.o.Daemon, s.dir); err != nil {
		return err
	}
	s.onClose(s.daemon.stop)
	s.line.plain("Jurymast demo: the real server with its embedded etcd, 2 local providers, 1 application with %d requests/s through the SDK", rate)
	s.line.plain("Timings for people who watch: probe 0.5s, failing after 1s, recovered after 3s (defaults: 15s, 15s, 30m)")
	s.line.plain("")
	if err := s.daemon.start(ctx); err != nil {
		return err
	}
	s.conn, err = grpc.NewClient(s.daemon.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(fastReconnect))
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	s.onClose(func() { _ = s.conn.Close() })
	resources, err := catalog(s.first, s.second)
	if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	}
	if _, err := jv1.NewCatalogServiceClient(s.conn).Apply(ctx, &jv1.ApplyRequest{Resources: resources}); err != nil {
		return fmt.Errorf("apply the catalog: %w", err)
	}
	return s.startApplication(ctx)
}

// startApplication follows the route as an application does, and what the server says as a person would.
func (s *show) startApplication(ctx context.Context) (err error) {
	s.client, err = client.New(client.Options{
		Addresses: []string{s.daemon.grpc}, Services: []string{"chat"}, CacheDir: filepath.Join(s.dir, "app"), Subscriber: "demo-app",
		Insecure: true, MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, OnChange: s.changed,
		Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		return fmt.Errorf("make the SDK's client: %w", err)
	}
	if err := s.client.Start(ctx); err != nil {
		return fmt.Errorf("start the SDK's client: %w", err)
	}
	s.onClose(func() { _ = s.client.Close() })
	s.pic = newPicture(s.line, s.conn)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	s.onClose(func() { stop(); wg.Wait() })
	s.pic.follow(watching, &wg)
	if err := s.pic.until(ctx, func() bool {
		return s.is(primary, jv1.HealthState_HEALTH_STATE_HEALTHY) && s.is(standby, jv1.HealthState_HEALTH_STATE_HEALTHY)
	}); err != nil {
		return fmt.Errorf("the providers were not judged healthy: %w", err)
	}
	if err := s.client.WaitLive(ctx, "chat"); err != nil {
		return fmt.Errorf("the application got no route: %w", err)
	}
	s.app = newApp(func() (client.State, bool) { return s.client.State("chat") }, s.first, s.second)
	sending, halt := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { s.app.run(sending) })
	s.onClose(func() { halt(); done.Wait() })
	return nil
}

// changed is told by the SDK when a route is in force in the application.
func (s *show) changed(_ string, st client.State, ok bool) error {
	if ok {
		s.mu.Lock()
		s.inForce[st.GetActiveProvider()] = time.Now()
		news := st.GetEpoch() != s.epoch
		s.epoch = st.GetEpoch()
		s.mu.Unlock()
		if news {
			s.line.say("route", "epoch %d in force at the application: %s", st.GetEpoch(), st.GetActiveProvider())
		}
	}
	return nil
}

func (s *show) since(provider string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inForce[provider]
}

// is tells the judged health; the picture's lock is held.
func (s *show) is(provider string, h jv1.HealthState) bool {
	return s.pic.health[provider].GetState() == h
}

// finish prints what was measured.
func (s *show) finish() {
	c := counts{}
	if s.app != nil {
		c = s.app.counts()
	}
	r := &s.result
	r.RequestsTotal, r.RequestsFailed, r.RequestsHeld, r.OutageSeenByClientMS = c.total, c.failed, c.late, ms(c.outage)
	r.TotalMS = ms(time.Since(s.line.begin))
	if s.o.JSON {
		enc := json.NewEncoder(s.o.Out)
		_ = enc.Encode(r)
		return
	}
	r.print(s.line, c)
}

// keep leaves the stage to the audience.
func (s *show) keep(ctx context.Context) {
	s.line.plain("")
	s.line.plain("Everything keeps running. In another terminal:  export JURYMAST_SERVER=%s   then  jurymast status", s.daemon.grpc)
	s.line.plain("JSON: curl -s http://%s/v1/continuity    Break it yourself: kill -9 %d (then start the demo again). Ctrl-C ends it.", s.daemon.http, s.daemon.pid())
	<-ctx.Done()
}
