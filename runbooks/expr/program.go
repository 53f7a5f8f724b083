package expr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/jurymast/jurymast/runbooks/suggest"
)

// mostProblems bounds what is said about one expression: after some, the rest follows from the first.
const mostProblems = 5

// program is a compiled expression with its source for messages.
type program struct {
	src  string
	cel  cel.Program
	tree *ast.AST
}

// language is what the compiler needs to know of a kind of expression.
type language struct {
	env       *cel.Env
	variables []string
	scope     Scope
	refuses   func(result *cel.Type) string // says what is wrong with the type of the result, or nothing
}

func (l *language) compile(src string) (*program, error) {
	if strings.TrimSpace(src) == "" {
		return nil, &Error{Problems: []Problem{{Line: 1, Column: 1, Message: "the expression is empty"}}}
	}
	parsed, issues := l.env.Parse(src)
	if issues.Err() != nil {
		return nil, l.refuse(issues, nil)
	}
	l.rewrite(parsed.NativeRep())
	checked, issues := l.env.Check(parsed)
	if issues.Err() != nil {
		return nil, l.refuse(issues, parsed.NativeRep())
	}
	tree := checked.NativeRep()
	if problems := l.checkTree(tree); len(problems) > 0 {
		return nil, newError(problems)
	}
	if problem := l.refuses(checked.OutputType()); problem != "" {
		return nil, newError([]Problem{{Line: 1, Column: 1, Message: problem}})
	}
	p, err := l.env.Program(checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(maxCost),
		cel.InterruptCheckFrequency(checkEvery),
	)
	if err != nil {
		return nil, newError([]Problem{{Line: 1, Column: 1, Message: err.Error()}})
	}
	return &program{src: src, cel: p, tree: tree}, nil
}

// eval evaluates within the bounds of one evaluation.
func (p *program) eval(facts cel.Activation) (ref.Val, error) {
	// A background context: an evaluation takes no longer than its own limit.
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	out, _, err := p.cel.ContextEval(ctx, facts)
	if err != nil {
		if _, ok := errors.AsType[interpreter.EvalCancelledError](err); ok || ctx.Err() != nil {
			return nil, fmt.Errorf("evaluating %q: %w", p.src, ErrTooExpensive)
		}
		return nil, fmt.Errorf("evaluating %q: %w", p.src, err)
	}
	return out, nil
}

// holds evaluates what must say true or false.
func (p *program) holds(facts cel.Activation) (bool, error) {
	out, err := p.eval(facts)
	if err != nil {
		return false, err
	}
	result, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("evaluating %q: the result is %s, neither true nor false", p.src, out.Type().TypeName())
	}
	return bool(result), nil
}

// unlessBool refuses every result but true or false.
func unlessBool(t *cel.Type) string {
	if t.IsExactType(cel.BoolType) {
		return ""
	}
	return "the expression must say true or false, this one gives " + typeInWords(t)
}

// unlessBoolOrDyn also lets pass what is known only when it is evaluated.
func unlessBoolOrDyn(t *cel.Type) string {
	if t.IsExactType(cel.DynType) {
		return ""
	}
	return unlessBool(t)
}

// refuse turns CEL's issues into an Error with messages in our words.
func (l *language) refuse(issues *cel.Issues, tree *ast.AST) *Error {
	byID := map[int64]ast.Expr{}
	if tree != nil {
		ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) { byID[e.ID()] = e }))
	}
	var problems []Problem
	for _, issue := range issues.Errors() {
		message, step := l.inOurWords(issue.Message, byID[issue.ExprID])
		problems = append(problems, Problem{
			Line:    max(issue.Location.Line(), 1),
			Column:  max(issue.Location.Column(), 0) + 1,
			Message: message,
			Step:    step,
		})
	}
	return newError(problems)
}

var (
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)' \(in container ''\)$`)
	undefinedField = regexp.MustCompile(`^undefined field '([^']*)'$`)
	expecting      = regexp.MustCompile(` expecting \{.*\}$`)
)

// inOurWords replaces the messages that an operator meets most; CEL's other ones are said as they are. The step is the
// unknown one, if that is what is wrong.
func (l *language) inOurWords(message string, at ast.Expr) (words, step string) {
	if found := undeclared.FindStringSubmatch(message); found != nil {
		if at != nil && at.Kind() == ast.CallKind {
			return fmt.Sprintf("unknown function %q", found[1]), ""
		}
		return fmt.Sprintf("unknown variable %q%s", found[1], alternatives(found[1], l.variables)), ""
	}
	if found := undefinedField.FindStringSubmatch(message); found != nil && at != nil && at.Kind() == ast.SelectKind {
		return l.noField(found[1], at.AsSelect().Operand())
	}
	if strings.HasPrefix(message, "found no matching overload for '_[_]' applied to '("+stepsTypeName) {
		return "a step is named as in steps.switch.failed, not by an index", ""
	}
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		return "syntax error: " + expecting.ReplaceAllString(rest, ""), ""
	}
	if strings.HasPrefix(message, "expression code point size exceeds limit") {
		return fmt.Sprintf("the expression is longer than %d characters", maxLength), ""
	}
	return strings.ReplaceAll(message, "'@in'", "'in'"), ""
}

// noField says what is missing where: a step, a parameter, an output, or a property of a step.
func (l *language) noField(field string, of ast.Expr) (words, step string) {
	switch {
	case isIdent(of, "steps"):
		return unknownStep(field, l.scope.ids()), field
	case isIdent(of, "params"):
		return fmt.Sprintf("the parameter %q is not declared%s", field, alternatives(field, sortedKeys(l.scope.Params))), ""
	case of.Kind() == ast.SelectKind && of.AsSelect().Operand().Kind() == ast.IdentKind && of.AsSelect().Operand().AsIdent() == typedOutputs:
		id := of.AsSelect().FieldName()
		outputs, _ := l.scope.outputs(id)
		return fmt.Sprintf("the step %q gives no output %q%s", id, field, alternatives(field, sortedKeys(outputs))), ""
	}
	return fmt.Sprintf("a step has no %q%s", field, alternatives(field, stepFields)), ""
}

func unknownStep(id string, ids []string) string {
	if len(ids) == 0 {
		return fmt.Sprintf("unknown step %q: there is no step before this one", id)
	}
	return fmt.Sprintf("unknown step %q%s", id, alternatives(id, ids))
}

// alternatives names what was probably meant, or else all that there is when that is little.
func alternatives(word string, known []string) string {
	if question := suggest.Question(word, known); question != "" {
		return question
	}
	if len(known) == 0 || len(known) > 10 {
		return ""
	}
	return ", there are: " + strings.Join(known, ", ")
}

func typeInWords(t *cel.Type) string {
	switch t.Kind() {
	case types.StringKind:
		return "a string"
	case types.IntKind, types.UintKind, types.DoubleKind:
		return "a number"
	case types.StructKind:
		return t.TypeName()
	case types.MapKind:
		return "a map"
	case types.ListKind:
		return "a list"
	case types.NullTypeKind:
		return "null"
	case types.DynKind:
		return "a value of a type that is not known before it runs"
	}
	return "a " + t.TypeName()
}

func newError(problems []Problem) *Error {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	problems = slices.Compact(problems)
	return &Error{Problems: problems[:min(len(problems), mostProblems)]}
}
