package etcdnode

import (
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap/zapcore"
)

// halt is what happens instead of os.Exit when etcd logs something fatal. By default zap would end the whole process, and with
// it everything that could go on without etcd: answers from the last known state and an orderly shutdown.
// The goroutine that met the fault is stopped for good, holding whatever it holds, so that etcd can't go on from a
// state it calls impossible, and the fault is told to whoever watches the node.
type halt struct {
	once  sync.Once
	fired chan struct{}
	err   error
}

func newHalt() *halt { return &halt{fired: make(chan struct{})} }

// OnWrite is called by zap on the goroutine that logged a fatal or panic entry. It never returns.
func (h *halt) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	h.once.Do(func() {
		h.err = fmt.Errorf("%w: %s%s", ErrHalted, strings.TrimSpace(entry.Message), details(fields))
		close(h.fired)
	})
	select {}
}

// details renders the fields that say why.
func details(fields []zapcore.Field) string {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		if field.Type == zapcore.ErrorType || field.Key == "path" {
			field.AddTo(encoder)
		}
	}
	var b strings.Builder
	if path, ok := encoder.Fields["path"]; ok {
		fmt.Fprintf(&b, " (%v)", path)
	}
	if err, ok := encoder.Fields["error"]; ok {
		fmt.Fprintf(&b, ": %v", err)
	}
	return b.String()
}
