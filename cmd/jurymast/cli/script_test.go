package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"jurymast": func() { os.Exit(cli.Main(context.Background(), process())) },
	})
}

// process is the real surroundings, with a version of its own, and the time at which the world stands.
func process() cli.Process {
	p := cli.OperatingSystem()
	p.Version = "v1.2.0"
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
			env.Setenv("WORLD_NOW", w.now.Format(time.RFC3339Nano))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("EXE_DIR", filepath.Dir(os.Args[0]))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"world": worldCommand, "rc": exitCommand, "called": calledCommand, "until": untilCommand, "provider": providerCommand,
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

// exitCommand runs a program and wants an exit status: `rc 4 jurymast switch ...`.
func exitCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: rc STATUS COMMAND...")
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
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

// untilCommand waits until a file has a text that matches a pattern: `until PATTERN FILE`, or until the server was
// called so: `until -call PATTERN`.
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until PATTERN FILE, or until -call PATTERN")
	}
	pattern, look := args[0], func() string {
		b, err := os.ReadFile(ts.MkAbs(args[1]))
		if err != nil {
			return ""
		}
		return string(b)
	}
	if args[0] == "-call" {
		pattern, look = args[1], func() string {
			w := worldOf(ts)
			w.mu.Lock()
			defer w.mu.Unlock()
			return strings.Join(w.calls, "\n")
		}
	}
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	deadline := time.Now().Add(20 * time.Second)
	for {
		text := look()
		if re.MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never came true: %s\nlast: %s", pattern, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
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
