package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// printFailure says on w what went wrong, and what would help where that is known.
func printFailure(w io.Writer, err error) {
	var e *exitError
	if errors.As(err, &e) && e.cause == nil {
		return
	}
	st, ok := status.FromError(err)
	if !ok {
		fmt.Fprintln(w, "error:", err)
		return
	}
	message := tidy(st.Message())
	var lines []string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			message, lines = "the server refuses it", nil
			for _, v := range d.GetFieldViolations() {
				lines = append(lines, strings.TrimPrefix(v.GetField()+": ", ": ")+v.GetDescription())
			}
		case *errdetails.PreconditionFailure:
			// The guard of a refusal stands in the message already; users of something in use may be many.
			if v := d.GetViolations(); len(v) > 1 {
				for _, v := range v {
					lines = append(lines, v.GetDescription())
				}
			}
		case *errdetails.RetryInfo:
			lines = append(lines, fmt.Sprintf("try again in %s", d.GetRetryDelay().AsDuration().Round(time.Second)))
		}
	}
	switch st.Code() {
	case codes.Internal, codes.Unknown, codes.Unimplemented:
		message = strings.TrimSuffix(st.Code().String()+": "+message, ": ")
	case codes.DeadlineExceeded:
		message = "the server did not answer in time"
		lines = append(lines, "nobody knows whether it was done; look first, and give more time with --request-timeout")
	case codes.Unauthenticated:
		lines = append(lines, "give a token with --token env:NAME or file:/path, or a context that has one")
	}
	fmt.Fprintln(w, "error:", message)
	for _, l := range lines {
		fmt.Fprintln(w, "  "+l)
	}
}

// rpcNoise is what gRPC puts before a message; dialNoise is what it puts around the reason why nobody answers.
const (
	rpcNoise  = `rpc error: code = \w+ desc = `
	dialNoise = `connection error: desc = "transport: [Ee]rror while dialing: ([^"]*)"`
)

// tidy turns the text of an error into one for people; a server's own message is left as it is.
func tidy(text string) string {
	text = regexp.MustCompile(rpcNoise).ReplaceAllString(text, "")
	return regexp.MustCompile(dialNoise).ReplaceAllString(text, "no server answers: $1")
}

// interrupted tells whether the user's Ctrl-C ended ctx.
func interrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errInterrupted) }

var errInterrupted = errors.New("interrupted")

// problemsOf returns the mistakes that a server found in a request.
func problemsOf(err error) []*jv1.Problem {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return nil
	}
	var problems []*jv1.Problem
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				problems = append(problems, &jv1.Problem{Field: v.GetField(), Message: v.GetDescription()})
			}
		}
	}
	return problems
}

// guardOf is the guard that refused, as the server named it; empty when none did.
func guardOf(err error) string {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return ""
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["guard"]
		}
	}
	return ""
}
