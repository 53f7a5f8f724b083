// Package daemon is the body of jurymastd: flags, logger, signals, one server, exit codes. It is a package of its own so
// that other binaries can run the very same daemon in a process of their own.
//
// It promises one line on standard output once the server is ready, see [Ready], and everything else on standard error;
// that it stops in order when its context ends; and the exit codes below. It never decides anything about the server
// beyond its options.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/telemetry"
)

// Exit codes of the daemon.
const (
	// ExitOK: it stopped as it was asked to.
	ExitOK = 0
	// ExitFailed: it could not start, or a part of it ended by itself.
	ExitFailed = 1
	// ExitUsage: the flags or what they name are wrong; starting again would not help.
	ExitUsage = 2
)

// stopTime bounds an orderly stop.
const stopTime = 20 * time.Second

// Run runs the daemon with its arguments, without the program's name, until ctx ends or the server fails, and returns the
// exit code. The process is its own: it takes over what gRPC logs, which is global.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return run(ctx, args, stdout, stderr, func(log hclog.Logger) {
		grpclog.SetLoggerV2(telemetry.NewGRPCLogger(log.Named("grpc")))
	})
}

// run is Run but for what is global, which is left to adopt.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, adopt func(hclog.Logger)) int {
	code := ExitUsage // unless it comes to serving
	cmd := newCommand(func(cmd *cobra.Command, f *flags) (err error) {
		if f.restore.From != "" {
			code, err = f.makeRestored(stdout)
			return err
		}
		code, err = f.serve(cmd.Context(), stdout, stderr, adopt)
		return err
	})
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "jurymastd: %v\n", err)
		return code
	}
	if code == ExitUsage {
		return ExitOK // help or version
	}
	return code
}

// flags are the options as the command line has them.
type flags struct {
	options   server.Options
	logLevel  string
	logFormat string
	// restore is what the command `restore` is asked for.
	restore server.RestoreOptions
	run     func(*cobra.Command, *flags) error
}

func newCommand(run func(*cobra.Command, *flags) error) *cobra.Command {
	f := &flags{options: server.DefaultOptions(defaultDataDir(os.Getenv)), run: run}
	cmd := &cobra.Command{
		Use:   "jurymastd",
		Short: "Runs the Jurymast server",
		Long: `jurymastd notices that a provider is failing, runs the rehearsed runbook, and tells people.

Without flags it runs alone, with an etcd of its own, and is reached from this machine only.

Exit codes: 0 it stopped as it was asked to, 1 it could not start or a part of it ended by itself, 2 the flags or what
they name are wrong.`,
		Args:          cobra.NoArgs,
		Version:       Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd, f) },
	}
	o, set := &f.options, cmd.Flags()
	set.SortFlags = false
	set.StringVar(&o.DataDir, "data-dir", o.DataDir, "where everything is kept; belongs to one process at a time")
	set.StringVar(&o.GRPCListen, "grpc-listen", o.GRPCListen, "address of gRPC, host:port")
	set.StringVar(&o.HTTPListen, "http-listen", o.HTTPListen, "address of JSON, server-sent events, webhooks and metrics, host:port")
	set.StringVar(&o.Replica, "replica", "", "name of this replica; kept in the data directory when not given")
	set.StringSliceVar(&o.Etcd.Endpoints, "etcd-endpoints", nil, "URLs of an external etcd cluster, instead of an etcd of its own")
	set.StringVar(&o.Etcd.CAFile, "etcd-ca", "", "file with the authority of the external etcd's certificates")
	set.StringVar(&o.Etcd.CertFile, "etcd-cert", "", "file with the client certificate for the external etcd")
	set.StringVar(&o.Etcd.KeyFile, "etcd-key", "", "file with the key of that certificate")
	set.StringVar(&o.Etcd.Username, "etcd-username", "", "user name for the external etcd")
	set.StringVar(&o.Etcd.Password, "etcd-password", "", "reference to its password, env:NAME or file:/path")
	set.StringVar(&o.TLS.CertFile, "tls-cert", "", "file with the server's certificate and its chain")
	set.StringVar(&o.TLS.KeyFile, "tls-key", "", "file with the key of that certificate")
	set.StringVar(&o.TLS.ClientCAFile, "client-ca", "", "file with the authorities that sign clients' certificates")
	set.StringVar(&o.AuthFile, "auth-file", "", "file with the principals: who may call, and what")
	set.BoolVar(&o.Insecure, "insecure", false, "listen where others can reach it even without TLS and authentication")
	set.StringSliceVar(&o.Canaries, "canary", nil, "URL that answers whenever this machine's own network works; may be repeated")
	set.DurationVar(&o.SessionTTL, "session-ttl", 10*time.Second, "how long other replicas wait before they take over from a dead one")
	set.DurationVar(&o.BackupEvery, "backup-every", time.Hour, "time between two automatic backups of the etcd of its own; 0: none")
	set.IntVar(&o.BackupKeep, "backup-keep", 24, "how many automatic backups are kept, in the data directory")
	set.StringVar(&f.logLevel, "log-level", "info", "trace, debug, info, warn, error or off")
	set.StringVar(&f.logFormat, "log-format", "text", "text or json")
	set.BoolVar(&o.UnsafeNoFsync, "unsafe-no-fsync", false, "lose acknowledged writes when the machine goes down")
	cmd.AddCommand(newRestoreCommand(f, defaultDataDir(os.Getenv)))
	_ = set.MarkHidden("unsafe-no-fsync") // fails only for a flag that doesn't exist
	return cmd
}

// serve runs the server. An error comes with the code to exit with.
func (f *flags) serve(ctx context.Context, stdout, stderr io.Writer, adopt func(hclog.Logger)) (int, error) {
	level, err := telemetry.ParseLevel(f.logLevel)
	if err != nil {
		return ExitUsage, err
	}
	format, err := telemetry.ParseFormat(f.logFormat)
	if err != nil {
		return ExitUsage, err
	}
	log := telemetry.NewLogger(telemetry.Options{Level: level, Format: format, Output: stderr, Color: true})
	adopt(log)
	o := f.options
	o.Logger, o.Version = log, Version()
	s, err := server.New(o)
	if err != nil {
		return ExitUsage, err
	}
	if o.AuthFile == "" && o.Insecure {
		log.Warn("everybody who can reach this server is an admin: it runs with --insecure and without --auth-file")
	}
	if err := s.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return ExitOK, nil //nolint:nilerr // it was asked to stop before it was ready
		}
		return ExitFailed, err
	}
	addrs := s.Addrs()
	ready := Ready{GRPC: addrs.GRPC, HTTP: "http://" + addrs.HTTP, DataDir: o.DataDir}
	if addrs.TLS {
		ready.HTTP = "https://" + addrs.HTTP
	}
	_, _ = fmt.Fprintln(stdout, ready) // nobody may be listening
	supervisor := notifySupervisor(os.Getenv("NOTIFY_SOCKET"), log)
	supervisor("READY=1")
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case <-s.Done():
	}
	supervisor("STOPPING=1")
	return stop(ctx, s, log)
}

func stop(ctx context.Context, s *server.Server, log hclog.Logger) (int, error) {
	failed := s.Err()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := s.Stop(stopping)
	switch {
	case failed != nil:
		return ExitFailed, failed
	case err != nil:
		log.Warn("did not stop well", telemetry.KeyError, err)
		return ExitFailed, err
	}
	log.Info("stopped")
	return ExitOK, nil
}

// Ready is the line the daemon prints when it is ready.
type Ready struct {
	// GRPC is host:port, HTTP a URL.
	GRPC, HTTP string
	// DataDir is where everything is kept.
	DataDir string
}

const readyPrefix = "jurymastd is ready: "

// String writes the line.
func (r Ready) String() string {
	return fmt.Sprintf("%sgrpc=%s http=%s data=%s", readyPrefix, r.GRPC, r.HTTP, r.DataDir)
}

// ParseReady reads the line; an error when it is another one.
func ParseReady(line string) (Ready, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), readyPrefix)
	fields := strings.SplitN(rest, " ", 3)
	if !ok || len(fields) != 3 {
		return Ready{}, errors.New("not the line of a daemon that is ready")
	}
	var r Ready
	for i, field := range []struct {
		name string
		to   *string
	}{{"grpc=", &r.GRPC}, {"http=", &r.HTTP}, {"data=", &r.DataDir}} {
		if *field.to, ok = strings.CutPrefix(fields[i], field.name); !ok {
			return Ready{}, fmt.Errorf("the line lacks %s", field.name)
		}
	}
	return r, nil
}

// defaultDataDir is the directory a service manager gives, else that of the user's data.
func defaultDataDir(env func(string) string) string {
	if dir, _, _ := strings.Cut(env("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if dir := env("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "jurymast")
	}
	if home := env("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "jurymast")
	}
	return ""
}

// Version is what the binary was built from: a module version, or a commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision + dirty
}
