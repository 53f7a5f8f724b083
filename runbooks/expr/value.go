package expr

import (
	"fmt"
	"math"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// ResponseValue is a compiled expression that takes a value out of a response. Immutable and safe for concurrent use.
type ResponseValue struct {
	program *program
}

// CompileValue compiles an expression that takes a value out of a response: a text, a number, true or false, a duration
// or a time. The error is an *Error.
func CompileValue(src string) (*ResponseValue, error) {
	env, err := responseEnv()
	if err != nil {
		return nil, newError([]Problem{{Line: 1, Column: 1, Message: err.Error()}})
	}
	l := language{env: env, variables: responseVariables, refuses: unlessValue}
	p, err := l.compile(src)
	if err != nil {
		return nil, err
	}
	return &ResponseValue{program: p}, nil
}

// Eval gives the value as text: numbers without an exponent as far as that is readable, durations and times as CEL
// writes them. An error means that the response doesn't hold it, that it is null, a list or an object, or that it cost
// too much (ErrTooExpensive).
func (v *ResponseValue) Eval(r Response) (string, error) {
	out, err := v.program.eval(responseActivation{response: &r})
	if err != nil {
		return "", err
	}
	switch value := out.(type) {
	case types.String:
		return string(value), nil
	case types.Bool:
		return strconv.FormatBool(bool(value)), nil
	case types.Int:
		return strconv.FormatInt(int64(value), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(value), 10), nil
	case types.Double:
		return number(float64(value)), nil
	case types.Duration, types.Timestamp:
		if text, ok := value.ConvertToType(types.StringType).(types.String); ok {
			return string(text), nil
		}
	}
	return "", fmt.Errorf("evaluating %q: the result is %s, %s", v.program.src, out.Type().TypeName(), valueWords)
}

// String returns the source.
func (v *ResponseValue) String() string { return v.program.src }

const valueWords = "neither a text, a number, true or false, a duration nor a time"

// unlessValue refuses results that have no text of their own.
func unlessValue(t *cel.Type) string {
	switch t.Kind() {
	case types.StringKind, types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind,
		types.DurationKind, types.TimestampKind, types.DynKind:
		return ""
	}
	return "the expression gives " + typeInWords(t) + ", " + valueWords
}

// number writes a number as JSON does: an exponent only where the digits would not be read.
func number(f float64) string {
	if a := math.Abs(f); f == 0 || a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
