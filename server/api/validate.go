package api

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
)

// validator checks messages against the rules that stand in the protos.
type validator struct {
	rules protovalidate.Validator
}

func newValidator() (*validator, error) {
	rules, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("load the validation rules: %w", err)
	}
	return &validator{rules: rules}, nil
}

// check returns an error with every mistake and its place.
func (v *validator) check(m proto.Message) error {
	err := v.rules.Validate(m)
	if err == nil {
		return nil
	}
	var wrong *protovalidate.ValidationError
	if !errors.As(err, &wrong) || len(wrong.Violations) == 0 {
		return fmt.Errorf("validate %T: %w", m, err)
	}
	violations := make([]Violation, 0, len(wrong.Violations))
	for _, w := range wrong.Violations {
		message := w.Proto.GetMessage()
		if message == "" {
			message = w.Proto.GetRuleId()
		}
		violations = append(violations, Violation{Field: protovalidate.FieldPathString(w.Proto.GetField()), Message: message})
	}
	return invalid(violations...)
}
