package telemetry

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/grpclog"
)

// NewGRPCLogger returns a logger for grpclog.SetLoggerV2, which is global to the process and therefore left to the
// composition root. gRPC's words are one step louder than ours, a client that hangs up is a warning to it: its info
// becomes trace, its warnings debug, its errors warnings, and only what ends the process is an error.
func NewGRPCLogger(log hclog.Logger) grpclog.LoggerV2 {
	return &grpcLogger{log: log}
}

type grpcLogger struct{ log hclog.Logger }

// print formats only what will be written: gRPC logs on hot paths.
func (g *grpcLogger) print(level hclog.Level, args []any) {
	if level >= g.log.GetLevel() {
		g.log.Log(level, fmt.Sprint(args...))
	}
}

func (g *grpcLogger) println(level hclog.Level, args []any) {
	if level >= g.log.GetLevel() {
		g.log.Log(level, strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
	}
}

func (g *grpcLogger) printf(level hclog.Level, format string, args []any) {
	if level >= g.log.GetLevel() {
		g.log.Log(level, fmt.Sprintf(format, args...))
	}
}

func (g *grpcLogger) Info(args ...any)                    { g.print(hclog.Trace, args) }
func (g *grpcLogger) Infoln(args ...any)                  { g.println(hclog.Trace, args) }
func (g *grpcLogger) Infof(format string, args ...any)    { g.printf(hclog.Trace, format, args) }
func (g *grpcLogger) Warning(args ...any)                 { g.print(hclog.Debug, args) }
func (g *grpcLogger) Warningln(args ...any)               { g.println(hclog.Debug, args) }
func (g *grpcLogger) Warningf(format string, args ...any) { g.printf(hclog.Debug, format, args) }
func (g *grpcLogger) Error(args ...any)                   { g.print(hclog.Warn, args) }
func (g *grpcLogger) Errorln(args ...any)                 { g.println(hclog.Warn, args) }
func (g *grpcLogger) Errorf(format string, args ...any)   { g.printf(hclog.Warn, format, args) }

// The exit after a fatal entry is done by grpclog itself.
func (g *grpcLogger) Fatal(args ...any)                 { g.print(hclog.Error, args) }
func (g *grpcLogger) Fatalln(args ...any)               { g.println(hclog.Error, args) }
func (g *grpcLogger) Fatalf(format string, args ...any) { g.printf(hclog.Error, format, args) }

// V reports whether gRPC should say what it says at this verbosity; its own default is 0.
func (g *grpcLogger) V(level int) bool { return level <= 0 || g.log.IsTrace() }
