package expr

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// phases and healths are the values that `phase` and the entries of `health` can have.
var (
	phases = func() []string {
		names := []string{""}
		for number := range jv1.Phase_name {
			if number != 0 {
				names = append(names, PhaseName(jv1.Phase(number)))
			}
		}
		slices.Sort(names)
		return names
	}()
	healths = func() []string {
		var names []string
		for number := range jv1.HealthState_name {
			if number != 0 {
				names = append(names, HealthName(jv1.HealthState(number)))
			}
		}
		slices.Sort(names)
		return names
	}()
)

// checkTree finds what the type checker lets pass and can't be meant: comparisons with a phase or health that does not
// exist, and loop variables that hide one of ours.
func (l *language) checkTree(tree *ast.AST) []Problem {
	var problems []Problem
	report := func(at ast.Expr, format string, args ...any) {
		where := tree.SourceInfo().GetStartLocation(at.ID())
		problems = append(problems, Problem{
			Line:    max(where.Line(), 1),
			Column:  max(where.Column(), 0) + 1,
			Message: fmt.Sprintf(format, args...),
		})
	}
	compare := func(subject, constant ast.Expr) {
		word, ok := stringConstant(constant)
		if !ok {
			return
		}
		switch {
		case l.knows("phase") && isIdent(subject, "phase") && !slices.Contains(phases, word):
			report(constant, "unknown phase %q%s", word, alternatives(word, phases[1:]))
		case l.knows("health") && isEntryOf(subject, "health") && !slices.Contains(healths, word):
			report(constant, "unknown health %q%s", word, alternatives(word, healths))
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			args := e.AsCall().Args()
			switch e.AsCall().FunctionName() {
			case operators.Equals, operators.NotEquals:
				compare(args[0], args[1])
				compare(args[1], args[0])
			case operators.In:
				if args[1].Kind() == ast.ListKind {
					for _, element := range args[1].AsList().Elements() {
						compare(args[0], element)
					}
				}
			}
		case ast.ComprehensionKind:
			if name := e.AsComprehension().IterVar(); l.knows(name) {
				report(e, "the loop variable %q hides the variable of that name: call it otherwise", name)
			}
		}
	}))
	return problems
}

func (l *language) knows(name string) bool {
	return slices.Contains(l.variables, name)
}

func isIdent(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && visible(e.AsIdent()) == name
}

// isEntryOf tells whether e reads one entry of a map variable, as `m.key`, `m["key"]` or `m[other]`.
func isEntryOf(e ast.Expr, name string) bool {
	switch e.Kind() {
	case ast.SelectKind:
		return isIdent(e.AsSelect().Operand(), name)
	case ast.CallKind:
		call := e.AsCall()
		return call.FunctionName() == operators.Index && isIdent(call.Args()[0], name)
	}
	return false
}

func stringConstant(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// keysOf lists the constant keys by which an expression reads a map or object variable, sorted, each once.
func keysOf(tree *ast.AST, name string) []string {
	var keys []string
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case e.Kind() == ast.SelectKind && isIdent(e.AsSelect().Operand(), name):
			keys = append(keys, e.AsSelect().FieldName())
		case e.Kind() == ast.CallKind && isEntryOf(e, name):
			if key, ok := stringConstant(e.AsCall().Args()[1]); ok {
				keys = append(keys, key)
			}
		}
	}))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// reads tells whether an expression mentions a variable at all.
func reads(tree *ast.AST, name string) bool {
	found := false
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) { found = found || isIdent(e, name) }))
	return found
}
