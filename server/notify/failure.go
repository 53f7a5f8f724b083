package notify

import (
	"errors"
	"time"
)

// Cause names why an attempt failed; it is a label of the metrics.
type Cause string

// The causes.
const (
	// CauseCredential says that a reference names no usable secret or address.
	CauseCredential Cause = "credential"
	// CauseNetwork says that no answer came: no connection, or one that broke.
	CauseNetwork Cause = "network"
	// CauseTimeout says that no answer came in time.
	CauseTimeout Cause = "timeout"
	// CauseThrottled says that the receiver asked for patience (429).
	CauseThrottled Cause = "throttled"
	// CauseServer says that the receiver failed (5xx).
	CauseServer Cause = "server"
	// CauseRedirect says that the receiver pointed elsewhere (3xx), which is not followed.
	CauseRedirect Cause = "redirect"
	// CauseRefused says that the receiver refused the message (4xx).
	CauseRefused Cause = "refused"
	// CauseChannel says that the channel doesn't exist or is of a kind this version doesn't know.
	CauseChannel Cause = "channel"
	// CauseOther is everything else.
	CauseOther Cause = "other"
)

// Failure is why an attempt to send failed, and what follows. Its text holds no secret.
type Failure struct {
	// Cause is the named reason.
	Cause Cause
	// Permanent says that the message will never be taken: it is not sent again.
	Permanent bool
	// RetryAfter is how long the receiver asked to be left alone; 0: it did not say.
	RetryAfter time.Duration
	// Err says more.
	Err error
}

// Error returns the text of the error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error behind the failure.
func (f *Failure) Unwrap() error { return f.Err }

// failureOf returns the failure an error holds. An error that is none may be repeated: rather twice than never.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Cause: CauseOther, Err: err}
}
