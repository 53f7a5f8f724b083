package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server"
)

// buffer is what a daemon writes while a test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// alone leaves what is global to a process alone: several daemons run in that of the tests.
func alone(hclog.Logger) {}

// running is a daemon under test.
type running struct {
	ready Ready
	code  chan int
	stop  context.CancelFunc
	log   *buffer
}

func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &running{code: make(chan int, 1), stop: cancel, log: &buffer{}}
	out, in := io.Pipe()
	go func() {
		r.code <- run(ctx, args, in, r.log, alone)
		_ = in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, r.log)
	}
	if r.ready, err = ParseReady(line); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return r
}

func (r *running) ended(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(30 * time.Second):
		t.Fatal("the daemon goes on")
	}
	return -1
}

func TestRun(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	supervisor, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer supervisor.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	dir := filepath.Join(t.TempDir(), "a b")
	r := begin(t, "--data-dir", dir, "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--unsafe-no-fsync", "--log-format", "json")
	if r.ready.DataDir != dir {
		t.Errorf("ready %+v", r.ready)
	}
	resp, err := http.Get(r.ready.HTTP + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	conn, err := net.Dial("tcp", r.ready.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	heard := func() string {
		b := make([]byte, 100)
		if err := supervisor.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := supervisor.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := heard(); got != "READY=1" {
		t.Errorf("the supervisor hears %q", got)
	}
	r.stop()
	if code := r.ended(t); code != ExitOK {
		t.Errorf("exit code %d: %s", code, r.log)
	}
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("the supervisor hears %q", got)
	}
	if !strings.HasPrefix(r.log.String(), "{") {
		t.Errorf("not JSON: %.200s", r.log)
	}
}

func TestASecondDaemonOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--data-dir", dir, "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--unsafe-no-fsync", "--log-level", "warn"}
	r := begin(t, args...)
	var out, log bytes.Buffer
	if code := run(t.Context(), args, &out, &log, alone); code != ExitFailed || !strings.Contains(log.String(), "data directory is in use") || out.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, out.String(), log.String())
	}
	r.stop()
	if code := r.ended(t); code != ExitOK {
		t.Errorf("exit code %d: %s", code, r.log)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args []string
		code int
		out  string
		log  string
	}{
		{[]string{"--help"}, ExitOK, "--data-dir", ""},
		{[]string{"--version"}, ExitOK, "jurymastd version", ""},
		{[]string{"--frob"}, ExitUsage, "", "unknown flag"},
		{[]string{"word"}, ExitUsage, "", "unknown command"},
		{[]string{"--data-dir", dir, "--log-level", "loud"}, ExitUsage, "", "unknown log level"},
		{[]string{"--data-dir", dir, "--log-format", "xml"}, ExitUsage, "", "unknown log format"},
		{[]string{"--data-dir", dir, "--http-listen", "0.0.0.0:0"}, ExitUsage, "", "refusing to listen"},
		{[]string{"--data-dir", ""}, ExitUsage, "", "data directory"},
	} {
		var out, log bytes.Buffer
		code := run(t.Context(), test.args, &out, &log, alone)
		if code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(log.String(), test.log) || (code == ExitOK) != (log.Len() == 0) {
			t.Errorf("%v: exit code %d, %q, %q", test.args, code, out.String(), log.String())
		}
	}
	if strings.Contains(usage(t), "unsafe-no-fsync") {
		t.Error("the help offers to lose data")
	}
}

func usage(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &out, io.Discard, alone); code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	return out.String()
}

// TestStoppedBeforeItWasReady stops a daemon that waits for an etcd that isn't there.
func TestStoppedBeforeItWasReady(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var out, log bytes.Buffer
	code := run(ctx, []string{
		"--data-dir", t.TempDir(), "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--etcd-endpoints", "http://" + address,
	}, &out, &log, alone)
	if code != ExitOK || out.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, out.String(), log.String())
	}
}

func TestParseReady(t *testing.T) {
	for _, r := range []Ready{
		{GRPC: "127.0.0.1:7400", HTTP: "http://127.0.0.1:7401", DataDir: "/var/lib/jurymast"},
		{GRPC: "[::1]:7400", HTTP: "https://[::1]:7401", DataDir: "/with blank/and grpc=x http=y"},
	} {
		if got, err := ParseReady(r.String() + "\n"); err != nil || got != r {
			t.Errorf("%q came back as %+v, %v", r, got, err)
		}
	}
	for _, line := range []string{"", "x", readyPrefix, readyPrefix + "grpc=a http=b", readyPrefix + "a b c", readyPrefix + "http=a grpc=b data=c"} {
		if r, err := ParseReady(line); err == nil {
			t.Errorf("%q was taken as %+v", line, r)
		}
	}
}

func TestDefaultDataDir(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/home/a"}, "/home/a/.local/share/jurymast"},
		{map[string]string{"HOME": "/home/a", "XDG_DATA_HOME": "/data"}, "/data/jurymast"},
		{map[string]string{"HOME": "/home/a", "XDG_DATA_HOME": "relative"}, "/home/a/.local/share/jurymast"},
		{map[string]string{"HOME": "/home/a", "STATE_DIRECTORY": "/var/lib/jurymast"}, "/var/lib/jurymast"},
		{map[string]string{"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"},
		{nil, ""},
	} {
		if got := defaultDataDir(func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%v: %q, want %q", test.env, got, test.want)
		}
	}
}

// TestRestoreMakesADataDirectory runs the command that doesn't serve: what it refuses, and that a server starts on what it
// made.
func TestRestoreMakesADataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(file, []byte("no backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no file": {"restore", "--data-dir", t.TempDir()}, "no backup": {"restore", "--from", file, "--data-dir", filepath.Join(t.TempDir(), "d")},
		"a word": {"restore", "now"},
	} {
		if code := Run(t.Context(), args, io.Discard, io.Discard); code != ExitUsage {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	dir := filepath.Join(t.TempDir(), "old")
	o := server.DefaultOptions(dir)
	o.GRPCListen, o.HTTPListen, o.UnsafeNoFsync = "127.0.0.1:0", "127.0.0.1:0", true
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.Addrs().GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := jv1.NewAdminServiceClient(conn).Backup(t.Context(), &jv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for part, err := stream.Recv(); err == nil; part, err = stream.Recv() {
		data = append(data, part.GetData()...)
	}
	if err := errors.Join(os.WriteFile(file, data, 0o600), s.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	restored := filepath.Join(t.TempDir(), "new")
	if code := Run(t.Context(), []string{"restore", "--from", file, "--data-dir", restored}, &out, io.Discard); code != ExitOK || !strings.Contains(out.String(), "restore confirm") {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	if code := Run(t.Context(), []string{"restore", "--from", file, "--data-dir", restored}, io.Discard, io.Discard); code != ExitUsage {
		t.Errorf("into the same directory: exit code %d", code)
	}
	r := begin(t, "--data-dir", restored, "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--unsafe-no-fsync")
	r.stop()
	if code := r.ended(t); code != ExitOK || !strings.Contains(r.log.String(), "only observes") {
		t.Errorf("exit code %d: %s", code, r.log)
	}
}
