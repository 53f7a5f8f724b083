package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jurymast/jurymast/server/telemetry"
)

// logged returns a logger at trace and a function that returns what it wrote without the time stamps.
func logged(t *testing.T, level hclog.Level) (hclog.Logger, func() string) {
	t.Helper()
	var out bytes.Buffer
	return telemetry.NewLogger(telemetry.Options{Output: &out, Level: level}), func() string {
		var text strings.Builder
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, " ")
			text.WriteString(rest)
		}
		return text.String()
	}
}

func TestZapCore(t *testing.T) {
	for _, c := range []struct {
		name    string
		options telemetry.ZapOptions
		log     func(*zap.Logger)
		want    string
	}{
		{"levels", telemetry.ZapOptions{Level: zapcore.DebugLevel}, func(l *zap.Logger) {
			l.Debug("d")
			l.Info("i")
			l.Warn("w")
			l.Error("e")
			l.DPanic("p")
		}, "[DEBUG] d\n[INFO]  i\n[WARN]  w\n[ERROR] e\n[ERROR] p\n"},
		{"below the level", telemetry.ZapOptions{Level: zapcore.WarnLevel}, func(l *zap.Logger) {
			l.Info("i")
			l.Warn("w")
		}, "[WARN]  w\n"},
		{"fields in order", telemetry.ZapOptions{}, func(l *zap.Logger) {
			l.Info("m", zap.String("z", "1"), zap.Int("a", 2), zap.Duration("took", time.Second), zap.Strings("l", []string{"x", "y"}))
		}, "[INFO]  m: z=1 a=2 took=1s l=[x, y]\n"},
		{"error", telemetry.ZapOptions{}, func(l *zap.Logger) {
			l.Info("m", zap.Error(errors.New("bad thing")), zap.Error(nil))
		}, "[INFO]  m: error=\"bad thing\"\n"},
		{"with, namespace, name", telemetry.ZapOptions{}, func(l *zap.Logger) {
			base := l.Named("raft").With(zap.String("a", "1"))
			base.With(zap.Namespace("n"), zap.Int("b", 2)).Info("m", zap.Int("c", 3))
			base.Info("m")
		}, "[INFO]  m: a=1 n.b=2 component=raft n.c=3\n[INFO]  m: a=1 component=raft\n"},
		{"lowered", telemetry.ZapOptions{Level: zapcore.WarnLevel, Relevel: func(e zapcore.Entry) zapcore.Level {
			if e.Message == "noise" {
				return zapcore.DebugLevel
			}
			return e.Level
		}}, func(l *zap.Logger) {
			l.Error("noise")
			l.Error("news")
			l.Info("still below")
		}, "[DEBUG] noise\n[ERROR] news\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, text := logged(t, hclog.Trace)
			c.options.Logger = log
			c.log(zap.New(telemetry.NewZapCore(c.options)))
			if text() != c.want {
				t.Errorf("got\n%swant\n%s", text(), c.want)
			}
		})
	}
}

func TestZapCoreObeysTheLoggersLevel(t *testing.T) {
	log, text := logged(t, hclog.Error)
	core := telemetry.NewZapCore(telemetry.ZapOptions{Logger: log, Level: zapcore.DebugLevel})
	zap.New(core).Warn("w")
	if core.Enabled(zapcore.WarnLevel) || text() != "" {
		t.Errorf("a warning passed a logger at error: %s", text())
	}
	log.SetLevel(hclog.Debug)
	zap.New(core).Debug("d")
	if text() != "[DEBUG] d\n" {
		t.Errorf("after lowering the level: %q", text())
	}
	if telemetry.NewZapCore(telemetry.ZapOptions{}).Enabled(zapcore.FatalLevel) {
		t.Error("a core without a logger is enabled")
	}
}

func TestSlogHandler(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"levels", func(l *slog.Logger) {
			l.Log(context.Background(), slog.LevelDebug-4, "t")
			l.Debug("d")
			l.Info("i")
			l.Warn("w")
			l.Error("e")
			l.Log(context.Background(), slog.LevelError+4, "more")
		}, "[TRACE] t\n[DEBUG] d\n[INFO]  i\n[WARN]  w\n[ERROR] e\n[ERROR] more\n"},
		{"groups", func(l *slog.Logger) {
			l.With("a", 1).WithGroup("g").With("b", 2).Info("m", slog.Group("h", "c", 3), slog.Group("", "d", 4), slog.Group("empty"))
		}, "[INFO]  m: a=1 g.b=2 g.h.c=3 g.d=4\n"},
		{"values", func(l *slog.Logger) {
			l.Info("m", "e", errors.New("bad thing"), "v", slog.AnyValue(valuer{}), slog.Attr{}, "d", time.Second)
		}, "[INFO]  m: e=\"bad thing\" v=resolved d=1s\n"},
		{"siblings don't share", func(l *slog.Logger) {
			base := l.With("a", 1)
			base.With("b", 2).Info("m")
			base.With("c", 3).Info("m")
		}, "[INFO]  m: a=1 b=2\n[INFO]  m: a=1 c=3\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, text := logged(t, hclog.Trace)
			c.log(telemetry.NewSlog(log))
			if text() != c.want {
				t.Errorf("got\n%swant\n%s", text(), c.want)
			}
		})
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("resolved") }

// The standard library's own conformance suite.
func TestSlogConformance(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		t.Helper()
		if strings.HasSuffix(t.Name(), "/zero-time") {
			t.Skip("hclog stamps every line")
		}
		out.Reset()
		return telemetry.NewSlogHandler(telemetry.NewLogger(telemetry.Options{Output: &out, Format: telemetry.FormatJSON}))
	}, func(t *testing.T) map[string]any {
		t.Helper()
		var flat map[string]any
		if err := json.Unmarshal(out.Bytes(), &flat); err != nil {
			t.Fatalf("%v in %q", err, out.String())
		}
		names := map[string]string{"@timestamp": slog.TimeKey, "@level": slog.LevelKey, "@message": slog.MessageKey}
		nested := make(map[string]any)
		for key, value := range flat {
			if name, ok := names[key]; ok {
				key = name
			}
			into := nested
			parts := strings.Split(key, ".")
			for _, group := range parts[:len(parts)-1] {
				if _, ok := into[group]; !ok {
					into[group] = make(map[string]any)
				}
				into, _ = into[group].(map[string]any)
			}
			into[parts[len(parts)-1]] = value
		}
		return nested
	})
}

func TestSlogEnabled(t *testing.T) {
	log, _ := logged(t, hclog.Warn)
	handler := telemetry.NewSlogHandler(log)
	if handler.Enabled(t.Context(), slog.LevelInfo) || !handler.Enabled(t.Context(), slog.LevelWarn) {
		t.Error("the handler doesn't follow the logger's level")
	}
}

func TestGRPCLogger(t *testing.T) {
	log, text := logged(t, hclog.Trace)
	grpc := telemetry.NewGRPCLogger(log)
	grpc.Info("a", 1)
	grpc.Infoln("a", 1)
	grpc.Infof("a=%d", 1)
	grpc.Warning("w")
	grpc.Warningln("w", "x")
	grpc.Warningf("%s", "w")
	grpc.Error("e")
	grpc.Errorln("e", "x")
	grpc.Errorf("%s", "e")
	grpc.Fatal("f")
	grpc.Fatalln("f")
	grpc.Fatalf("%s", "f")
	want := "[TRACE] a1\n[TRACE] a 1\n[TRACE] a=1\n[DEBUG] w\n[DEBUG] w x\n[DEBUG] w\n" +
		"[WARN]  e\n[WARN]  e x\n[WARN]  e\n[ERROR] f\n[ERROR] f\n[ERROR] f\n"
	if text() != want {
		t.Errorf("got\n%swant\n%s", text(), want)
	}
	if !grpc.V(0) || !grpc.V(2) {
		t.Error("at trace every verbosity is wanted")
	}
	log.SetLevel(hclog.Info)
	if !grpc.V(0) || grpc.V(2) {
		t.Error("at info only verbosity 0 is wanted")
	}
	grpc.Info("nothing")
	grpc.Infoln("nothing")
	grpc.Infof("nothing")
	if text() != want {
		t.Errorf("at info gRPC's chatter is written: %s", text())
	}
}
