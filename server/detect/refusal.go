package detect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/telemetry"
)

// domain is that of the ErrorInfo of every error of ours.
const domain = "jurymast"

// refusal is how an error is shown to a sender: a google.rpc.Status as JSON, as everywhere in the API, under an HTTP
// status of its own.
type refusal struct {
	http    int
	code    codes.Code
	reason  string // of the ErrorInfo
	message string
}

// refusalOf says how an error is shown. Those that are our own fault keep their text for the log.
func refusalOf(err error) refusal {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return refusal{http.StatusRequestEntityTooLarge, codes.InvalidArgument, "TOO_LARGE", fmt.Sprintf("the body is longer than %d bytes", maxBody)}
	case errors.Is(err, ErrUnknownSource):
		return refusal{http.StatusNotFound, codes.NotFound, "NOT_FOUND", err.Error()}
	case errors.Is(err, auth.ErrUnauthenticated):
		return refusal{http.StatusUnauthorized, codes.Unauthenticated, "UNAUTHENTICATED", err.Error()}
	case errors.Is(err, errForbidden), errors.Is(err, ErrNotBound):
		return refusal{http.StatusForbidden, codes.PermissionDenied, "FORBIDDEN", err.Error()}
	case errors.Is(err, ErrUnavailable):
		return refusal{http.StatusServiceUnavailable, codes.Unavailable, "STORE_UNAVAILABLE", "nothing is known to be stored, send again"}
	case errors.Is(err, ErrInvalid), errors.Is(err, io.ErrUnexpectedEOF):
		return refusal{http.StatusBadRequest, codes.InvalidArgument, "INVALID", err.Error()}
	default:
		return refusal{http.StatusInternalServerError, codes.Internal, "INTERNAL", "internal error"}
	}
}

// refuse answers an error. The source is empty when there is none of that name.
func (d *Detect) refuse(w http.ResponseWriter, name string, err error) {
	r := refusalOf(err)
	if name != "" {
		d.metrics.taken(name, "refused", 1)
	}
	d.log.Warn("signal refused", telemetry.KeyDetector, name, telemetry.KeyCode, r.http, telemetry.KeyError, err)
	d.fail(w, r)
}

// fail writes a refusal.
func (d *Detect) fail(w http.ResponseWriter, r refusal) {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: r.reason, Domain: domain}}
	h := w.Header()
	switch r.code {
	case codes.Unauthenticated:
		h.Set("WWW-Authenticate", "Bearer")
	case codes.Unavailable:
		h.Set("Retry-After", fmt.Sprint(int(retryAfter.Seconds())))
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	st := status.New(r.code, r.message)
	if detailed, err := st.WithDetails(details...); err == nil {
		st = detailed
	}
	body, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(st.Proto())
	if err != nil {
		d.log.Error("marshal a status", telemetry.KeyError, err)
		body = []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(r.http)
	_, _ = w.Write(append(body, '\n')) // a sender that is gone needs no answer
}

// retryAfter is when a sender shall come back that could not be served.
const retryAfter = 5 * time.Second
