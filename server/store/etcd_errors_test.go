package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var outcomes = []error{
	ErrUnknown, ErrUnavailable, ErrTooLarge, ErrInvalid, ErrNoSpace, ErrLeaseLost, ErrClosed, ErrCompacted,
}

func wantOnly(t *testing.T, err, want error) {
	t.Helper()
	for _, o := range outcomes {
		if errors.Is(err, o) != errors.Is(want, o) {
			t.Errorf("%v: is %q: %v", err, o, errors.Is(err, o))
		}
	}
}

// TestTxnErrors: only what certainly did not happen may be called so. The errors are tried in the three forms in which
// they come: a status over the wire, the client's own type, and the server's error of the in-process client.
func TestTxnErrors(t *testing.T) {
	lost := status.Error(codes.Unavailable, `connection error: desc = "error reading from server: EOF"`)
	refused := status.Error(codes.Unavailable, `last connection error: connection error: desc = "transport: Error while dialing: dial unix: connect: connection refused"`)
	handshake := status.Error(codes.Unavailable, `connection error: desc = "transport: authentication handshake failed: tls: bad certificate"`)
	for _, c := range []struct {
		err  error
		want error
		wire bool
	}{
		{rpctypes.ErrGRPCNoLeader, ErrUnavailable, false},
		{rpctypes.ErrGRPCRequestTooManyRequests, ErrUnavailable, false},
		{rpctypes.ErrGRPCNotCapable, ErrUnavailable, false},
		{rpctypes.ErrGRPCPermissionDenied, ErrUnavailable, false},
		{rpctypes.ErrGRPCInvalidAuthToken, ErrUnavailable, false},
		{rpctypes.ErrGRPCCorrupt, ErrUnavailable, false},
		{errors.New("raft proposal dropped"), ErrUnavailable, false},
		{refused, ErrUnavailable, true},
		{handshake, ErrUnavailable, true},
		{rpctypes.ErrGRPCEmptyKey, ErrInvalid, false},
		{rpctypes.ErrGRPCDuplicateKey, ErrInvalid, false},
		{rpctypes.ErrGRPCTooManyOps, ErrTooLarge, false},
		{rpctypes.ErrGRPCRequestTooLarge, ErrTooLarge, false},
		{rpctypes.ErrGRPCLeaseNotFound, ErrLeaseLost, false},
		{rpctypes.ErrGRPCNoSpace, ErrNoSpace, false},
		{rpctypes.ErrGRPCTimeout, ErrUnknown, false},
		{rpctypes.ErrGRPCTimeoutDueToLeaderFail, ErrUnknown, false},
		{rpctypes.ErrGRPCTimeoutDueToConnectionLost, ErrUnknown, false},
		{rpctypes.ErrGRPCStopped, ErrUnknown, false},
		{rpctypes.ErrGRPCLeaderChanged, ErrUnknown, false},
		{rpctypes.ErrGRPCUnhealthy, ErrUnknown, false},
		{rpctypes.ErrGRPCCanceled, ErrUnknown, false},
		{rpctypes.ErrGRPCDeadlineExceeded, ErrUnknown, false},
		{lost, ErrUnknown, true},
		{status.Error(codes.Unavailable, "transport is closing"), ErrUnknown, false},
		{status.Error(codes.Internal, "stream terminated by RST_STREAM"), ErrUnknown, false},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max"), ErrUnknown, false},
		{status.Error(codes.Unknown, "etcdserver: an error of a later version"), ErrUnknown, false},
		{context.DeadlineExceeded, ErrUnknown, false},
		{errors.New("something else"), ErrUnknown, false},
	} {
		for _, form := range []error{c.err, rpctypes.Error(c.err), errors.New(rpctypes.ErrorDesc(c.err))} {
			if c.wire && status.Code(form) != status.Code(c.err) {
				continue // gRPC's own errors come in one form only
			}
			wantOnly(t, txnError(t.Context(), form), c.want)
		}
	}
}

// TestTxnErrorOfAnEndedContext: however the context ended, the outcome is unknown and nothing else.
func TestTxnErrorOfAnEndedContext(t *testing.T) {
	for _, cause := range []error{ErrClosed, errNoAnswer, context.Canceled, fmt.Errorf("stop: %w", ErrUnavailable)} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		wantOnly(t, txnError(ctx, context.Canceled), ErrUnknown)
	}
}

func TestReadErrors(t *testing.T) {
	for err, want := range map[error]error{
		rpctypes.ErrGRPCCompacted:     ErrCompacted,
		rpctypes.ErrGRPCFutureRev:     ErrInvalid,
		rpctypes.ErrGRPCLeaseNotFound: ErrLeaseLost,
		rpctypes.ErrLeaseNotFound:     ErrLeaseLost,
		rpctypes.ErrGRPCNoSpace:       ErrNoSpace,
		rpctypes.ErrGRPCNoLeader:      ErrUnavailable,
		rpctypes.ErrGRPCTimeout:       ErrUnavailable,
		context.DeadlineExceeded:      ErrUnavailable,
	} {
		wantOnly(t, readError(t.Context(), err), want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrClosed)
	wantOnly(t, readError(ctx, context.Canceled), ErrClosed)
}
