package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/client"
)

func TestCodeOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want ExitCode
	}{
		{nil, ExitOK},
		{errors.New("x"), ExitFailed},
		{usage("x"), ExitUsage},
		{fmt.Errorf("y: %w", usage("x")), ExitUsage},
		{client.ErrOptions, ExitUsage},
		{context.DeadlineExceeded, ExitUnavailable},
		{status.Error(codes.NotFound, ""), ExitNotFound},
		{fmt.Errorf("y: %w", status.Error(codes.NotFound, "")), ExitNotFound},
		{status.Error(codes.Aborted, ""), ExitConflict},
		{status.Error(codes.FailedPrecondition, ""), ExitConflict},
		{status.Error(codes.AlreadyExists, ""), ExitConflict},
		{status.Error(codes.Unauthenticated, ""), ExitForbidden},
		{status.Error(codes.PermissionDenied, ""), ExitForbidden},
		{status.Error(codes.Unavailable, ""), ExitUnavailable},
		{status.Error(codes.DeadlineExceeded, ""), ExitUnavailable},
		{status.Error(codes.ResourceExhausted, ""), ExitUnavailable},
		{status.Error(codes.InvalidArgument, ""), ExitUsage},
		{status.Error(codes.Internal, ""), ExitFailed},
		{Exit(ExitWaiting, nil), ExitWaiting},
	} {
		if got := codeOf(test.err); got != test.want {
			t.Errorf("%v ends with %d, want %d", test.err, got, test.want)
		}
	}
}

func TestPrintFailure(t *testing.T) {
	dial := `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`
	for _, test := range []struct {
		err  error
		want string
	}{
		{Exit(ExitConflict, nil), ""},
		{errors.New("plain"), "error: plain\n"},
		{status.Error(codes.NotFound, "there is no run"), "error: there is no run\n"},
		{status.Error(codes.Unavailable, dial), "error: no server answers: dial tcp 127.0.0.1:1: connect: connection refused\n"},
		{fmt.Errorf("health: %w", status.Error(codes.Unavailable, dial)), "error: health: no server answers: dial tcp 127.0.0.1:1: connect: connection refused\n"},
		{status.Error(codes.Internal, "the log has it"), "error: Internal: the log has it\n"},
		{status.Error(codes.Unimplemented, ""), "error: Unimplemented\n"},
		{
			status.Error(codes.DeadlineExceeded, "context deadline exceeded"),
			"error: the server did not answer in time\n  nobody knows whether it was done; look first, and give more time with --request-timeout\n",
		},
	} {
		var b bytes.Buffer
		printFailure(&b, test.err)
		if b.String() != test.want {
			t.Errorf("%v is told as %q, want %q", test.err, b.String(), test.want)
		}
	}
}

// TestExitCodesAreExplained keeps the help complete.
func TestExitCodesAreExplained(t *testing.T) {
	seen := map[ExitCode]bool{}
	for _, c := range exitCodes() {
		if c.Text == "" || seen[c.Code] {
			t.Errorf("code %d: %q", c.Code, c.Text)
		}
		seen[c.Code] = true
	}
	for c := ExitOK; c <= ExitWaiting; c++ {
		if !seen[c] {
			t.Errorf("code %d is not explained", c)
		}
	}
}

func TestMinor(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "v1.2", "v1.2.3-0.20261122-abc": "v1.2", "devel": "devel", "devel-1a2b": "devel-1a2b", "1.2.3": "1.2.3", "v1": "v1", "": "",
	} {
		if got := minor(in); got != want {
			t.Errorf("%q is of %q, want %q", in, got, want)
		}
	}
}

func TestMatchesID(t *testing.T) {
	const id = "r-06h0agkhxgcn7c69n7a0"
	for part, want := range map[string]bool{
		id: true, "r-06h0": true, "06h0": true, "69n7a0": true, "0": true, "gkhx": false, "r-7": false, "x" + id: false,
	} {
		if got := matchesID(id, part); got != want {
			t.Errorf("%q matches: %t, want %t", part, got, want)
		}
	}
}

func TestMergedSettings(t *testing.T) {
	got := merged("x", []namedContext{
		{Token: "env:A"},
		{Servers: []string{"b"}, Token: "env:B", Key: "b.key"},
		{Servers: []string{"c"}, CA: "c.pem", Cert: "c.crt", Key: "c.key", Insecure: true},
	})
	want := namedContext{Name: "x", Servers: []string{"b"}, Token: "env:A", CA: "c.pem", Key: "b.key", Insecure: true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("merged to %+v, want %+v", got, want)
	}
}
