package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
	"github.com/jurymast/jurymast/cmd/jurymast/cli/clitest"
	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/auth/authtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"jurymast": func() { os.Exit(cli.Main(context.Background(), cli.OperatingSystem("v1.2.0"), extensions()...)) },
	})
}

// TestAgainstServer runs the program against the real server with an etcd of its own.
func TestAgainstServer(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			r := &realServer{options: server.DefaultOptions(filepath.Join(t.TempDir(), "data"))}
			r.options.GRPCListen, r.options.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
			r.options.UnsafeNoFsync, r.options.Version = true, "v1.2.0"
			env.Values["real"] = r
			env.Values["t"] = t
			env.Values["backends"] = &sync.Map{}
			env.Defer(func() { _ = r.stop() })
			// The race detector lets every process sleep for a second at its end, and there are hundreds.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"server": serverCommand, "backend": backendCommand, "eventually": clitest.Eventually, "rc": clitest.ExitStatus, "until": clitest.Until,
		},
	})
}

// realServer is the server of a script.
type realServer struct {
	options server.Options
	running *server.Server
}

func (r *realServer) stop() error {
	if r.running == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := r.running.Stop(ctx)
	r.running = nil
	return err
}

// serverCommand starts and stops the server: `server start`, `server stop`, `server tls`. With tls it wants TLS and
// tokens from its next start on: `$TOKEN_viewer`, `$TOKEN_operator` and `$TOKEN_admin`, with the authority in $CA.
func serverCommand(ts *testscript.TestScript, neg bool, args []string) {
	r := ts.Value("real").(*realServer)
	if neg || len(args) != 1 && (len(args) != 2 || args[0] != "restore") {
		ts.Fatalf("usage: server start|stop|tls|restore FILE")
	}
	switch args[0] {
	case "start":
		var err error
		r.running, err = server.New(r.options)
		ts.Check(err)
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		ts.Check(r.running.Start(ctx))
		// A restarted server is to be found where it was.
		r.options.GRPCListen = r.running.Addrs().GRPC
		ts.Setenv("JURYMAST_SERVER", r.options.GRPCListen)
	case "restore":
		r.options.DataDir = ts.MkAbs("restored")
		_, err := server.Restore(server.RestoreOptions{From: ts.MkAbs(args[1]), DataDir: r.options.DataDir})
		ts.Check(err)
	case "stop":
		ts.Check(r.stop())
	case "tls":
		t := ts.Value("t").(*testing.T)
		ca := authtest.NewCA(t)
		pair := ca.Issue(authtest.Identity{CommonName: "localhost", Server: true})
		r.options.TLS = auth.TLSOptions{CertFile: pair.CertFile, KeyFile: pair.KeyFile}
		r.options.AuthFile = ts.MkAbs("principals.yaml")
		text := "principals:\n"
		for _, role := range []string{"viewer", "operator", "admin"} {
			token := role + "-3fb8a4c6e1d2957083fb8a4c6e1d2957"
			text += "- {name: " + role + ", role: " + role + ", token_sha256: " + auth.HashToken(token) + "}\n"
			ts.Setenv("TOKEN_"+role, token)
		}
		ts.Check(os.WriteFile(r.options.AuthFile, []byte(text), 0o600))
		ts.Setenv("CA", ca.File)
	}
}

// backend is a provider that can be broken.
type backend struct {
	*httptest.Server
	broken atomic.Bool
}

// backendCommand starts, breaks and mends a provider: `backend start VARIABLE`, `backend break VARIABLE`, `backend mend
// VARIABLE`. The variable holds its base URL.
func backendCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: backend start|break|mend VARIABLE")
	}
	all := ts.Value("backends").(*sync.Map)
	if args[0] == "start" {
		b := &backend{}
		b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if b.broken.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(`{"object":"list","data":[{"id":"gpt"}]}`))
		}))
		ts.Defer(b.Close)
		all.Store(args[1], b)
		ts.Setenv(args[1], b.URL)
		return
	}
	v, ok := all.Load(args[1])
	if !ok {
		ts.Fatalf("no backend %s", args[1])
	}
	v.(*backend).broken.Store(args[0] == "break")
}
