package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server/api"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/backup"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/credential"
	"github.com/jurymast/jurymast/server/detect"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/retention"
	"github.com/jurymast/jurymast/server/schedule"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// Server is one replica of Jurymast. Its methods are safe for concurrent use.
type Server struct {
	options Options
	log     hclog.Logger
	auth    *auth.Authenticator
	tls     *auth.TLS // nil: plain

	mu      sync.Mutex
	cleanup *cleanup
	addrs   Addrs
	started bool

	done    chan struct{}
	endOnce sync.Once
	err     error
}

// Addrs are the addresses a server listens on.
type Addrs struct {
	// GRPC and HTTP are host:port.
	GRPC, HTTP string
	// TLS says that both speak it.
	TLS bool
}

// New checks the options and reads the files they name. Errors wrap ErrOptions, or say which file is wrong.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{options: o, log: o.Logger, done: make(chan struct{}), cleanup: &cleanup{log: o.Logger}}
	var err error
	if s.auth, err = auth.New(auth.Options{File: o.AuthFile, Now: o.Now, Log: o.Logger.Named("auth")}); err != nil {
		return nil, err
	}
	if o.TLS.Enabled() {
		o.TLS.Now, o.TLS.Log = o.Now, o.Logger.Named("tls")
		if s.tls, err = auth.NewTLS(o.TLS); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Start runs the server and returns when it is ready: the store is heard, everything works, the listeners answer. ctx
// bounds the start alone. When it fails, everything is undone before it returns. Call it once.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errors.New("start: started before")
	}
	s.started = true
	if err := s.setup(ctx); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		err = errors.Join(err, s.cleanup.run(undo))
		s.end(err)
		return err
	}
	return nil
}

// undoTime bounds the undoing of a start that failed.
const undoTime = 15 * time.Second

// Stop ends calls and streams, gives the session back, and closes everything until ctx ends. Safe to call twice.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	err := s.cleanup.run(ctx)
	s.end(nil)
	return err
}

// Addrs returns where the server listens, once it has started.
func (s *Server) Addrs() Addrs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs
}

// Done is closed when the server has stopped, or must be stopped because a part of it ended by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why Done is closed; nil after an orderly Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

func (s *Server) end(err error) {
	s.endOnce.Do(func() {
		s.err = err
		close(s.done)
	})
}

// fail ends the server because a part of it did.
func (s *Server) fail(part string, err error) {
	select {
	case <-s.done:
		return
	default:
	}
	s.log.Error("a part ended by itself; the server stops", "part", part, telemetry.KeyError, err)
	s.end(fmt.Errorf("%s ended: %w", part, err))
}

// setup is the composition root: what is made, in the order in which it depends on each other. It is one piece on
// purpose; taking it apart would only hand a wide set of variables from helper to helper.
func (s *Server) setup(ctx context.Context) error { //nolint:funlen // the composition root, see above
	o, log := s.options, s.log
	began := o.Now()

	lock, err := etcdnode.LockDir(o.DataDir)
	if err != nil {
		return err
	}
	s.cleanup.onStop("data directory", func(context.Context) error { return lock.Release() })
	grpcListener, err := listen(o.GRPCListen)
	if err != nil {
		return fmt.Errorf("listen for gRPC: %w", err)
	}
	s.cleanup.onStop("gRPC listener", closing(grpcListener))
	httpListener, err := listen(o.HTTPListen)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	s.cleanup.onStop("HTTP listener", closing(httpListener))
	s.addrs = Addrs{GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String(), TLS: s.tls != nil}

	registry := telemetry.NewRegistry()
	gatherers := []prometheus.Gatherer{registry}

	// The store: an etcd of our own, or somebody else's.
	var backend store.Backend
	var source backup.Source
	if o.Etcd.external() {
		etcd, err := s.dialEtcd()
		if err != nil {
			return err
		}
		backend, source = etcd, etcd
		s.cleanup.onStop("etcd client", func(context.Context) error { return backend.Close() })
	} else {
		node, err := etcdnode.Start(ctx, etcdnode.Options{
			DataDir: filepath.Join(lock.Dir(), etcdDir), Logger: log.Named("etcd"), UnsafeNoFsync: o.UnsafeNoFsync,
		})
		if err != nil {
			return err
		}
		s.cleanup.onStop("embedded etcd", func(context.Context) error { return node.Close() })
		etcd := store.NewEtcd(store.EtcdOptions{Client: node.Client()})
		guard := newRoomy(etcd)
		backend, source = guard, etcd
		s.cleanup.onStop("etcd backend", func(context.Context) error { return etcd.Close() })
		s.background("space guard", func(ctx context.Context) error { return guard.watchSpace(ctx, node.Space, log.Named("space")) })
		s.background("embedded etcd", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-node.Done():
				return errors.Join(node.Err(), errEnded)
			}
		})
		gatherers = append(gatherers, telemetry.OnlyPrefixes(prometheus.DefaultGatherer, "etcd_"))
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	replica, err := replicaName(lock.Dir(), o.Replica, host)
	if err != nil {
		return err
	}
	restored, err := knownRestore(lock.Dir())
	if err != nil {
		return err
	}
	st := store.New(store.Options{
		Backend: backend, Logger: log.Named("store"), Now: o.Now, Replica: replica,
		SeenFile: filepath.Join(lock.Dir(), seenFile), Restored: restored,
	})
	s.cleanup.onStop("store", func(context.Context) error { st.Close(); return nil })

	// The parts. Nothing works before the store has started.
	keeper := store.NewKeeper(st, store.SessionOptions{
		Replica: replica, Version: o.Version, TTL: o.SessionTTL,
		DeletePredecessors: true, // we hold the lock of the directory that the name stands in
	})
	var runs *engine.Engine // made below; nothing is probed before
	detection, err := detect.New(detect.Options{
		Store: st, Keeper: keeper, Replica: replica, Logger: log.Named("detect"), Canaries: o.Canaries, Now: o.Now,
		Authorize: s.mayReport, Registerer: registry, Probed: func(services []string) { runs.Wake(services) },
	})
	if err != nil {
		return err
	}
	runs = engine.New(engine.Options{
		Store: st, Sessions: keeper.Acting(), Logger: log.Named("engine"), Now: o.Now, Registerer: registry,
		Kinds: steps.New(steps.Options{Probes: detection, Client: steps.NewClient()}),
	})
	deliverer, err := notify.New(notify.Options{
		Store: st, Sessions: keeper.Acting(), Logger: log.Named("notify"), Now: o.Now, Registry: registry,
	})
	if err != nil {
		return err
	}
	emergency, err := notify.NewEmergency(notify.EmergencyOptions{
		Store: st, Path: filepath.Join(lock.Dir(), "emergency.json"), Replica: replica, Logger: log.Named("emergency"), Now: o.Now,
	})
	if err != nil {
		return err
	}
	backups, err := backup.New(backup.Options{
		Store: st, Source: source, Dir: filepath.Join(lock.Dir(), backupDir), Replica: replica, Every: o.backupEvery(), Keep: o.BackupKeep,
		Logger: log.Named("backup"), Now: o.Now, Registerer: registry,
	})
	if err != nil {
		return err
	}
	desk := continuity.NewDesk(st, o.Now)
	tidy := retention.New(retention.Options{
		Store: st, Logger: log.Named("retention"), Now: o.Now, Registerer: registry,
		Allowed: func() bool { _, observing := st.ObserveOnly(); return !observing },
	})
	timely := schedule.New(schedule.Options{Store: st, Sessions: keeper.Acting(), Logger: log.Named("schedule"), Now: o.Now, Registerer: registry})
	front, err := api.New(api.Options{
		Store: st, Runs: runs, Triggers: runs, Planner: runs, Continuity: desk, Automation: desk, Signals: detection, Backups: backups,
		Restores: &backup.Confirmer{Store: st, Runs: runs, Outbox: notify.Restored{Store: st, Now: o.Now}, Now: o.Now},
		Errors:   knownErrors(), Present: continuity.Present, PresentRoute: continuity.PresentRoute, Webhooks: detection.Handler(),
		Metrics:  telemetry.MetricsHandler(log.Named("metrics"), gatherers...),
		Registry: registry, Auth: s.auth, TLS: s.tls, Insecure: o.Insecure, Now: o.Now, Log: log.Named("api"),
		Identity: api.Identity{Version: o.Version, Replica: replica, EmbeddedStore: !o.Etcd.external(), StartTime: began},
	})
	if err != nil {
		return err
	}

	// It answers before the store is heard, that it is not ready: a supervisor wants to know that it lives.
	front.Start(grpcListener, httpListener)
	s.cleanup.onStop("API", func(ctx context.Context) error { front.Stop(ctx); return nil })
	if err := st.Start(ctx); err != nil {
		return err
	}
	if err := forgetRestore(st, lock.Dir()); err != nil {
		return err
	}
	s.background("session", keeper.Run)
	s.background("backups", backups.Run)
	s.background("emergency", emergency.Run)
	s.background("notifications", deliverer.Run)
	s.background("detection", detection.Run)
	s.background("engine", runs.Run)
	s.background("schedules", timely.Run)
	s.background("retention", tidy.Run)
	s.background("API", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-front.Failed():
			return err
		}
	})
	// Clients are sent away first, while everything they may have asked for still works.
	s.cleanup.onStop("API", func(ctx context.Context) error { front.Stop(ctx); return nil })
	session, err := keeper.Wait(ctx)
	if err != nil {
		return fmt.Errorf("wait for the session: %w", err)
	}
	if err := st.WaitRevision(ctx, session.Token); err != nil {
		return err
	}
	log.Info("ready", telemetry.KeyReplica, replica, "grpc", s.addrs.GRPC, "http", s.addrs.HTTP, telemetry.KeyTook, o.Now().Sub(began))
	return nil
}

// errEnded says that a part ended without being asked, and without saying why.
var errEnded = errors.New("it was not asked to")

// background runs a part until the server stops. One that ends before ends the server.
func (s *Server) background(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := run(ctx)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrClosed) {
				s.log.Warn("a part did not end well", "part", name, telemetry.KeyError, err)
			}
			return
		}
		if err == nil {
			err = errEnded
		}
		s.fail(name, err)
	}()
	s.cleanup.onStop(name, func(stop context.Context) error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-stop.Done():
			return stop.Err()
		}
	})
}

// dialEtcd returns a backend on the external cluster.
func (s *Server) dialEtcd() (*store.Etcd, error) {
	o := s.options.Etcd
	tlsConfig, err := o.tls()
	if err != nil {
		return nil, err
	}
	password, err := credential.Resolve(o.Password)
	if err != nil {
		return nil, fmt.Errorf("password for etcd: %w", err)
	}
	return store.DialEtcd(store.DialOptions{
		Endpoints: o.Endpoints, TLS: tlsConfig, Username: o.Username, Password: password, Logger: s.log.Named("etcd-client"),
	})
}

// mayReport lets operators post signals to detectors that have no secret of their own.
func (s *Server) mayReport(r *http.Request) error {
	who, err := s.auth.Request(r)
	if err != nil {
		return err
	}
	if !who.Role.Covers(auth.Operator) {
		return fmt.Errorf("posting signals needs the role %v, and %s is %v", auth.Operator, who.Name, who.Role)
	}
	return nil
}

// knownErrors says how the errors of engine and detect are shown.
func knownErrors() []api.Known {
	return []api.Known{
		{Err: engine.ErrNotFound, Class: api.NotFound},
		{Err: engine.ErrRevision, Class: api.Changed},
		{Err: engine.ErrNotPossible, Class: api.NotPossible},
		{Err: engine.ErrInvalid, Class: api.Invalid},
		{Err: engine.ErrForbidden, Class: api.Forbidden},
		{Err: engine.ErrBusy, Class: api.Busy},
		{Err: engine.ErrNoSession, Class: api.Later},
		{Err: detect.ErrUnknownSource, Class: api.NotFound},
		{Err: detect.ErrNotFound, Class: api.NotFound},
		{Err: detect.ErrNotBound, Class: api.Forbidden},
		{Err: detect.ErrInvalid, Class: api.Invalid},
		{Err: detect.ErrUnavailable, Class: api.Later},
	}
}

func listen(addr string) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(context.Background(), "tcp", addr)
}

// closing closes a listener; one that was closed before is fine.
func closing(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
