package expr

import (
	"fmt"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// What one expression may cost. An honest one costs less than a hundredth of it.
const (
	maxLength    = 2000                   // characters of an expression
	maxNodes     = 2000                   // nodes of its tree, with those that macros make
	maxDepth     = 64                     // depth of its tree
	maxCost      = 200_000                // CEL's cost units of one evaluation
	maxTime      = 250 * time.Millisecond // of one evaluation, for what costs more than it seems
	maxNesting   = 3                      // loops inside of loops
	maxRegexSize = 2000                   // instructions of a compiled regular expression
	checkEvery   = 64                     // iterations between two looks at the time
)

var mapOfStrings = cel.MapType(cel.StringType, cel.StringType)

// conditionVariables are the names that a step's condition knows.
var conditionVariables = []string{
	"phase", "service", "provider", "active", "preferred", "queueing", "health", "params", "steps",
}

// responseVariables are the names that a condition over a response knows.
var responseVariables = []string{"json", "status", "headers", "latency"}

// baseEnv holds what both kinds of expressions share. It is built once and never changed; environments extend it.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserErrorRecoveryLimit(8),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ExpressionNestingDepthLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxRegexSize),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(maxNesting),
		),
	)
})

var responseEnv = sync.OnceValues(func() (*cel.Env, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, err
	}
	return base.Extend(
		cel.Variable("json", cel.DynType),
		cel.Variable("status", cel.IntType),
		cel.Variable("headers", mapOfStrings),
		cel.Variable("latency", cel.DurationType),
	)
})

func conditionEnv(scope Scope) (*cel.Env, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, err
	}
	env, err := base.Extend(
		cel.CustomTypeProvider(&objectTypes{Provider: base.CELTypeProvider(), scope: scope}),
		cel.CustomTypeAdapter(objectAdapter{Adapter: base.CELTypeAdapter()}),
		cel.Variable("phase", cel.StringType),
		cel.Variable("service", cel.StringType),
		cel.Variable("provider", cel.StringType),
		cel.Variable("active", cel.StringType),
		cel.Variable("preferred", cel.StringType),
		cel.Variable("queueing", cel.BoolType),
		cel.Variable("health", mapOfStrings),
		cel.Variable("params", mapOfStrings),
		cel.Variable("steps", types.NewObjectType(stepsTypeName)),
		cel.Variable(typedParams, types.NewObjectType(paramsTypeName)),
		cel.Variable(typedOutputs, types.NewObjectType(outputsTypeName)),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing the expression language: %w", err)
	}
	return env, nil
}
