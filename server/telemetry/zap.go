package telemetry

import (
	"sort"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap/zapcore"
)

// ZapOptions says how a zap logger is bridged into hclog.
type ZapOptions struct {
	// Logger receives the entries. Nil drops them.
	Logger hclog.Logger
	// Level is the lowest zap level that passes, on top of the level of Logger. The zero value is zap's info.
	Level zapcore.Level
	// Relevel may lower the level of an entry that has passed Level, e.g. to hide the noise of an orderly shutdown. It
	// is called from any goroutine, possibly twice per entry. Nil keeps the levels.
	Relevel func(zapcore.Entry) zapcore.Level
}

// NewZapCore returns a core that writes zap's entries to an hclog logger: zap's fields become key/value pairs in their
// order, namespaces become dotted prefixes, a zap logger's name becomes KeyComponent, and everything from DPanic upwards is
// written as an error. What zap does after a panic or fatal entry is not the core's business, see zap.WithFatalHook.
func NewZapCore(o ZapOptions) zapcore.Core {
	if o.Logger == nil {
		return zapcore.NewNopCore()
	}
	return &zapCore{options: o}
}

type zapCore struct {
	options ZapOptions
	prefix  string
	args    []any
}

// Enabled knows the level alone; Check decides with the whole entry.
func (c *zapCore) Enabled(level zapcore.Level) bool {
	return c.options.Level.Enabled(level) && hclogLevel(level) >= c.options.Logger.GetLevel()
}

func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	args, prefix := appendFields(append([]any(nil), c.args...), c.prefix, fields)
	return &zapCore{options: c.options, prefix: prefix, args: args}
}

func (c *zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.options.Level.Enabled(entry.Level) || hclogLevel(c.level(entry)) < c.options.Logger.GetLevel() {
		return checked
	}
	return checked.AddCore(entry, c)
}

func (c *zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	args := append([]any(nil), c.args...)
	if entry.LoggerName != "" {
		args = append(args, KeyComponent, entry.LoggerName)
	}
	args, _ = appendFields(args, c.prefix, fields)
	if entry.Stack != "" {
		args = append(args, KeyStack, entry.Stack)
	}
	c.options.Logger.Log(hclogLevel(c.level(entry)), entry.Message, args...)
	return nil
}

// Sync has nothing to do: hclog writes each line at once.
func (c *zapCore) Sync() error { return nil }

func (c *zapCore) level(entry zapcore.Entry) zapcore.Level {
	if c.options.Relevel == nil {
		return entry.Level
	}
	return c.options.Relevel(entry)
}

// hclogLevel maps zap's levels. There is no level above error in hclog.
func hclogLevel(level zapcore.Level) hclog.Level {
	switch {
	case level < zapcore.DebugLevel:
		return hclog.Trace
	case level == zapcore.DebugLevel:
		return hclog.Debug
	case level == zapcore.InfoLevel:
		return hclog.Info
	case level == zapcore.WarnLevel:
		return hclog.Warn
	default:
		return hclog.Error
	}
}

// appendFields appends fields as key/value pairs and returns the prefix that holds for what follows.
func appendFields(args []any, prefix string, fields []zapcore.Field) ([]any, string) {
	for _, field := range fields {
		if field.Type == zapcore.NamespaceType {
			prefix += field.Key + "."
			continue
		}
		// One encoder per field keeps the order of the fields; a field may still bring several keys, e.g. an
		// error with its verbose form.
		encoder := zapcore.NewMapObjectEncoder()
		field.AddTo(encoder)
		keys := make([]string, 0, len(encoder.Fields))
		for key := range encoder.Fields {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			args = append(args, prefix+key, encoder.Fields[key])
		}
	}
	return args, prefix
}
