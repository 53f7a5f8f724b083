package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errNoAnswer is why a request was given up.
var errNoAnswer = errors.New("no answer in time")

// refusals are the errors with which etcd refuses a transaction before it is proposed, or as a whole when it is
// applied: it certainly did not happen. Everything that is not listed here may have happened or may still happen:
// time-outs, a lost connection, a stopping server, a change of leaders, and what a later etcd may invent. So an error
// is added only after reading at which place of the server it is made.
var refusals = map[string]error{
	// Before the proposal: what the request looks like.
	rpctypes.ErrorDesc(rpctypes.ErrGRPCEmptyKey):        ErrInvalid,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCDuplicateKey):    ErrInvalid,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCTooManyOps):      ErrTooLarge,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCRequestTooLarge): ErrTooLarge,
	// Before the proposal: the state of the member.
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader):               ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNotCapable):             ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNotSupportedForLearner): ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCRequestTooManyRequests): ErrUnavailable,
	// raft.ErrProposalDropped: the member's own raft did not take the proposal.
	"raft proposal dropped": ErrUnavailable,
	// Before the proposal or when it is applied: who asks.
	rpctypes.ErrorDesc(rpctypes.ErrGRPCInvalidAuthToken): ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthOldRevision):  ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthFailed):       ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCPermissionDenied): ErrUnavailable,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCUserEmpty):        ErrUnavailable,
	// When it is applied, before the first write.
	rpctypes.ErrorDesc(rpctypes.ErrGRPCLeaseNotFound): ErrLeaseLost,
	rpctypes.ErrorDesc(rpctypes.ErrGRPCCorrupt):       ErrUnavailable,
	// Not a refusal: the writes may be done. The caller has to look, see [Backend].
	rpctypes.ErrorDesc(rpctypes.ErrGRPCNoSpace): ErrNoSpace,
}

// neverSent are the beginnings of the reasons gRPC gives when it had no connection to send a request on.
var neverSent = []string{"transport: Error while dialing", "transport: authentication handshake failed"}

// txnError tells what an error of a transaction means.
func txnError(ctx context.Context, err error) error {
	if meaning, ok := refusals[rpctypes.ErrorDesc(err)]; ok {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	if status.Code(err) == codes.Unavailable && notSentByGRPC(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		// Not wrapped: an unknown outcome must not be taken for anything else.
		return fmt.Errorf("%w (%s: %s)", ErrUnknown, cause.Error(), err.Error())
	}
	return fmt.Errorf("%w (%s)", ErrUnknown, err.Error())
}

func notSentByGRPC(err error) bool {
	message := status.Convert(err).Message()
	for _, reason := range neverSent {
		if strings.Contains(message, reason) {
			return true
		}
	}
	return false
}

// readError tells what an error of a read, a watch or a lease operation means: nothing that could be harmed by trying
// again has happened.
func readError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, ErrClosed) {
			return ErrClosed
		}
		return fmt.Errorf("%w: %w (%s)", ErrUnavailable, cause, err.Error())
	}
	switch rpctypes.ErrorDesc(err) {
	case rpctypes.ErrorDesc(rpctypes.ErrGRPCCompacted):
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	case rpctypes.ErrorDesc(rpctypes.ErrGRPCFutureRev):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case rpctypes.ErrorDesc(rpctypes.ErrGRPCLeaseNotFound):
		return fmt.Errorf("%w: %w", ErrLeaseLost, err)
	case rpctypes.ErrorDesc(rpctypes.ErrGRPCNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}
