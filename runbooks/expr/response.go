package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
)

// Response is what a condition over an HTTP response may ask about.
type Response struct {
	// JSON is the body as [ParseJSON] decodes it; `json`. Nil when the body is JSON null, or no JSON.
	JSON any
	// Status is the HTTP status; `status`.
	Status int
	// Headers by name in lower case, several values of one name joined by ", "; `headers`.
	Headers map[string]string
	// Latency is the time from the request to the last byte of the answer; `latency`.
	Latency time.Duration
}

// ResponseCondition is a compiled condition over a response. Immutable and safe for concurrent use.
type ResponseCondition struct {
	program *program
}

// CompileResponse compiles a condition over a response. The error is an *Error.
func CompileResponse(src string) (*ResponseCondition, error) {
	env, err := responseEnv()
	if err != nil {
		return nil, newError([]Problem{{Line: 1, Column: 1, Message: err.Error()}})
	}
	l := language{env: env, variables: responseVariables, refuses: unlessBoolOrDyn}
	p, err := l.compile(src)
	if err != nil {
		return nil, err
	}
	return &ResponseCondition{program: p}, nil
}

// Eval tells whether the condition holds. An error means that the response doesn't answer it, e.g. because its JSON has
// no such member, or that it cost too much (ErrTooExpensive); who needs a yes has to take it for a no.
func (c *ResponseCondition) Eval(r Response) (bool, error) {
	return c.program.holds(responseActivation{response: &r})
}

// String returns the source.
func (c *ResponseCondition) String() string { return c.program.src }

// Reads tells whether the condition asks for a variable, e.g. `json`.
func (c *ResponseCondition) Reads(variable string) bool { return reads(c.program.tree, variable) }

// responseActivation hands a response to CEL by name.
type responseActivation struct{ response *Response }

// Parent says that nothing stands behind the response.
func (a responseActivation) Parent() cel.Activation { return nil }

// ResolveName returns the value of a variable.
func (a responseActivation) ResolveName(name string) (any, bool) {
	switch name {
	case "json":
		return a.response.JSON, true
	case "status":
		return int64(a.response.Status), true
	case "headers":
		if a.response.Headers == nil {
			return map[string]string{}, true
		}
		return a.response.Headers, true
	case "latency":
		return a.response.Latency, true
	}
	return nil, false
}

// ParseJSON decodes a body as encoding/json decodes it into an any, except that whole numbers which a float64 would
// round, as long ids are, stay exact. Nil when it is not JSON.
func ParseJSON(body []byte) any {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil // something follows
	}
	return exact(value)
}

// mostExact is the greatest whole number up to which a float64 holds all of them.
const mostExact = 1 << 53

func exact(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && (n > mostExact || n < -mostExact) {
			return n
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil && n > mostExact {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return nil // no float64 holds it
		}
		return f
	}
	return value
}
