package api

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// leastTime is the time a call must have left to be begun: less is not enough for a transaction and its answer.
	leastTime = 20 * time.Millisecond
	// mostTime bounds a unary call whose caller gave no deadline.
	mostTime = 30 * time.Second
	// reauthenticate is how often an open stream's caller is looked up anew, so that a withdrawn token ends it.
	reauthenticate = 15 * time.Second
)

// Headers that say how fresh the answer of a read is.
const (
	// HeaderAsOf is when the store was heard last, in RFC 3339.
	HeaderAsOf = "jurymast-as-of"
	// HeaderLive is `true` while the store answers, else `false`.
	HeaderLive = "jurymast-live"
)

// around is what happens around every call, the same for every method. There is one for each transport.
type around struct {
	identify  func(context.Context) (auth.Principal, error)
	freshness func() store.Freshness
	observing func() (why *recordv1.ObserveOnly, yes bool)
	errors    translator
	metrics   *callMetrics
	now       func() time.Time
	log       hclog.Logger
}

// options returns the interceptors in their order: what is written first is outermost.
func (a *around) options() []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(a.panicked)
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(a.observeUnary, recovery.UnaryServerInterceptor(recovered), a.enterUnary),
		grpc.ChainStreamInterceptor(a.observeStream, recovery.StreamServerInterceptor(recovered), a.enterStream),
	}
}

// panicked turns a panic into an error whose text the client never sees.
func (a *around) panicked(_ context.Context, p any) error {
	a.log.Error("a handler panicked", telemetry.KeyError, fmt.Sprint(p), telemetry.KeyStack, string(debug.Stack()))
	return fmt.Errorf("panic: %v", p)
}

// outcome translates the error of a call for its caller, and logs and counts the call.
func (a *around) outcome(ctx context.Context, method string, began time.Time, err error) error {
	action := auth.Action(method)
	rule, _ := auth.RuleOf(method)
	took := a.now().Sub(began)
	var st *status.Status
	if err != nil {
		if st = a.errors.status(err); st == nil {
			id := store.NewID("e", began)
			st = internal(id)
			a.log.Error("a call failed by our own fault", telemetry.KeyMethod, action, "id", id, telemetry.KeyError, err)
		}
	}
	a.metrics.ended(action, st.Code())
	level := hclog.Debug
	if !rule.Read && rule.Role > auth.Viewer {
		level = hclog.Info
	}
	if level >= a.log.GetLevel() {
		args := []any{telemetry.KeyMethod, action, telemetry.KeyCode, st.Code().String(), telemetry.KeyTook, took}
		if caller := callerOf(ctx); caller.who != nil {
			args = append(args, telemetry.KeyPrincipal, caller.who.Name)
		}
		if st != nil {
			args = append(args, telemetry.KeyReason, st.Message())
		}
		a.log.Log(level, "call", args...)
	}
	return st.Err()
}

func (a *around) observeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	began := a.now()
	ctx = withCaller(ctx)
	resp, err := next(ctx, req)
	a.metrics.took(auth.Action(info.FullMethod), a.now().Sub(began))
	if err := a.outcome(ctx, info.FullMethod, began, err); err != nil {
		return nil, err
	}
	return resp, nil
}

func (a *around) observeStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	began := a.now()
	ctx := withCaller(ss.Context())
	action := auth.Action(info.FullMethod)
	a.metrics.opened(action)
	defer a.metrics.closed(action)
	err := next(srv, &serverStream{ServerStream: ss, ctx: ctx})
	return a.outcome(ctx, info.FullMethod, began, err)
}

// enterUnary lets a call in, or refuses it.
func (a *around) enterUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, rule, err := a.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	// Not by a.now: contexts live by this process's own clock, which a wrong wall clock doesn't move.
	if ok && time.Until(deadline) < leastTime {
		return nil, &fault{code: codes.DeadlineExceeded, reason: reasonDeadline, message: fmt.Sprintf("less than %v left", leastTime)}
	}
	if !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, mostTime)
		defer cancel()
	}
	if info.FullMethod != validateRunbook {
		if err := check(req); err != nil {
			return nil, err
		}
	}
	if rule.Read && !isForeign(info.FullMethod) {
		if err := grpc.SetHeader(ctx, freshnessHeader(a.freshness())); err != nil {
			return nil, fmt.Errorf("set the freshness header: %w", err)
		}
	}
	return next(ctx, req)
}

// enterStream lets a stream in, or refuses it.
func (a *around) enterStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, rule, err := a.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if rule.Read && !isForeign(info.FullMethod) {
		if err := ss.SetHeader(freshnessHeader(a.freshness())); err != nil {
			return fmt.Errorf("set the freshness header: %w", err)
		}
	}
	return next(srv, &serverStream{ServerStream: ss, ctx: ctx, check: check, still: a.still(ctx, rule), now: a.now, asked: a.now()})
}

// admit finds out who calls and whether they may, and refuses what can't be answered while the store is away.
func (a *around) admit(ctx context.Context, method string) (context.Context, auth.Rule, error) {
	rule, ok := auth.RuleOf(method)
	if !ok {
		return nil, rule, &fault{code: codes.PermissionDenied, reason: reasonForbidden, message: "no rule allows " + auth.Action(method)}
	}
	who, err := a.permit(ctx, method, rule)
	if err != nil {
		return nil, rule, err
	}
	if caller := callerOf(ctx); caller != nil {
		caller.who = who
	}
	if who != nil {
		ctx = audit.With(ctx, audit.Caller{Principal: who.Name, Role: who.Role.String(), Action: auth.Action(method)})
	}
	if isForeign(method) {
		return ctx, rule, nil
	}
	f := a.freshness()
	switch {
	case f.AsOf.IsZero() && !strings.HasSuffix(method, "/GetInfo"):
		return nil, rule, unavailable(reasonLoading, "the store was not heard yet; nothing is known", nil)
	case !rule.Read && !f.Live:
		return nil, rule, unavailable(reasonStoreAway, "the store can't be reached; nothing was changed", nil)
	}
	if why, observing := a.observing(); observing && !rule.Read && !observers[method] {
		return nil, rule, refusedRestored(why)
	}
	return ctx, rule, nil
}

// observers are the methods that change something and work all the same while the replicas only observe.
var observers = map[string]bool{
	jv1.AdminService_ConfirmRestore_FullMethodName:     true,
	jv1.ContinuityService_ReportInForce_FullMethodName: true,
}

// guardRestored refuses everything while the replicas only observe.
const guardRestored = "restored"

// refusedRestored says why nothing can be changed, and how to mend it.
func refusedRestored(why *recordv1.ObserveOnly) error {
	return refused(guardRestored, fmt.Sprintf("%s (noticed by %s at %s); look at `jurymast status`, and when it shows what is true, "+
		"let everything go on with `jurymast restore confirm --reason ...`",
		why.GetDetail(), why.GetReplica(), why.GetSince().AsTime().UTC().Format(time.RFC3339)))
}

// permit tells who calls; nil for nobody, where that is allowed.
func (a *around) permit(ctx context.Context, method string, rule auth.Rule) (*auth.Principal, error) {
	if rule.Role == auth.None {
		return nil, nil
	}
	who, err := a.identify(ctx)
	if err != nil {
		return nil, err
	}
	if !who.Role.Covers(rule.Role) {
		return nil, &fault{
			code: codes.PermissionDenied, reason: reasonForbidden,
			message: fmt.Sprintf("%s needs the role %v, and %s is %v", auth.Action(method), rule.Role, who.Name, who.Role),
			about:   map[string]string{"needed": rule.Role.String(), "role": who.Role.String()},
		}
	}
	return &who, nil
}

// still returns what asks again whether a stream's caller may.
func (a *around) still(ctx context.Context, rule auth.Rule) func() error {
	return func() error {
		if rule.Role == auth.None {
			return nil
		}
		who, err := a.identify(ctx)
		if err != nil {
			return err
		}
		if !who.Role.Covers(rule.Role) {
			return &fault{code: codes.PermissionDenied, reason: reasonForbidden, message: who.Name + " may not any more"}
		}
		return nil
	}
}

// check holds a request against the rules in the protos.
func check(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return errors.New("a request that is no message")
	}
	return checkRules(m)
}

// isForeign tells health checks and reflection, which are not about our state.
func isForeign(method string) bool { return strings.HasPrefix(method, "/grpc.") }

func freshnessHeader(f store.Freshness) metadata.MD {
	md := metadata.Pairs(HeaderLive, fmt.Sprint(f.Live))
	if !f.AsOf.IsZero() {
		md.Set(HeaderAsOf, f.AsOf.UTC().Format(time.RFC3339Nano))
	}
	return md
}

// caller carries who calls from the inner interceptor to the outer one, for the log.
type caller struct{ who *auth.Principal }

type callerKey struct{}

func withCaller(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{})
}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// serverStream is a stream with our context, whose requests are checked and whose caller is asked for again and again.
type serverStream struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // a stream is where a context lives
	check func(any) error
	still func() error
	now   func() time.Time
	asked time.Time
}

// Context implements [grpc.ServerStream].
func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg implements [grpc.ServerStream].
func (s *serverStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.check == nil {
		return nil
	}
	return s.check(m)
}

// SendMsg implements [grpc.ServerStream]. Watches send at least a bookmark now and then, so that this is the place to
// notice that a caller is not welcome any more.
func (s *serverStream) SendMsg(m any) error {
	if s.still != nil {
		if now := s.now(); now.Sub(s.asked) >= reauthenticate {
			s.asked = now
			if err := s.still(); err != nil {
				return err
			}
		}
	}
	return s.ServerStream.SendMsg(m)
}
