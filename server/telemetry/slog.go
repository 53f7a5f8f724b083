package telemetry

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// NewSlogHandler returns a handler through which the standard library and any library that takes a *slog.Logger write
// to an hclog logger. Groups become dotted prefixes of the keys, values are resolved first, and the record's own time
// is dropped because hclog stamps the line. Levels below debug are trace.
func NewSlogHandler(log hclog.Logger) slog.Handler {
	return &slogHandler{log: log}
}

// NewSlog is slog.New(NewSlogHandler(log)).
func NewSlog(log hclog.Logger) *slog.Logger {
	return slog.New(NewSlogHandler(log))
}

type slogHandler struct {
	log    hclog.Logger
	prefix string
	args   []any
}

func (h *slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return slogLevel(level) >= h.log.GetLevel()
}

func (h *slogHandler) Handle(_ context.Context, record slog.Record) error {
	args := append([]any(nil), h.args...)
	record.Attrs(func(attr slog.Attr) bool {
		args = appendAttr(args, h.prefix, attr)
		return true
	})
	h.log.Log(slogLevel(record.Level), record.Message, args...)
	return nil
}

func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	args := append([]any(nil), h.args...)
	for _, attr := range attrs {
		args = appendAttr(args, h.prefix, attr)
	}
	return &slogHandler{log: h.log, prefix: h.prefix, args: args}
}

func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &slogHandler{log: h.log, prefix: h.prefix + name + ".", args: h.args}
}

// appendAttr flattens groups; a group without a name is inlined and an empty attribute is dropped, as slog demands.
func appendAttr(args []any, prefix string, attr slog.Attr) []any {
	value := attr.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if attr.Key != "" {
			prefix += attr.Key + "."
		}
		for _, member := range value.Group() {
			args = appendAttr(args, prefix, member)
		}
		return args
	}
	if attr.Equal(slog.Attr{}) {
		return args
	}
	return append(args, prefix+attr.Key, value.Any())
}

func slogLevel(level slog.Level) hclog.Level {
	switch {
	case level < slog.LevelDebug:
		return hclog.Trace
	case level < slog.LevelInfo:
		return hclog.Debug
	case level < slog.LevelWarn:
		return hclog.Info
	case level < slog.LevelError:
		return hclog.Warn
	default:
		return hclog.Error
	}
}
