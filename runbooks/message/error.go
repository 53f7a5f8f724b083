package message

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	// ErrTooExpensive says that rendering was stopped because a template does too much work.
	ErrTooExpensive = errors.New("the template does too much work")
	// ErrTooLong says that rendering was stopped because the result would be longer than it may be.
	ErrTooLong = errors.New("the result is too long")
)

// Error says why a template is refused, or why it could not be rendered.
type Error struct {
	// Field of the step the template stands in: `title`, `text`, `template`, or empty for a single text.
	Field string
	// Line in the template, from 1. Zero: it concerns the whole of it.
	Line int
	// Column in bytes, from 1. Zero: not known.
	Column int
	// Message says what is wrong.
	Message string

	cause error
}

// Error gives field, place and message.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	switch {
	case e.Line > 0 && e.Column > 0:
		fmt.Fprintf(&b, "%d:%d: ", e.Line, e.Column)
	case e.Line > 0:
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap gives the cause: ErrTooExpensive, ErrTooLong or what text/template said.
func (e *Error) Unwrap() error { return e.cause }

// What text/template says: `template: NAME:LINE:COLUMN: executing "NAME" at <WHAT>: MESSAGE`, without column and
// middle when it is about syntax. NAME is always templateName.
var (
	place     = regexp.MustCompile(`(?s)^template: ` + templateName + `:(\d+)(?::(\d+))?: (.*)$`)
	executing = regexp.MustCompile(`(?s)^executing "` + templateName + `" at <(.*?)>: (.*)$`)
	calling   = regexp.MustCompile(`(?s)^error calling (\w+): (.*)$`)
	noField   = regexp.MustCompile(`^can't evaluate field (\w+) in type (.*)$`)
)

// newError takes the place out of what text/template says. Its columns count from 0.
func newError(field string, err error) *Error {
	e := &Error{Field: field, Message: err.Error(), cause: err}
	found := place.FindStringSubmatch(e.Message)
	if found == nil {
		return e
	}
	e.Line, _ = strconv.Atoi(found[1])
	if found[2] != "" {
		e.Column, _ = strconv.Atoi(found[2])
		e.Column++
	}
	e.Message = found[3]
	if at := executing.FindStringSubmatch(e.Message); at != nil {
		e.Message = at[2]
		if missing := noField.FindStringSubmatch(e.Message); missing != nil {
			e.Message = fmt.Sprintf("there is no %s in %s", missing[1], at[1])
		}
	}
	for _, bound := range []error{ErrTooExpensive, ErrTooLong} {
		if errors.Is(err, bound) {
			e.Message = bound.Error()
		}
	}
	if call := calling.FindStringSubmatch(e.Message); call != nil {
		e.Message = call[1] + ": " + call[2]
	}
	return e
}
