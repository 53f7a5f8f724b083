package runbooks

import (
	"github.com/jurymast/jurymast/runbooks/expr"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Outputs lists what a step gives when it succeeds, by name, with the type it has in conditions. Conditions refer to it
// as `steps.id.output.name`, templates as `output "id" "name"`; no other output can be referred to. Nil: nothing.
func Outputs(step *jv1.Step) map[string]expr.Type {
	k := kinds()[StepKind(step)]
	if k.outputs == nil {
		return nil
	}
	return k.outputs(step)
}

// Scope is what a condition of a runbook may refer to: the runbook's parameters, and the given ones of its steps.
func Scope(rb *jv1.Runbook, steps []*jv1.Step) expr.Scope {
	scope := expr.Scope{Params: make(map[string]expr.Type, len(rb.GetParameters()))}
	for name, p := range rb.GetParameters() {
		scope.Params[name] = typeOf(p.GetType())
	}
	for _, step := range steps {
		scope.Steps = append(scope.Steps, expr.Step{ID: step.GetId(), Outputs: Outputs(step)})
	}
	return scope
}

// MaxOutput is the most bytes that a step's outputs may have together; MaxValue is the most characters of one that is
// taken out of an answer.
const (
	MaxOutput = 4 << 10
	MaxValue  = 1000
)

func switchOutputs(*jv1.Step) map[string]expr.Type {
	return map[string]expr.Type{"from": expr.String, "to": expr.String}
}

// requestOutputs are the answer itself, and what the step takes out of it.
func requestOutputs(step *jv1.Step) map[string]expr.Type {
	outputs := map[string]expr.Type{ResultOutput: expr.String}
	for name := range step.GetHttpRequest().GetOutputs() {
		outputs[name] = expr.String
	}
	return outputs
}

// ResultOutput is the output of an http_request that holds the status and the beginning of the answer.
const ResultOutput = "result"
