package cli

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/client"
)

// ExitCode is the exit status of the program. The numbers are part of the interface.
type ExitCode int

const (
	// ExitOK means that it was done, or that there was nothing to do.
	ExitOK ExitCode = 0
	// ExitFailed means that it failed for a reason that no other code names, a file with mistakes among them.
	ExitFailed ExitCode = 1
	// ExitUsage means that the command line is wrong.
	ExitUsage ExitCode = 2
	// ExitNotFound means that there is nothing of that name.
	ExitNotFound ExitCode = 3
	// ExitConflict means that a guard refused, that something changed meanwhile, or that it is in use.
	ExitConflict ExitCode = 4
	// ExitForbidden means that the server doesn't know the caller or doesn't let them.
	ExitForbidden ExitCode = 5
	// ExitUnavailable means that no server answers in time, or that its store is away.
	ExitUnavailable ExitCode = 6
	// ExitRunFailed means that the run which was waited for ended FAILED.
	ExitRunFailed ExitCode = 7
	// ExitCanceled means that the run which was waited for was canceled or superseded.
	ExitCanceled ExitCode = 8
	// ExitWaiting means that the run which was waited for waits for a human.
	ExitWaiting ExitCode = 9
	// ExitInterrupted means that the user ended the command with Ctrl-C.
	ExitInterrupted ExitCode = 130
)

// exitCodes explains the codes for the help, in order.
func exitCodes() []struct {
	Code ExitCode
	Text string
} {
	return []struct {
		Code ExitCode
		Text string
	}{
		{ExitOK, "done, or nothing to do"},
		{ExitFailed, "failed; a file has mistakes"},
		{ExitUsage, "the command line is wrong"},
		{ExitNotFound, "there is nothing of that name"},
		{ExitConflict, "a guard refused, it changed meanwhile, or it is in use"},
		{ExitForbidden, "the server doesn't know you or doesn't let you"},
		{ExitUnavailable, "no server answers in time, or its store is away"},
		{ExitRunFailed, "the run that was waited for ended FAILED"},
		{ExitCanceled, "the run that was waited for was canceled or superseded"},
		{ExitWaiting, "the run that was waited for waits for a human"},
		{ExitInterrupted, "interrupted by Ctrl-C"},
	}
}

// exitError is an error that knows its exit code. With a nil cause everything was said already.
type exitError struct {
	code  ExitCode
	cause error
}

// Error implements error.
func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.cause.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.cause }

// Exit returns an error that ends the program with a code. With a nil cause nothing more is printed.
func Exit(code ExitCode, cause error) error { return &exitError{code: code, cause: cause} }

// usage says that the command line is wrong.
func usage(format string, args ...any) error {
	return &exitError{code: ExitUsage, cause: fmt.Errorf(format, args...)}
}

// codeOf is the exit code of an error.
func codeOf(err error) ExitCode {
	var e *exitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, client.ErrOptions):
		return ExitUsage
	case errors.Is(err, context.DeadlineExceeded):
		return ExitUnavailable
	}
	st, ok := status.FromError(err)
	if !ok {
		return ExitFailed
	}
	switch st.Code() {
	case codes.NotFound:
		return ExitNotFound
	case codes.Aborted, codes.FailedPrecondition, codes.AlreadyExists:
		return ExitConflict
	case codes.Unauthenticated, codes.PermissionDenied:
		return ExitForbidden
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return ExitUnavailable
	case codes.InvalidArgument:
		return ExitUsage
	default:
		return ExitFailed
	}
}
