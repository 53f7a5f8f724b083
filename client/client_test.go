package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/client"
	"github.com/jurymast/jurymast/client/clienttest"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func state(service, provider string, epoch int64) *jv1.ContinuityState {
	return &jv1.ContinuityState{Service: service, ActiveProvider: provider, Epoch: epoch, Phase: jv1.Phase_PHASE_NORMAL}
}

// options are those of a client that tries again quickly and logs into the test.
func options(t *testing.T, addresses ...string) client.Options {
	return client.Options{
		Addresses: addresses, Subscriber: "app-1", Logger: testLog(t),
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, SilenceTimeout: 5 * time.Second,
	}
}

func testLog(t *testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: logWriter{t}, DisableTime: true})
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func start(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually waits for a condition that something else brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func routeIs(c *client.Client, service, provider string) func() bool {
	return func() bool {
		s, ok := c.State(service)
		return ok && s.GetActiveProvider() == provider
	}
}

func waitLive(t *testing.T, c *client.Client, services ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.WaitLive(ctx, services...); err != nil {
		t.Fatal(err)
	}
}

func TestFollowsChanges(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	server.Put(state("video", "studio", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat", "video")

	if s, ok := c.State("chat"); !ok || s.GetActiveProvider() != "primary" || !s.Live || s.Age > time.Second {
		t.Errorf("state is %+v, %t", s, ok)
	}
	if _, ok := c.State("nothing"); ok {
		t.Error("a service nobody heard of has a state")
	}
	server.Put(state("chat", "standby", 2))
	eventually(t, "the switch is seen", routeIs(c, "chat", "standby"))
	if got := c.States(); len(got) != 2 || got["video"].GetActiveProvider() != "studio" {
		t.Errorf("states are %v", got)
	}
	server.Delete("video")
	eventually(t, "the deletion is seen", func() bool { _, ok := c.State("video"); return !ok })
	if s := c.Status(); s.Address != server.Address() || !s.Live || s.Err != nil || s.Heard.IsZero() {
		t.Errorf("status is %+v", s)
	}
}

func TestFollowsOnlyTheServicesAskedFor(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	server.Put(state("video", "studio", 1))
	o := options(t, server.Address())
	o.Services = []string{"chat"}
	c := start(t, o)
	waitLive(t, c)
	if got := c.States(); len(got) != 1 || got["chat"].GetActiveProvider() != "primary" {
		t.Errorf("states are %v", got)
	}
}

func TestResumesByCursor(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")

	server.Stop()
	eventually(t, "the loss is seen", func() bool { s, _ := c.State("chat"); return !s.Live })
	if s, ok := c.State("chat"); !ok || s.GetActiveProvider() != "primary" {
		t.Errorf("without a server the state is %+v, %t", s, ok)
	}
	server.Put(state("chat", "standby", 2))
	server.Start()
	waitLive(t, c, "chat")
	if s, _ := c.State("chat"); s.GetActiveProvider() != "standby" {
		t.Errorf("after the restart the route is %s", s.GetActiveProvider())
	}
	cursors := server.Cursors()
	if cursors[0] != "" || !strings.HasPrefix(cursors[len(cursors)-1], "1000-a/") {
		t.Errorf("cursors were %q, want the second stream to resume", cursors)
	}
}

func TestResetKeepsWhatTheServerForgot(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	server.Put(state("video", "studio", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat", "video")

	// Somebody starts the server on another, empty data directory, where only chat is applied anew.
	server.Stop()
	server.Restore("2000-b", 1)
	server.Put(state("chat", "other", 1))
	server.Start()
	eventually(t, "the new life is taken", routeIs(c, "chat", "other"))
	waitLive(t, c, "chat")
	s, ok := c.State("video")
	if !ok || s.GetActiveProvider() != "studio" || s.Live {
		t.Errorf("the service the server forgot is %+v, %t; want it kept, not live", s, ok)
	}
}

func TestCompactedCursorIsReset(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")
	server.Stop()
	server.Put(state("chat", "standby", 2))
	server.Compact()
	server.Start()
	eventually(t, "the switch is seen", routeIs(c, "chat", "standby"))
	waitLive(t, c, "chat")
}

func TestRefusesRegression(t *testing.T) {
	for _, test := range []struct {
		name     string
		life     string
		revision int64
		epoch    int64
		want     client.Verdict
	}{
		{"backup put back by hand", "1000-a", 1, 9, client.VerdictOlderRevision},
		{"epoch went down", "1000-a", 50, 3, client.VerdictOlderEpoch},
		{"earlier life", "999-z", 50, 9, client.VerdictOlderLife},
		{"the same backup restored twice", "1000-b", 50, 9, client.VerdictForeignLife},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := clienttest.New(t)
			server.Put(state("other", "x", 1))
			server.Put(state("chat", "primary", 5))
			c := start(t, options(t, server.Address()))
			waitLive(t, c, "chat")

			server.Stop()
			server.Restore(test.life, test.revision)
			server.Put(state("chat", "outdated", test.epoch))
			server.Start()
			eventually(t, "the regression is seen", func() bool { return len(c.Status().Regressions) == 1 })
			r := c.Status().Regressions[0]
			if r.Service != "chat" || r.Reason != test.want || r.Held.GetActiveProvider() != "primary" || r.Offered.GetActiveProvider() != "outdated" {
				t.Errorf("regression is %+v", r)
			}
			if s, ok := c.State("chat"); !ok || s.GetActiveProvider() != "primary" || s.Live || s.KeptOut != test.want {
				t.Errorf("state is %+v, %t; want the old one, not live", s, ok)
			}
		})
	}
}

// TestTakesAConfirmedRestore: a state of a later life is taken though its revision and its epoch are lower, and not before
// a human has begun that life.
func TestTakesAConfirmedRestore(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("other", "x", 1))
	server.Put(state("chat", "primary", 5))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")
	for _, life := range []string{"1000-a", "2000-c"} { // restored, then confirmed
		server.Stop()
		server.Restore(life, 1)
		server.Put(state("chat", "restored", 2))
		server.Start()
		if life == "1000-a" {
			eventually(t, "the restore is seen", func() bool { return len(c.Status().Regressions) == 1 })
			continue
		}
		eventually(t, "the confirmed state is taken", routeIs(c, "chat", "restored"))
	}
	if s, _ := c.State("chat"); s.KeptOut != "" || s.GetEpoch() != 2 {
		t.Errorf("state is %+v", s)
	}
}

func TestRegressionEndsWhenTheServerCatchesUp(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 5))
	c := start(t, options(t, server.Address()))
	waitLive(t, c, "chat")
	server.Put(state("chat", "older", 4))
	eventually(t, "the regression is seen", func() bool { return len(c.Status().Regressions) == 1 })
	server.Put(state("chat", "standby", 6))
	eventually(t, "the newer state is taken", routeIs(c, "chat", "standby"))
	if r := c.Status().Regressions; len(r) != 0 {
		t.Errorf("regressions are %v", r)
	}
	waitLive(t, c, "chat")
}

func TestRotatesAmongServers(t *testing.T) {
	a, b := clienttest.New(t), clienttest.New(t)
	for _, s := range []*clienttest.Server{a, b} {
		s.Put(state("chat", "primary", 1))
	}
	c := start(t, options(t, a.Address(), b.Address()))
	waitLive(t, c, "chat")
	if got := c.Status().Address; got != a.Address() {
		t.Errorf("follows %s first, want %s", got, a.Address())
	}
	a.Stop()
	eventually(t, "the second server is followed", func() bool { s := c.Status(); return s.Live && s.Address == b.Address() })
	b.Refuse(status.Error(codes.Unavailable, "no store"))
	a.Start()
	eventually(t, "the first server is followed again", func() bool { s := c.Status(); return s.Live && s.Address == a.Address() })
}

func TestLeavesASilentServer(t *testing.T) {
	a, b := clienttest.New(t), clienttest.New(t)
	a.Put(state("chat", "primary", 1))
	b.Put(state("chat", "primary", 1))
	o := options(t, a.Address(), b.Address())
	o.SilenceTimeout = 200 * time.Millisecond
	c := start(t, o)
	waitLive(t, c, "chat")
	a.Mute(true)
	eventually(t, "the second server is followed", func() bool { s := c.Status(); return s.Live && s.Address == b.Address() })
}

func TestSaysHowOldTheAnswerIs(t *testing.T) {
	var clock struct {
		sync.Mutex
		ahead time.Duration
	}
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	o := options(t, server.Address())
	o.Now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return time.Now().Add(clock.ahead)
	}
	c := start(t, o)
	waitLive(t, c, "chat")

	// The server lives and its store doesn't: the answer ages.
	server.SetLive(false)
	eventually(t, "the loss of the store is seen", func() bool { s, _ := c.State("chat"); return !s.Live })
	clock.Lock()
	clock.ahead = time.Hour
	clock.Unlock()
	if s, _ := c.State("chat"); s.Age < time.Hour || s.Age > time.Hour+time.Minute {
		t.Errorf("age is %s, want an hour", s.Age)
	}
	if c.Status().Live {
		t.Error("the status is live without a store")
	}
	server.SetLive(true)
	waitLive(t, c, "chat")
	if s, _ := c.State("chat"); s.Age > time.Minute {
		t.Errorf("age is %s after the store is back", s.Age)
	}
}

func TestCacheOutlivesServerAndApplication(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	o := options(t, server.Address())
	o.CacheDir = filepath.Join(t.TempDir(), "cache")
	c := start(t, o)
	waitLive(t, c, "chat")
	server.Put(state("chat", "standby", 2))
	eventually(t, "the switch is seen", routeIs(c, "chat", "standby"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	server.Stop()

	later := time.Now().Add(3 * time.Hour)
	o.Now = func() time.Time { return later }
	again, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := again.State("chat")
	if !ok || s.GetActiveProvider() != "standby" || s.GetEpoch() != 2 || s.Live {
		t.Errorf("restored state is %+v, %t", s, ok)
	}
	if s.Age < 3*time.Hour || s.Age > 3*time.Hour+time.Minute {
		t.Errorf("restored age is %s, want three hours", s.Age)
	}
	told := make(chan string, 1)
	o.OnChange = func(_ string, s client.State, _ bool) error {
		told <- s.GetActiveProvider()
		return nil
	}
	third := start(t, o)
	if got := <-told; got != "standby" {
		t.Errorf("the application is told %q first", got)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCacheIsWrittenAtOnce kills the application, so to speak: what it knew is on disk without Close.
func TestCacheIsWrittenAtOnce(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	o := options(t, server.Address())
	o.CacheDir = t.TempDir()
	start(t, o)
	eventually(t, "the file holds the route", func() bool {
		b, err := os.ReadFile(filepath.Join(o.CacheDir, "continuity.cache"))
		return err == nil && strings.Contains(string(b), "primary")
	})
}

func TestOlderServerThanCacheIsARegression(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 7))
	o := options(t, server.Address())
	o.CacheDir = t.TempDir()
	c := start(t, o)
	waitLive(t, c, "chat")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	server.Restore("1000-a", 0)
	server.Put(state("chat", "outdated", 2))
	again := start(t, o)
	eventually(t, "the regression is seen", func() bool { return len(again.Status().Regressions) == 1 })
	if s, _ := again.State("chat"); s.GetActiveProvider() != "primary" {
		t.Errorf("route is %s", s.GetActiveProvider())
	}
}

func TestDamagedCacheIsRefusedLoudly(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	o := options(t, server.Address())
	o.CacheDir = t.TempDir()
	path := filepath.Join(o.CacheDir, "continuity.cache")
	c := start(t, o)
	waitLive(t, c, "chat")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"flipped bit":    func(b []byte) []byte { b[len(b)-20] ^= 1; return b },
		"cut short":      func(b []byte) []byte { return b[:len(b)-7] },
		"empty":          func([]byte) []byte { return nil },
		"something else": func([]byte) []byte { return []byte("#!/bin/sh\nexit\n") },
		"newer version": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "jurymast-cache 1", "jurymast-cache 2", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damage([]byte(string(sound))), 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			o := o
			o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
			c, err := client.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.State("chat"); ok {
				t.Error("a damaged cache was used")
			}
			if err := c.Status().CacheErr; !errors.Is(err, client.ErrCache) {
				t.Errorf("the status says %v", err)
			}
			if !strings.Contains(log.String(), "[ERROR]") {
				t.Errorf("nothing loud was logged: %s", log.String())
			}
			if _, err := os.Stat(path + ".refused"); err != nil {
				t.Errorf("the refused file is not set aside: %v", err)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			waitLive(t, c, "chat")
			if err := c.Close(); err != nil {
				t.Errorf("after a write the cache is still bad: %v", err)
			}
		})
	}
}

func TestUnwritableCacheIsNotFatal(t *testing.T) {
	server := clienttest.New(t)
	server.Put(state("chat", "primary", 1))
	o := options(t, server.Address())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.CacheDir = filepath.Join(file, "below")
	c := start(t, o)
	waitLive(t, c, "chat")
	eventually(t, "the status says so", func() bool { return errors.Is(c.Status().CacheErr, client.ErrCache) })
	if err := c.Close(); !errors.Is(err, client.ErrCache) {
		t.Errorf("Close says %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	token := client.StaticToken("secret")
	for name, o := range map[string]client.Options{
		"address with scheme": {Addresses: []string{"https://dr:7400"}},
		"empty address":       {Addresses: []string{""}},
		"port out of range":   {Addresses: []string{"dr:70000"}},
		"no socket":           {Addresses: []string{"unix:"}},
		"empty service":       {Services: []string{""}},
		"too many services":   {Services: make([]string, 257)},
		"long subscriber":     {Subscriber: strings.Repeat("x", 129)},
		"token in the clear":  {Addresses: []string{"dr.example:7400"}, Token: token},
		"negative duration":   {MinBackoff: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.New(o); !errors.Is(err, client.ErrOptions) {
				t.Errorf("New says %v", err)
			}
		})
	}
	for name, o := range map[string]client.Options{
		"nothing":             {},
		"name only":           {Addresses: []string{"dr"}},
		"IPv6":                {Addresses: []string{"::1", "[::1]", "[::1]:7"}},
		"token on loopback":   {Addresses: []string{"localhost:7400", "127.0.0.1", "unix:/run/x"}, Token: token},
		"token said insecure": {Addresses: []string{"dr.example"}, Token: token, Insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := client.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLifetime(t *testing.T) {
	server := clienttest.New(t)
	c, err := client.New(options(t, server.Address()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	waitLive(t, c)
	if err := c.Start(ctx); !errors.Is(err, client.ErrClosed) {
		t.Errorf("a second start says %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run says %v", err)
	}
	if err := c.WaitLive(context.Background(), "chat"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("waiting on an ended client says %v", err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitLiveSaysWhy(t *testing.T) {
	server := clienttest.New(t)
	server.Refuse(status.Error(codes.Unauthenticated, "who are you"))
	c := start(t, options(t, server.Address()))
	eventually(t, "an attempt failed", func() bool { return c.Status().Err != nil })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := c.WaitLive(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || status.Code(err) != codes.Unauthenticated {
		t.Errorf("waiting says %v", err)
	}
}
