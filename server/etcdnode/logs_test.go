package etcdnode

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jurymast/jurymast/server/telemetry"
)

func TestRelevel(t *testing.T) {
	const (
		slow       = "apply request took too long"
		closed     = "setting up serving from embedded etcd failed."
		singlePort = "Running http and grpc server on single port. This is not recommended for production."
		version    = "failed to update storage version"
	)
	for _, c := range []struct {
		name            string
		level           zapcore.Level
		message         string
		fresh, stopping bool
		want            zapcore.Level
	}{
		{"ordinary warning", zapcore.WarnLevel, slow, false, false, zapcore.WarnLevel},
		{"ordinary error", zapcore.ErrorLevel, closed, false, false, zapcore.ErrorLevel},
		{"error while stopping", zapcore.ErrorLevel, closed, false, true, zapcore.DebugLevel},
		{"warning while stopping", zapcore.WarnLevel, slow, false, true, zapcore.DebugLevel},
		{"expected warning", zapcore.WarnLevel, singlePort, false, false, zapcore.DebugLevel},
		{"expected in a new directory", zapcore.ErrorLevel, version, true, false, zapcore.DebugLevel},
		{"not expected in an old directory", zapcore.ErrorLevel, version, false, false, zapcore.ErrorLevel},
		{"panic while stopping", zapcore.PanicLevel, slow, true, true, zapcore.PanicLevel},
		{"fatal while stopping", zapcore.FatalLevel, slow, true, true, zapcore.FatalLevel},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := relevel(zapcore.Entry{Level: c.level, Message: c.message}, c.fresh, c.stopping); got != c.want {
				t.Errorf("level %v, want %v", got, c.want)
			}
		})
	}
}

func TestHaltStopsTheGoroutineAndTellsWhy(t *testing.T) {
	for _, level := range []zapcore.Level{zapcore.PanicLevel, zapcore.FatalLevel} {
		t.Run(level.String(), func(t *testing.T) {
			var out lockedBuffer
			log := telemetry.NewLogger(telemetry.Options{Output: &out})
			halt := newHalt()
			logger := newZapLogger(log, halt, &phase{})
			wentOn := make(chan struct{})
			go func() {
				logger.Log(level, "failed to save", zap.String("path", "/w"), zap.Error(errDisk), zap.Int("other", 1))
				close(wentOn)
			}()
			select {
			case <-halt.fired:
			case <-time.After(5 * time.Second):
				t.Fatal("no halt")
			}
			if got := halt.err.Error(); got != "etcd halted: failed to save (/w): disk on fire" {
				t.Errorf("halted with %q", got)
			}
			if !strings.Contains(out.String(), "[ERROR] failed to save") {
				t.Errorf("log: %s", out.String())
			}
			select {
			case <-wentOn:
				t.Error("the goroutine went on after a fatal entry")
			default:
			}
		})
	}
}

func TestQuietLife(t *testing.T) {
	var out lockedBuffer
	log := telemetry.NewLogger(telemetry.Options{Output: &out, Level: hclog.Warn})
	dir := t.TempDir() + "/etcd"
	for range 2 {
		node, err := Start(t.Context(), Options{DataDir: dir, Logger: log, UnsafeNoFsync: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.Client().Put(t.Context(), "a", "1"); err != nil {
			t.Fatal(err)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "" {
		t.Errorf("starting and stopping a healthy node warned about:\n%s", out.String())
	}
}

type diskError struct{}

func (diskError) Error() string { return "disk on fire" }

var errDisk = diskError{}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
