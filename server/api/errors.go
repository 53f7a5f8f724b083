package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/store"
)

// Domain is the domain of the ErrorInfo that every error of ours carries.
const Domain = "jurymast"

// Reasons of ErrorInfo. They are part of the API: clients may act on them.
const (
	reasonStoreAway       = "STORE_UNAVAILABLE"
	reasonStopping        = "SERVER_STOPPING"
	reasonLoading         = "STORE_LOADING"
	reasonOutcomeUnknown  = "OUTCOME_UNKNOWN"
	reasonNoSpace         = "NO_SPACE"
	reasonTooLarge        = "TOO_LARGE"
	reasonInvalid         = "INVALID"
	reasonNotFound        = "NOT_FOUND"
	reasonChanged         = "CHANGED"
	reasonContended       = "CONTENDED"
	reasonGuard           = "GUARD_REFUSED"
	reasonInUse           = "IN_USE"
	reasonRequestReused   = "REQUEST_ID_REUSED"
	reasonUnauthenticated = "UNAUTHENTICATED"
	reasonForbidden       = "FORBIDDEN"
	reasonDeadline        = "DEADLINE_TOO_SHORT"
	reasonNotPossible     = "NOT_POSSIBLE"
	reasonBusy            = "BUSY"
	reasonNotReady        = "NOT_READY"
	reasonInternal        = "INTERNAL"
)

// retryAfter is the hint given with UNAVAILABLE: etcd elects a leader in one to two seconds.
const retryAfter = time.Second

// Violation is one mistake in a request, with its place.
type Violation struct {
	// Field is the path of the field, e.g. `resources[2].runbook.steps[0].if`.
	Field string
	// Message says what is wrong and how to mend it.
	Message string
}

// fault is an error of a handler that knows its code, reason and details.
type fault struct {
	code    codes.Code
	reason  string
	message string
	about   map[string]string
	details []protoadapt.MessageV1
	cause   error
}

// Error implements error.
func (f *fault) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%s: %v", f.message, f.cause)
	}
	return f.message
}

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.cause }

// status translates the fault.
func (f *fault) status() *status.Status {
	info := &errdetails.ErrorInfo{Reason: f.reason, Domain: Domain, Metadata: f.about}
	st := status.New(f.code, f.message)
	detailed, err := st.WithDetails(append([]protoadapt.MessageV1{info}, f.details...)...)
	if err != nil {
		return st
	}
	return detailed
}

// invalid refuses a request for the mistakes in it; there must be at least one.
func invalid(violations ...Violation) error {
	bad := &errdetails.BadRequest{}
	for _, v := range violations {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Message})
	}
	message := fmt.Sprintf("%s: %s", violations[0].Field, violations[0].Message)
	if violations[0].Field == "" {
		message = violations[0].Message
	}
	if n := len(violations); n > 1 {
		message += fmt.Sprintf(" (and %d more)", n-1)
	}
	return &fault{code: codes.InvalidArgument, reason: reasonInvalid, message: message, details: []protoadapt.MessageV1{bad}}
}

// notFound says that there is no resource of that name.
func notFound(kind, name string) error {
	return &fault{
		code: codes.NotFound, reason: reasonNotFound, message: fmt.Sprintf("there is no %s %q", kind, shortened(name)),
		details: []protoadapt.MessageV1{&errdetails.ResourceInfo{ResourceType: kind, ResourceName: name}},
	}
}

// changed says that something isn't as the caller expected it.
func changed(message string) error {
	return &fault{code: codes.Aborted, reason: reasonChanged, message: message}
}

// violations are the mistakes that a refused request has; none for another fault.
func (f *fault) violations() []Violation {
	var out []Violation
	for _, d := range f.details {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			out = append(out, Violation{Field: v.GetField(), Message: v.GetDescription()})
		}
	}
	return out
}

// refused says which guard refuses.
func refused(guard, detail string) error {
	return &fault{
		code: codes.FailedPrecondition, reason: reasonGuard, message: guard + ": " + detail,
		about: map[string]string{"guard": guard},
		details: []protoadapt.MessageV1{&errdetails.PreconditionFailure{
			Violations: []*errdetails.PreconditionFailure_Violation{{Type: "GUARD", Subject: guard, Description: detail}},
		}},
	}
}

// inUse says what still refers to a resource.
func inUse(kind, name string, by []string) error {
	failure := &errdetails.PreconditionFailure{}
	for _, user := range by {
		failure.Violations = append(failure.Violations, &errdetails.PreconditionFailure_Violation{
			Type: reasonInUse, Subject: strings.Replace(user, " ", "/", 1), Description: fmt.Sprintf("%s refers to %s %s", user, kind, name),
		})
	}
	message := fmt.Sprintf("%s %s is still used by %s", kind, name, by[0])
	if n := len(by); n > 1 {
		message += fmt.Sprintf(" and %d more", n-1)
	}
	return &fault{
		code: codes.FailedPrecondition, reason: reasonInUse, message: message, details: []protoadapt.MessageV1{failure},
	}
}

// unavailable asks to try again.
func unavailable(reason, message string, cause error) error {
	return &fault{
		code: codes.Unavailable, reason: reason, message: message, cause: cause,
		details: []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}},
	}
}

// Class is how an error of another part is shown to a client.
type Class struct {
	// Code of the status.
	Code codes.Code
	// Reason of the ErrorInfo, e.g. `NOT_FOUND`.
	Reason string
	// Retry asks to try again in a moment.
	Retry bool
}

// The classes there are for the errors of other parts; their texts are shown as they are.
var (
	// NotFound: there is no such thing.
	NotFound = Class{Code: codes.NotFound, Reason: reasonNotFound}
	// Changed: it is not as the caller expected it.
	Changed = Class{Code: codes.Aborted, Reason: reasonChanged}
	// NotPossible: not in its present state.
	NotPossible = Class{Code: codes.FailedPrecondition, Reason: reasonNotPossible}
	// Invalid: the request can't be carried out as it stands.
	Invalid = Class{Code: codes.InvalidArgument, Reason: reasonInvalid}
	// Forbidden: this caller may not.
	Forbidden = Class{Code: codes.PermissionDenied, Reason: reasonForbidden}
	// Reused: a request id was used for another request.
	Reused = Class{Code: codes.AlreadyExists, Reason: reasonRequestReused}
	// Busy: there is too much to do.
	Busy = Class{Code: codes.ResourceExhausted, Reason: reasonBusy, Retry: true}
	// Later: this replica can't at the moment; nothing was changed.
	Later = Class{Code: codes.Unavailable, Reason: reasonNotReady, Retry: true}
)

// Known says how one error of another part is shown.
type Known struct {
	// Err is the error as errors.Is knows it.
	Err error
	// Class is how it is shown.
	Class Class
}

// translator turns errors into statuses.
type translator []Known

// status translates an error; nil for one that must not be shown.
func (t translator) status(err error) *status.Status {
	for _, k := range t {
		if errors.Is(err, k.Err) {
			f := &fault{code: k.Class.Code, reason: k.Class.Reason, message: err.Error()}
			if k.Class.Retry {
				f.details = append(f.details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
			}
			return f.status()
		}
	}
	return known(err)
}

// known translates the errors of the packages below; nil for one that must not be shown.
func known(err error) *status.Status {
	var f *fault
	var refusal *continuity.Refusal
	switch {
	case errors.As(err, &f):
		return f.status()
	case errors.As(err, &refusal):
		return known(refused(string(refusal.Guard), refusal.Detail))
	case errors.Is(err, continuity.ErrNotFound):
		f = &fault{code: codes.NotFound, reason: reasonNotFound, message: err.Error()}
	case errors.Is(err, continuity.ErrEpoch):
		f = &fault{code: codes.Aborted, reason: reasonChanged, message: err.Error()}
	case errors.Is(err, request.ErrMismatch):
		f = &fault{code: codes.AlreadyExists, reason: reasonRequestReused, message: err.Error()}
	case errors.Is(err, store.ErrUnknown):
		f = &fault{
			code: codes.Aborted, reason: reasonOutcomeUnknown,
			message: "nobody knows whether the change was stored; look, or repeat the call with the same request_id",
		}
	case errors.Is(err, store.ErrObserveOnly):
		return known(refused(guardRestored, store.ErrObserveOnly.Error()+", with `jurymast restore confirm --reason ...`"))
	case errors.Is(err, store.ErrNotRestored):
		f = &fault{code: codes.FailedPrecondition, reason: reasonNotPossible, message: err.Error()}
	case errors.Is(err, store.ErrNoSpace):
		f = &fault{code: codes.ResourceExhausted, reason: reasonNoSpace, message: "the store is out of space and refuses writes"}
	case errors.Is(err, store.ErrTooLarge):
		f = &fault{code: codes.InvalidArgument, reason: reasonTooLarge, message: "too much for one transaction; change less at once"}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrLeaseLost):
		return known(unavailable(reasonStoreAway, "the store can't be reached; nothing was changed", nil))
	case errors.Is(err, store.ErrClosed):
		return known(unavailable(reasonStopping, "the server is stopping", nil))
	case errors.Is(err, store.ErrCompacted):
		f = &fault{code: codes.Aborted, reason: reasonChanged, message: "the list changed too much meanwhile; begin again without a page token"}
	case errors.Is(err, auth.ErrUnauthenticated):
		f = &fault{code: codes.Unauthenticated, reason: reasonUnauthenticated, message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		f = &fault{code: codes.DeadlineExceeded, reason: reasonDeadline, message: "the call's deadline passed"}
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the caller went away")
	default:
		return nil
	}
	return f.status()
}

// internal is what a client sees of an error that is our own fault: an id that stands in the log beside the cause.
func internal(id string) *status.Status {
	f := &fault{
		code: codes.Internal, reason: reasonInternal, about: map[string]string{"id": id},
		message: "internal error; the server's log has the cause under " + id,
	}
	return f.status()
}
