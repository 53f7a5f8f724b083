package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// maxMessage is the largest request: a transaction takes 1 MiB, and JSON is larger than proto.
	maxMessage = 2 << 20
	// maxAnswer is the largest answer the HTTP side takes from the in-process server.
	maxAnswer = 32 << 20
	// maxStreams bounds the calls and streams of one connection.
	maxStreams = 4096
	// maxHeaders bounds the headers of an HTTP request.
	maxHeaders = 32 << 10
	// drainTime is how long calls may take to end once the server stops.
	drainTime = 5 * time.Second
)

// Options are the parts that the API serves, and how.
type Options struct {
	// Store is what reads come from; started.
	Store *store.Store
	// Runs is the engine's side for humans.
	Runs Runs
	// Triggers is the engine's side for causes.
	Triggers Triggers
	// Planner tells what a run would do.
	Planner Planner
	// Continuity carries commands about a service out.
	Continuity Continuity
	// Automation switches the machines.
	Automation Automation
	// Signals is detect's side.
	Signals Signals
	// Backups takes backups. Nil: none can be taken.
	Backups Backups
	// Restores carries out what a human confirms after a restore.
	Restores Restores
	// Errors says how the errors of these are shown; one that is not named is an internal error.
	Errors []Known
	// Present derives the state of a service as people see it; nil when there is none.
	Present func(v store.View, service string, now time.Time) *jv1.ContinuityState
	// PresentRoute is Present without who has it in force, for those who follow the route.
	PresentRoute func(v store.View, service string) *jv1.ContinuityState
	// Webhooks serves /v1/signals/ and /v1/webhooks/ and decides by itself who may post there. Nil: nothing does.
	Webhooks http.Handler
	// Metrics serves /metrics. Nil: nothing does.
	Metrics http.Handler
	// Registry takes the API's own metrics.
	Registry prometheus.Registerer
	// Auth recognises callers.
	Auth *auth.Authenticator
	// TLS guards both listeners; nil: plain.
	TLS *auth.TLS
	// Insecure: the operator insists on listeners that others can reach without authentication.
	Insecure bool
	// Identity says which process this is.
	Identity Identity
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log receives calls and what goes wrong. Nil: nothing.
	Log hclog.Logger
}

// Server serves the API. Start it once and stop it once.
type Server struct {
	options Options
	log     hclog.Logger
	common  *common
	errors  translator
	json    *jsonCodec

	grpc    *grpc.Server // for others
	inner   *grpc.Server // for the HTTP side, in process
	pipe    *bufconn.Listener
	dial    *grpc.ClientConn
	http    *http.Server
	health  *health.Server
	cancel  context.CancelFunc
	loops   sync.WaitGroup
	failed  chan error
	stopped sync.Once
}

// New builds a server that serves nobody yet.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	metrics, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the API's metrics: %w", err)
	}
	s := &Server{options: o, log: o.Log, errors: o.Errors, json: newJSONCodec(), health: health.NewServer(), failed: make(chan error, 2)}
	s.common = &common{store: o.Store, now: o.Now, log: o.Log, signals: newSignals(o.Store, o.Now, s.setHealth)}

	build := func(transport string, identify func(context.Context) (auth.Principal, error), more ...grpc.ServerOption) *grpc.Server {
		a := &around{
			identify: identify, freshness: o.Store.Freshness, observing: o.Store.ObserveOnly, now: o.Now, log: o.Log, errors: o.Errors,
			metrics: &callMetrics{metrics: metrics, transport: transport},
		}
		return grpc.NewServer(append(a.options(), append(more, limits()...)...)...)
	}
	var guarded []grpc.ServerOption
	if o.TLS != nil {
		guarded = append(guarded, grpc.Creds(credentials.NewTLS(o.TLS.Config("h2"))))
	}
	s.grpc = build("grpc", fromPeer(o.Auth), guarded...)
	s.inner = build("http", handed)
	s.register(s.grpc)
	s.register(s.inner)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	if err := s.prepareHTTP(); err != nil {
		return nil, err
	}
	return s, nil
}

func limits() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
}

func (s *Server) register(to grpc.ServiceRegistrar) {
	o := s.options
	jv1.RegisterCatalogServiceServer(to, &catalogService{common: s.common})
	jv1.RegisterRunbookServiceServer(to, &runbookService{common: s.common, planner: o.Planner})
	jv1.RegisterRunServiceServer(to, &runService{common: s.common, runs: o.Runs})
	jv1.RegisterContinuityServiceServer(to, &continuityService{common: s.common, desk: o.Continuity, states: &presenter{
		store: o.Store, present: o.Present, route: o.PresentRoute, now: o.Now, shared: map[presentedKey]presented{},
	}})
	jv1.RegisterDetectorServiceServer(to, &detectorService{common: s.common, evidence: o.Signals, triggers: o.Triggers})
	jv1.RegisterIncidentServiceServer(to, &incidentService{common: s.common})
	jv1.RegisterAdminServiceServer(to, &adminService{common: s.common, identity: o.Identity, automation: o.Automation, backups: o.Backups, restores: o.Restores})
}

// prepareHTTP connects the HTTP side to the in-process server.
func (s *Server) prepareHTTP() error {
	s.pipe = bufconn.Listen(1 << 20)
	dial, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.pipe.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	)
	if err != nil {
		return fmt.Errorf("connect the HTTP side: %w", err)
	}
	s.dial = dial
	mux, err := s.newGateway()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := errors.Join(
		jv1.RegisterCatalogServiceHandlerClient(ctx, mux, jv1.NewCatalogServiceClient(dial)),
		jv1.RegisterRunbookServiceHandlerClient(ctx, mux, jv1.NewRunbookServiceClient(dial)),
		jv1.RegisterRunServiceHandlerClient(ctx, mux, jv1.NewRunServiceClient(dial)),
		jv1.RegisterContinuityServiceHandlerClient(ctx, mux, jv1.NewContinuityServiceClient(dial)),
		jv1.RegisterDetectorServiceHandlerClient(ctx, mux, jv1.NewDetectorServiceClient(dial)),
		jv1.RegisterIncidentServiceHandlerClient(ctx, mux, jv1.NewIncidentServiceClient(dial)),
		jv1.RegisterAdminServiceHandlerClient(ctx, mux, jv1.NewAdminServiceClient(dial)),
	); err != nil {
		return fmt.Errorf("register the HTTP side: %w", err)
	}
	s.http = &http.Server{
		Handler: s.routes(events(mux)), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: maxHeaders,
		// Handshakes that failed and clients that broke off: nothing to wake anybody for.
		ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	if s.options.TLS != nil {
		s.http.TLSConfig = s.options.TLS.Config("h2", "http/1.1")
	}
	return nil
}

// Start serves on the listeners, which it closes when it stops. A listener that fails by itself is told by Failed.
func (s *Server) Start(grpcListener, httpListener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.loops.Go(func() { s.common.signals.run(ctx) })
	s.serve("in-process", func() error { return s.inner.Serve(s.pipe) })
	s.serve("gRPC", func() error { return s.grpc.Serve(grpcListener) })
	s.serve("HTTP", func() error {
		if s.options.TLS != nil {
			return s.http.ServeTLS(httpListener, "", "")
		}
		return s.http.Serve(httpListener)
	})
}

func (s *Server) serve(what string, serve func() error) {
	s.loops.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			select {
			case s.failed <- fmt.Errorf("the %s listener failed: %w", what, err):
			default:
			}
		}
	})
}

// Failed tells of a listener that stopped without being asked to.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop ends all streams with UNAVAILABLE, lets calls under way end, and closes the listeners, until ctx ends: then what
// is still open is cut. Safe to call twice, and without Start.
func (s *Server) Stop(ctx context.Context) {
	s.stopped.Do(func() {
		s.health.Shutdown()
		s.common.signals.stop()
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.log.Warn("HTTP requests were cut off", telemetry.KeyError, err)
			_ = s.http.Close() // nothing more can be done about it
		}
		stopGRPC(ctx, s.grpc)
		stopGRPC(ctx, s.inner)
		_ = s.dial.Close() // its server is gone already
		if s.cancel != nil {
			s.cancel()
		}
		s.loops.Wait()
	})
}

// stopGRPC lets calls end until ctx ends, then cuts them.
func stopGRPC(ctx context.Context, g *grpc.Server) {
	defer context.AfterFunc(ctx, g.Stop)()
	g.GracefulStop()
}

// setHealth tells health checks whether the store answers.
func (s *Server) setHealth(live bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if live {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, state)
	}
}

// hidden logs an error that is our own fault and returns what a client may see of it.
func (s *Server) hidden(err error) *status.Status {
	id := store.NewID("e", s.options.Now())
	s.log.Error("an HTTP request failed by our own fault", "id", id, telemetry.KeyError, err)
	return internal(id)
}
