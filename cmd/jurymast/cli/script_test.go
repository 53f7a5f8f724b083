package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
	"github.com/jurymast/jurymast/cmd/jurymast/cli/clitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"jurymast": func() { os.Exit(cli.Main(context.Background(), process())) },
	})
}

// process is the real surroundings, with a version of its own, and the time at which the world stands.
func process() cli.Process {
	p := cli.OperatingSystem("v1.2.0")
	if at, err := time.Parse(time.RFC3339Nano, os.Getenv("WORLD_NOW")); err == nil {
		p.Now = func() time.Time { return at }
	}
	return p
}

// TestScripts runs the program against a server of which the script decides what it says.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			w := newWorld()
			if err := w.start(); err != nil {
				return err
			}
			env.Defer(w.stop)
			env.Values["world"] = w
			env.Setenv("JURYMAST_SERVER", w.address)
			// The race detector lets every process sleep for a second at its end, and there are hundreds.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("WORLD_NOW", w.now.Format(time.RFC3339Nano))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("EXE_DIR", filepath.Dir(os.Args[0]))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"world": worldCommand, "rc": clitest.ExitStatus, "called": calledCommand, "until": untilCommand, "provider": providerCommand,
		},
	})
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

// worldCommand changes the world:
//
//	world load FILE            merge what a JSON file says
//	world fail METHOD CODE TEXT   let the next call of a method fail
//	world stop | start | stale | fresh
//	world token SECRET         want this token from now on
func worldCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: world load|fail|stop|start|stale|fresh|token")
	}
	switch args[0] {
	case "load":
		ts.Check(w.load([]byte(ts.ReadFile(args[1]))))
	case "fail":
		var code codes.Code
		ts.Check(code.UnmarshalJSON([]byte(strconv.Quote(args[2]))))
		w.mu.Lock()
		w.failures[args[1]] = append(w.failures[args[1]], failure(code, strings.Join(args[3:], " ")))
		w.mu.Unlock()
	case "stop":
		w.stop()
	case "start":
		ts.Check(w.start())
	case "stale", "fresh":
		w.mu.Lock()
		w.stale = args[0] == "stale"
		w.bump()
		w.mu.Unlock()
	case "token":
		w.mu.Lock()
		w.token = args[1]
		w.mu.Unlock()
	default:
		ts.Fatalf("world %s: unknown", args[0])
	}
}

// calledCommand looks for a call that the server got: a pattern over `Method {"field":...}`.
func calledCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	re, err := regexp.Compile(strings.Join(args, " "))
	ts.Check(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if re.MatchString(c) {
			if neg {
				ts.Fatalf("the server was called: %s", c)
			}
			return
		}
	}
	if !neg {
		ts.Fatalf("the server was not called so; it was called:\n%s", strings.Join(w.calls, "\n"))
	}
}

// untilCommand waits until a file matches, `until PATTERN FILE`, or until the server was called so, `until -call PATTERN`.
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || args[0] != "-call" {
		clitest.Until(ts, neg, args)
		return
	}
	w := worldOf(ts)
	clitest.Wait(ts, args[1], func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Join(w.calls, "\n")
	})
}

// providerCommand starts a provider and puts its base URL into a variable: `provider NAME STATUS BODY-FILE|- [KEY]`. With
// a key it answers 401 to everybody who doesn't show it.
func providerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: provider VARIABLE STATUS BODY-FILE|- [KEY]")
	}
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	body := ""
	if args[2] != "-" {
		body = ts.ReadFile(args[2])
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/v1/models":
			rw.WriteHeader(http.StatusNotFound)
		case len(args) == 4 && r.Header.Get("Authorization") != "Bearer "+args[3] && r.Header.Get("api-key") != args[3]:
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			rw.WriteHeader(code)
			fmt.Fprint(rw, body)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL+"/v1")
}
