package expr

import (
	"fmt"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The types of `steps` and of one of its members. Their names hold a blank, so that no expression can construct one.
const (
	stepsTypeName = "the steps"
	stepTypeName  = "a step"
)

// stepFields are the members of a step in the order in which messages list them.
var stepFields = []string{"succeeded", "failed", "skipped", "output"}

// stepsValue is the Go value behind `steps`.
type stepsValue map[string]StepFacts

// stepTypes gives CEL the type of `steps`: one field for each step that may be referred to. With it the type checker
// itself refuses every other step, however it is reached.
type stepTypes struct {
	types.Provider
	ids []string
}

// FindStructType knows the two types and leaves the rest to CEL.
func (p *stepTypes) FindStructType(name string) (*types.Type, bool) {
	switch name {
	case stepsTypeName, stepTypeName:
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames lists the fields of the two types.
func (p *stepTypes) FindStructFieldNames(name string) ([]string, bool) {
	switch name {
	case stepsTypeName:
		return p.ids, true
	case stepTypeName:
		return stepFields, true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType gives the type of a field, and how its value is read.
func (p *stepTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	switch name {
	case stepsTypeName:
		if !slices.Contains(p.ids, field) {
			return nil, false
		}
		return &types.FieldType{
			Type: types.NewObjectType(stepTypeName),
			IsSet: func(target any) bool {
				steps, ok := target.(stepsValue)
				_, there := steps[field]
				return ok && there
			},
			GetFrom: func(target any) (any, error) { return getStep(target, field) },
		}, true
	case stepTypeName:
		if !slices.Contains(stepFields, field) {
			return nil, false
		}
		t := types.BoolType
		if field == "output" {
			t = types.NewMapType(types.StringType, types.StringType)
		}
		return &types.FieldType{
			Type:    t,
			IsSet:   func(target any) bool { _, ok := target.(StepFacts); return ok },
			GetFrom: func(target any) (any, error) { return getStepField(target, field) },
		}, true
	}
	return p.Provider.FindStructFieldType(name, field)
}

func getStep(target any, id string) (any, error) {
	steps, ok := target.(stepsValue)
	if !ok {
		return nil, fmt.Errorf("no such step: %s", id)
	}
	return steps[id], nil
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

// stepAdapter wraps the two Go types for CEL where a whole value of them is used, and leaves the rest to CEL.
type stepAdapter struct{ types.Adapter }

// NativeToValue converts a Go value to one of CEL's.
func (a stepAdapter) NativeToValue(value any) ref.Val {
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
