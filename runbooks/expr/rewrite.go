package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// The hidden variables behind `params.x` and `steps.x.output.y`. No expression can write their names.
//
// As maps of strings, params and outputs would let every comparison pass. What is read by a constant name is therefore
// read from an object whose fields have the declared types; what is read by a computed one stays a map of strings.
const (
	typedParams  = "@params"
	typedOutputs = "@outputs"
)

// visible is the name people know a variable by.
func visible(name string) string {
	switch name {
	case typedParams:
		return "params"
	case typedOutputs:
		return "steps"
	}
	return name
}

// rewrite has what is read of params and outputs by a constant name read from the typed objects. The tree was just
// parsed and is nobody else's yet.
func (l *language) rewrite(tree *ast.AST) {
	if !l.knows("steps") {
		return
	}
	var reads []ast.Expr
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if _, _, _, ok := constantRead(e); ok {
			reads = append(reads, e)
		}
	}))
	factory := ast.NewExprFactory()
	for _, e := range reads {
		from, name, test, _ := constantRead(e)
		var object ast.Expr
		if isIdent(from, "params") {
			object = factory.NewIdent(from.ID(), typedParams)
		} else if step, ok := outputOf(from); ok {
			inner := from.AsSelect().Operand()
			object = factory.NewSelect(inner.ID(), factory.NewIdent(inner.AsSelect().Operand().ID(), typedOutputs), step)
		} else {
			continue
		}
		if test {
			e.SetKindCase(factory.NewPresenceTest(e.ID(), object, name))
		} else {
			e.SetKindCase(factory.NewSelect(e.ID(), object, name))
		}
	}
}

// constantRead recognises `x.name`, `x["name"]` and `has(x.name)`.
func constantRead(e ast.Expr) (from ast.Expr, name string, test, ok bool) {
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		return s.Operand(), s.FieldName(), s.IsTestOnly(), true
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || len(call.Args()) != 2 {
			return nil, "", false, false
		}
		name, ok = stringConstant(call.Args()[1])
		return call.Args()[0], name, false, ok
	}
	return nil, "", false, false
}

// outputOf recognises `steps.id.output`.
func outputOf(e ast.Expr) (step string, ok bool) {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() || e.AsSelect().FieldName() != "output" {
		return "", false
	}
	inner := e.AsSelect().Operand()
	if inner.Kind() != ast.SelectKind || inner.AsSelect().IsTestOnly() || !isIdent(inner.AsSelect().Operand(), "steps") {
		return "", false
	}
	return inner.AsSelect().FieldName(), true
}
