package expr

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
)

// Scope is what a condition may refer to beside what every condition knows. The zero value is valid: nothing.
type Scope struct {
	// Steps that the condition may refer to.
	Steps []Step
	// Params are the declared parameters by name.
	Params map[string]Type
}

// Step is a step that a condition may refer to.
type Step struct {
	// ID of the step.
	ID string
	// Outputs are what the step may give, by name.
	Outputs map[string]Type
}

// ids lists the steps' ids in their order.
func (s Scope) ids() []string {
	ids := make([]string, 0, len(s.Steps))
	for _, step := range s.Steps {
		ids = append(ids, step.ID)
	}
	return ids
}

// outputs lists the outputs of a step by name; known is false when there is no such step.
func (s Scope) outputs(id string) (outputs map[string]Type, known bool) {
	for _, step := range s.Steps {
		if step.ID == id {
			return step.Outputs, true
		}
	}
	return nil, false
}

// Type is the type that a parameter or an output has in expressions. All are kept as text.
type Type uint8

// The types. The zero value is String.
const (
	String Type = iota
	// Int is a whole number of 64 bits.
	Int
	// Double is a number.
	Double
	// Bool is `true` or `false`.
	Bool
	// Duration is written as Go writes it, e.g. `90s`.
	Duration
)

// String names the type as expressions do.
func (t Type) String() string {
	switch t {
	case Int:
		return "int"
	case Double:
		return "double"
	case Bool:
		return "bool"
	case Duration:
		return "duration"
	}
	return "string"
}

// Parse reads a text as a value of the type: a string, int64, float64, bool or time.Duration. The error says what the
// text must be.
func (t Type) Parse(text string) (any, error) {
	switch t {
	case Int:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		return nil, fmt.Errorf("%q is not a whole number of 64 bits", text)
	case Double:
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, fmt.Errorf("%q is not a number", text)
	case Bool:
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case Duration:
		if d, err := time.ParseDuration(text); err == nil {
			return d, nil
		}
		return nil, fmt.Errorf("%q is not a duration such as 90s or 2h", text)
	}
	return text, nil
}

func (t Type) cel() *types.Type {
	switch t {
	case Int:
		return types.IntType
	case Double:
		return types.DoubleType
	case Bool:
		return types.BoolType
	case Duration:
		return types.DurationType
	}
	return types.StringType
}

// sortedKeys lists the keys of a map, sorted.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
