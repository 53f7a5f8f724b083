package detect

import "errors"

// Errors of the package. They are wrapped; test with errors.Is.
var (
	// ErrUnknownSource says that there is no detector of that name that takes signals in this form.
	ErrUnknownSource = errors.New("no such source")
	// ErrNotBound says that the source may not speak of that service or provider.
	ErrNotBound = errors.New("source is not bound to this")
	// ErrNotFound says that there is no such service, provider or detector.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that what was given is malformed, with what is wrong in the wrapping error.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable says that nothing could be stored, or that it isn't known whether it was: send again.
	ErrUnavailable = errors.New("store away, send again")
)
