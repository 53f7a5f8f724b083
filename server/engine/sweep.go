package engine

import (
	"context"
	"time"

	"github.com/jurymast/jurymast/server/store"
)

// sweep looks at everything at an interval, so that a change that was not seen costs only time: watches are hints.
func (e *Engine) sweep(ctx context.Context, session *store.Session) {
	t := time.NewTicker(e.o.Sweep)
	defer t.Stop()
	for {
		e.adopt()
		e.forgetStrays(session)
		e.wakeAll() // a wake may have been lost, or the clock have jumped under a timer
		for s := range e.allServices() {
			e.pokeTriggers(s)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
