package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// docFindings tells the exported names without a doc comment: functions,
// methods of exported types, types, methods of interfaces, constants and
// variables, and the fields of options: their units, ranges and zero values.
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

// undocumentedMembers looks into an interface, or into a struct of options. The
// fields of other structs may be told together, in the comment of their type.
func undocumentedMembers(owner string, expr ast.Expr, missing func(token.Pos, string)) {
	var members *ast.FieldList
	switch e := expr.(type) {
	case *ast.StructType:
		if !strings.HasSuffix(owner, "Options") && !strings.HasSuffix(owner, "Config") {
			return
		}
		members = e.Fields
	case *ast.InterfaceType:
		members = e.Methods
	default:
		return
	}
	for _, member := range members.List {
		for _, name := range member.Names {
			if name.IsExported() && member.Doc == nil && member.Comment == nil {
				missing(name.Pos(), owner+"."+name.Name)
			}
		}
	}
}
