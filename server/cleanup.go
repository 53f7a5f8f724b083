package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/telemetry"
)

// cleanup is a stack of what has to be undone, last in first out. A start that fails half-way rolls back through it like
// a stop.
type cleanup struct {
	log  hclog.Logger
	todo []step
}

type step struct {
	name string
	do   func(context.Context) error
}

// onStop adds something to be undone; call it right after it was done.
func (c *cleanup) onStop(name string, do func(context.Context) error) {
	c.todo = append(c.todo, step{name: name, do: do})
}

// run undoes everything; a step that fails doesn't keep the next from its turn.
func (c *cleanup) run(ctx context.Context) error {
	var errs []error
	for len(c.todo) > 0 {
		last := c.todo[len(c.todo)-1]
		c.todo = c.todo[:len(c.todo)-1]
		began := time.Now()
		if err := last.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", last.name, err))
		}
		c.log.Debug("stopped", "part", last.name, telemetry.KeyTook, time.Since(began))
	}
	return errors.Join(errs...)
}
