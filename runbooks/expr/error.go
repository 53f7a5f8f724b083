package expr

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTooExpensive says that an evaluation was stopped because it cost too much.
var ErrTooExpensive = errors.New("the expression costs too much to evaluate")

// Error says why an expression is refused. Its places are inside the expression.
type Error struct {
	// Problems holds at least one, in the order of their places.
	Problems []Problem
}

// Problem is one thing that is wrong with an expression.
type Problem struct {
	// Line in the expression, from 1.
	Line int
	// Column in characters, from 1.
	Column int
	// Message says what is wrong.
	Message string
	// Step is the id that is referred to, when it is that of no step it may be.
	Step string
}

// Error joins all problems in one line, each with its place.
func (e *Error) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}

// String gives line, column and message.
func (p Problem) String() string {
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message)
}
