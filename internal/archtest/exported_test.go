package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
)

// docFindings tells the exported names without a doc comment: functions,
// methods of exported types, types, their fields and methods, constants and
// variables.
func (s *source) docFindings() []string {
	var findings []string
	missing := func(pos token.Pos, name string) {
		findings = append(findings, fmt.Sprintf("%s: exported %s has no doc comment", s.at(pos), name))
	}
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiverOf(d))) {
				missing(d.Pos(), nameOf(d))
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				undocumented(d, spec, missing)
			}
		}
	}
	return findings
}

// undocumented calls missing for what one type, const or var specification
// exports without a comment. The comment of a parenthesised group of constants
// or variables speaks for all of them.
func undocumented(d *ast.GenDecl, spec ast.Spec, missing func(token.Pos, string)) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			missing(s.Pos(), s.Name.Name)
		}
		undocumentedMembers(s.Name.Name, s.Type, missing)
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				missing(name.Pos(), name.Name)
			}
		}
	}
}

// undocumentedMembers looks into a struct or an interface. What is embedded is
// documented where it is declared.
func undocumentedMembers(owner string, expr ast.Expr, missing func(token.Pos, string)) {
	var fields *ast.FieldList
	switch e := expr.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			if name.IsExported() && field.Doc == nil && field.Comment == nil {
				missing(name.Pos(), owner+"."+name.Name)
			}
		}
	}
}
