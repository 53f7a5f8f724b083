package expr

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The types of `steps`, of one of its members, and of the hidden objects behind parameters and outputs. Their names hold
// a blank, so that no expression can construct one.
const (
	stepsTypeName   = "the steps"
	stepTypeName    = "a step"
	paramsTypeName  = "the parameters"
	outputsTypeName = "the outputs"
	outputTypeName  = "the output of " // and the step's id
)

// stepFields are the members of a step in the order in which messages list them.
var stepFields = []string{"succeeded", "failed", "skipped", "output"}

type (
	// stepsValue is the Go value behind `steps`.
	stepsValue map[string]StepFacts
	// outputsValue is the Go value behind the outputs of all steps.
	outputsValue map[string]StepFacts
	// record is the Go value behind the parameters, and behind the output of one step.
	record map[string]string
)

// objectTypes gives CEL the types of a scope: one field for each step, parameter and output that may be referred to.
// With them the type checker itself refuses every other one, however it is reached.
type objectTypes struct {
	types.Provider
	scope Scope
}

// FindStructType knows the types and leaves the rest to CEL.
func (p *objectTypes) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.FindStructFieldNames(name); ok && strings.Contains(name, " ") {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames lists the fields of the types.
func (p *objectTypes) FindStructFieldNames(name string) ([]string, bool) {
	switch name {
	case stepsTypeName, outputsTypeName:
		return p.scope.ids(), true
	case stepTypeName:
		return stepFields, true
	case paramsTypeName:
		return sortedKeys(p.scope.Params), true
	}
	if id, ok := strings.CutPrefix(name, outputTypeName); ok {
		outputs, known := p.scope.outputs(id)
		return sortedKeys(outputs), known
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType gives the type of a field, and how its value is read.
func (p *objectTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	switch name {
	case stepsTypeName:
		if !slices.Contains(p.scope.ids(), field) {
			return nil, false
		}
		return stepsField(field), true
	case stepTypeName:
		if !slices.Contains(stepFields, field) {
			return nil, false
		}
		return stepField(field), true
	case outputsTypeName:
		if !slices.Contains(p.scope.ids(), field) {
			return nil, false
		}
		return outputsField(field), true
	case paramsTypeName:
		t, ok := p.scope.Params[field]
		return recordField(field, t), ok
	}
	if id, ok := strings.CutPrefix(name, outputTypeName); ok {
		outputs, _ := p.scope.outputs(id)
		t, ok := outputs[field]
		return recordField(field, t), ok
	}
	return p.Provider.FindStructFieldType(name, field)
}

func stepsField(id string) *types.FieldType {
	return &types.FieldType{
		Type: types.NewObjectType(stepTypeName),
		IsSet: func(target any) bool {
			steps, ok := target.(stepsValue)
			_, there := steps[id]
			return ok && there
		},
		GetFrom: func(target any) (any, error) {
			steps, ok := target.(stepsValue)
			if !ok {
				return nil, fmt.Errorf("no such step: %s", id)
			}
			return steps[id], nil
		},
	}
}

func stepField(field string) *types.FieldType {
	t := types.BoolType
	if field == "output" {
		t = types.NewMapType(types.StringType, types.StringType)
	}
	return &types.FieldType{
		Type:    t,
		IsSet:   func(target any) bool { _, ok := target.(StepFacts); return ok },
		GetFrom: func(target any) (any, error) { return getStepField(target, field) },
	}
}

func getStepField(target any, field string) (any, error) {
	step, ok := target.(StepFacts)
	if !ok {
		return nil, fmt.Errorf("no such property of a step: %s", field)
	}
	switch field {
	case "succeeded":
		return step.Succeeded, nil
	case "failed":
		return step.Failed, nil
	case "skipped":
		return step.Skipped, nil
	case "output":
		if step.Output == nil {
			return map[string]string{}, nil
		}
		return step.Output, nil
	}
	return nil, fmt.Errorf("no such property of a step: %s", field)
}

// outputsField is the output of one step.
func outputsField(id string) *types.FieldType {
	return &types.FieldType{
		Type: types.NewObjectType(outputTypeName + id),
		IsSet: func(target any) bool {
			steps, ok := target.(outputsValue)
			_, there := steps[id]
			return ok && there
		},
		GetFrom: func(target any) (any, error) {
			steps, ok := target.(outputsValue)
			if !ok {
				return nil, fmt.Errorf("no such step: %s", id)
			}
			return record(steps[id].Output), nil
		},
	}
}

// recordField is one parameter or one output: kept as text, read as its type.
func recordField(name string, t Type) *types.FieldType {
	return &types.FieldType{
		Type: t.cel(),
		IsSet: func(target any) bool {
			r, ok := target.(record)
			_, there := r[name]
			return ok && there
		},
		GetFrom: func(target any) (any, error) {
			r, ok := target.(record)
			text, there := r[name]
			if !ok || !there {
				return nil, fmt.Errorf("no such key: %s", name)
			}
			value, err := t.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return value, nil
		},
	}
}

// objectAdapter wraps the Go types for CEL where a whole value of them is used, and leaves the rest to CEL.
type objectAdapter struct{ types.Adapter }

// NativeToValue converts a Go value to one of CEL's.
func (a objectAdapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case stepsValue:
		return object{value: v, typ: types.NewObjectType(stepsTypeName)}
	case StepFacts:
		return object{value: v, typ: types.NewObjectType(stepTypeName)}
	}
	return a.Adapter.NativeToValue(value)
}

// object is a whole `steps`, or a whole step, as a value: it can be compared and its fields can be read.
type object struct {
	value any
	typ   *types.Type
}

// ConvertToNative gives the Go value back, and nothing else.
func (o object) ConvertToNative(t reflect.Type) (any, error) {
	if reflect.TypeOf(o.value).AssignableTo(t) {
		return o.value, nil
	}
	return nil, fmt.Errorf("%s can't be converted to %s", o.typ.TypeName(), t)
}

// ConvertToType gives the type, or the value itself as its own type.
func (o object) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.TypeType:
		return o.typ
	case o.typ:
		return o
	}
	return types.NewErr("%s can't be converted to %s", o.typ.TypeName(), t.TypeName())
}

// Equal compares contents.
func (o object) Equal(other ref.Val) ref.Val {
	that, ok := other.(object)
	return types.Bool(ok && reflect.DeepEqual(o.value, that.value))
}

// Type returns the value's type.
func (o object) Type() ref.Type { return o.typ }

// Value returns the Go value.
func (o object) Value() any { return o.value }
