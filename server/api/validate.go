package api

import (
	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks/rules"
)

// validateRunbook is the one method whose answer is what is wrong with its request, and so checks it itself.
const validateRunbook = "/jurymast.v1.RunbookService/ValidateRunbook"

// checkRules holds a request against the rules that stand in the protos, and tells every mistake with its place.
func checkRules(m proto.Message) error {
	found := rules.Check(m)
	if len(found) == 0 {
		return nil
	}
	violations := make([]Violation, 0, len(found))
	for _, f := range found {
		violations = append(violations, Violation{Field: f.Path, Message: f.Message})
	}
	return invalid(violations...)
}
