package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// errSilent says that a server let the stream stand without a word.
var errSilent = errors.New("the server fell silent")

// follow keeps to one server after the other until ctx ends.
func (c *Client) follow(ctx context.Context) {
	wait := c.o.MinBackoff
	for i := 0; ; i++ {
		address := c.o.Addresses[i%len(c.o.Addresses)]
		synced, err := c.session(ctx, address)
		if ctx.Err() != nil {
			c.unlink(nil)
			return
		}
		c.unlink(fmt.Errorf("following %s: %w", address, err))
		if synced {
			wait = c.o.MinBackoff
			c.log.Warn("lost the server, keeping the last states", "addr", address, "error", err)
		} else {
			c.log.Info("can't follow the server", "addr", address, "error", err, "delay", wait)
		}
		// Half of the wait is chance: the clients of a server that died must not come to the next one all at once.
		if !sleep(ctx, wait/2+rand.N(wait/2+1)) {
			return
		}
		if (i+1)%len(c.o.Addresses) == 0 {
			wait = min(2*wait, c.o.MaxBackoff)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session follows one server until that fails, and tells whether all that the server knows had come.
func (c *Client) session(ctx context.Context, address string) (synced bool, err error) {
	conn, err := dial(c.o, []string{address})
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.o.SilenceTimeout, func() { cancel(errSilent) })
	defer silence.Stop()

	c.snapshot = c.cursor == ""
	if c.snapshot {
		c.reset()
	}
	api := jv1.NewContinuityServiceClient(conn)
	stream, err := api.WatchContinuity(ctx, &jv1.WatchContinuityRequest{Services: c.o.Services, Cursor: c.cursor},
		grpc.MaxCallRecvMsgSize(16<<20))
	if err != nil {
		return false, c.streamError(ctx, err)
	}
	c.relink(func(l *link) { l.address = address })
	if !c.o.NoReport {
		reported := make(chan struct{})
		defer func() { <-reported }()
		defer cancel(nil)
		go func() {
			defer close(reported)
			c.report(ctx, api)
		}()
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return c.link.Load().synced, c.streamError(ctx, err)
		}
		silence.Reset(c.o.SilenceTimeout)
		c.receive(msg)
	}
}

// streamError says why a stream ended, and forgets a cursor that the server can't read.
func (c *Client) streamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return fmt.Errorf("%w for %s", cause, c.o.SilenceTimeout)
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		c.cursor = ""
	case codes.OK:
		if errors.Is(err, io.EOF) {
			return errors.New("the server ended the stream")
		}
	}
	return err
}

// receive takes one message of the stream.
func (c *Client) receive(msg *jv1.WatchContinuityResponse) {
	switch msg.GetEvent() {
	case jv1.WatchEvent_WATCH_EVENT_RESET:
		c.snapshot = true
		c.relink(func(l *link) { l.synced = false })
		c.reset()
	case jv1.WatchEvent_WATCH_EVENT_PUT:
		c.put(msg.GetState())
	case jv1.WatchEvent_WATCH_EVENT_DELETE:
		c.drop(msg.GetState())
	case jv1.WatchEvent_WATCH_EVENT_BOOKMARK:
		c.bookmark(msg.GetFreshness())
		c.snapshot = false
	}
	// Half a snapshot is no place to resume from.
	if cursor := msg.GetCursor(); cursor != "" && !c.snapshot {
		c.cursor = cursor
	}
}

// reset takes every state as unconfirmed: what the server still knows comes again. A state that doesn't come is kept,
// because a server that lost its memory must not take the route away from anybody.
func (c *Client) reset() {
	l := c.link.Load()
	for service, e := range c.known() {
		if e.confirmed {
			c.entries.Store(service, e.frozen(l))
		}
	}
}

func (c *Client) put(got *jv1.ContinuityState) {
	service := got.GetService()
	if service == "" {
		return
	}
	l, now := c.link.Load(), c.o.Now()
	held, _ := c.entry(service)
	if held == nil {
		held = &entry{}
	}
	verdict := judge(held.state, got)
	if !verdict.accepted() {
		c.refuse(service, held, got, verdict)
		return
	}
	if held.refused != "" {
		c.log.Info("the server's word is newer than the state held again", "service", service, "epoch", got.GetEpoch())
	}
	c.entries.Store(service, &entry{state: got, confirmed: true, asOf: now})
	if l.synced && l.store {
		c.relink(func(l *link) { l.heard = now })
	}
	if held.state == nil || !sameToApplication(held.state, got) {
		c.log.Debug("state changed", "service", service, "provider", got.GetActiveProvider(), "epoch", got.GetEpoch(), "reason", verdict)
		c.teller.changed(service)
		c.keeper.changed()
	}
	c.pulse.beat()
}

// refuse keeps the state held, as nobody's word, and says so once.
func (c *Client) refuse(service string, held *entry, got *jv1.ContinuityState, why Verdict) {
	if held.refused != why {
		c.log.Error("the server's state is older than the one held, which is kept; if that is right, as after a restore "+
			"by hand, remove the client's cache and restart", "service", service, "reason", why,
			"held_restore_epoch", held.state.GetRestoreEpoch(), "held_revision", held.state.GetRevision(), "held_epoch", held.state.GetEpoch(),
			"restore_epoch", got.GetRestoreEpoch(), "revision", got.GetRevision(), "epoch", got.GetEpoch())
	}
	e := held.frozen(c.link.Load())
	e.refused, e.offered = why, got
	c.entries.Store(service, e)
	c.pulse.beat()
}

// drop forgets a service that was deleted.
func (c *Client) drop(last *jv1.ContinuityState) {
	service := last.GetService()
	held, ok := c.entry(service)
	if !ok {
		return
	}
	if v := judge(held.state, last); last.GetRevision() != 0 && (v == VerdictOlderLife || v == VerdictForeignLife || v == VerdictOlderRevision) {
		c.refuse(service, held, last, v)
		return
	}
	c.entries.Delete(service)
	c.log.Info("the service was deleted", "service", service)
	c.teller.changed(service)
	c.keeper.changed()
	c.pulse.beat()
}

// bookmark says that everything known has come, and how old it is.
func (c *Client) bookmark(f *jv1.Freshness) {
	now := c.o.Now()
	c.relink(func(l *link) {
		if !l.synced {
			c.log.Info("following the server", "addr", l.address)
		}
		l.synced, l.store, l.err = true, f.GetLive(), nil
		switch asOf := f.GetAsOf(); {
		case f.GetLive():
			l.heard = now
		case asOf.IsValid() && asOf.AsTime().After(l.heard):
			l.heard = earlier(asOf.AsTime(), now)
		}
	})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// relink replaces the link. Only the goroutine of follow calls it.
func (c *Client) relink(change func(*link)) {
	l := *c.link.Load()
	change(&l)
	c.link.Store(&l)
	c.pulse.beat()
}

func (c *Client) unlink(err error) {
	c.relink(func(l *link) {
		l.address, l.synced, l.store, l.err = "", false, false, err
	})
}
