// Package telemetry is how Jurymast speaks about itself: one logger, one set of log keys, one Prometheus registry.
//
// It promises that every part of the process, our own packages, the embedded etcd (zap), gRPC and libraries that
// want a *slog.Logger, ends up in the same hclog logger with the same time format (RFC 3339, UTC, milliseconds) and
// that a secret which was registered with a [Redactor] never reaches the output.
//
// It never keeps a global logger or registry, never reads the environment, and never decides what is worth logging.
package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// timeFormat is RFC 3339 with milliseconds. Times are converted to UTC before formatting, so that the logs of several
// replicas sort together.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Format is the shape of a log line.
type Format string

const (
	// FormatText is one readable line per entry: time, level, name, message, key=value. It is the default.
	FormatText Format = "text"
	// FormatJSON is one JSON object per line with @timestamp, @level, @module, @message and the keys beside them.
	FormatJSON Format = "json"
)

// ParseFormat reads a Format from a flag or a file, ignoring case and surrounding blanks. The empty string is FormatText.
func ParseFormat(s string) (Format, error) {
	switch f := Format(strings.ToLower(strings.TrimSpace(s))); f {
	case "":
		return FormatText, nil
	case FormatText, FormatJSON:
		return f, nil
	default:
		return "", fmt.Errorf("unknown log format %q: want %q or %q", s, FormatText, FormatJSON)
	}
}

// ParseLevel reads a log level from a flag or a file: trace, debug, info, warn, error or off. The empty string is info.
func ParseLevel(s string) (hclog.Level, error) {
	if strings.TrimSpace(s) == "" {
		return hclog.Info, nil
	}
	if l := hclog.LevelFromString(s); l != hclog.NoLevel {
		return l, nil
	}
	return hclog.NoLevel, fmt.Errorf("unknown log level %q: want trace, debug, info, warn, error or off", s)
}

// Options says how a logger behaves. The zero value is usable: text at level info to standard error.
type Options struct {
	// Name is the root name; each package adds its own with Named. Empty means no name.
	Name string
	// Level is the lowest level that is written. The zero value (hclog.NoLevel) means info.
	Level hclog.Level
	// Format is the shape of a line. The zero value means FormatText.
	Format Format
	// Output receives one Write per line. Nil means standard error: standard output belongs to data.
	Output io.Writer
	// Redactor removes registered secrets from each line before it is written. Nil means that nothing is removed.
	Redactor *Redactor
	// Color marks levels with colours when Output is a terminal. Only FormatText knows colours.
	Color bool
}

// NewLogger returns a logger that is safe for concurrent use. Levels set later with SetLevel hold for all its
// sub-loggers.
func NewLogger(o Options) hclog.Logger {
	out := o.Output
	if out == nil {
		out = os.Stderr
	}
	color := hclog.ColorOff
	if o.Color && o.Format != FormatJSON {
		color = hclog.AutoColor
	}
	if o.Redactor != nil {
		// A terminal is recognised by its *os.File, which the redacting writer hides.
		color = hclog.ColorOff
		out = o.Redactor.Writer(out)
	}
	level := o.Level
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{
		Name:       o.Name,
		Level:      level,
		Output:     out,
		JSONFormat: o.Format == FormatJSON,
		TimeFormat: timeFormat,
		TimeFn:     func() time.Time { return time.Now().UTC() },
		Color:      color,
	})
}
