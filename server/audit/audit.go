// Package audit makes the audit event that goes into the transaction of every change, and carries who asked for the
// change through a context.
//
// It promises that an event is stored exactly when its change is; it never stores one by itself.
package audit

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Machine is the actor of what Jurymast does by itself.
const Machine = "jurymast"

// Caller is who asks for a change.
type Caller struct {
	// Principal is the authenticated name. Empty: [Machine].
	Principal string
	// Role is the role the call was allowed by; empty for machines.
	Role string
	// Action is the method, e.g. `ContinuityService.SwitchProvider`.
	Action string
}

type contextKey struct{}

// With returns a context that carries the caller.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From returns the caller of a context; without one it is [Machine].
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(contextKey{}).(Caller)
	if c.Principal == "" {
		c.Principal = Machine
	}
	return c
}

// Change is what is recorded of a change.
type Change struct {
	// Target is what was changed, e.g. `services/chat`.
	Target string
	// Reason is why, in the caller's words.
	Reason string
	// Details are further facts, never secrets. May be nil.
	Details map[string]string
}

// Op returns the write that records the change as the context's caller's, to be put into the change's transaction.
func Op(ctx context.Context, now time.Time, ch Change) store.Op { return OpOf(From(ctx), now, ch) }

// OpOf is [Op] for a caller that no context carries, such as a run.
func OpOf(c Caller, now time.Time, ch Change) store.Op {
	id := store.NewID("a", now)
	return store.Put(store.AuditKey(id), &jv1.AuditEvent{
		Name: id, Time: timestamppb.New(now), Actor: c.Principal, Role: c.Role, Action: c.Action,
		Target: ch.Target, Reason: ch.Reason, Details: ch.Details,
	})
}
