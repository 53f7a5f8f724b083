package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// The house limits, in lines.
const (
	longestFile     = 600
	longestFunction = 100
)

// compositionRoots are the functions that may be longer: one straight line of
// setup, which helpers would only break into threads of state.
var compositionRoots = []string{"server.(*Server).setup"}

// source is one hand-written Go file.
type source struct {
	path string // relative to the repository
	text []byte
	fset *token.FileSet
	file *ast.File
}

// parseSource returns nothing for a generated file.
func parseSource(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	return &source{path: name, text: text, fset: fset, file: file}, nil
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

// sourceFindings tells everything that breaks the house rules for Go files, in
// the order of the files.
func sourceFindings(sources []*source) []string {
	var findings []string
	for _, s := range sources {
		findings = append(findings, s.sizeFindings()...)
		if !s.isTest() {
			findings = append(findings, s.functionFindings()...)
			findings = append(findings, s.docFindings()...)
		}
	}
	findings = append(findings, packageFindings(sources)...)
	return append(findings, staleRoots(sources)...)
}

// staleRoots tells the composition roots that are not there any more though
// their package is.
func staleRoots(sources []*source) []string {
	packages, functions := map[string]bool{}, map[string]bool{}
	for _, s := range sources {
		if s.isTest() {
			continue
		}
		packages[path.Dir(s.path)] = true
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				functions[path.Dir(s.path)+"."+nameOf(f)] = true
			}
		}
	}
	var findings []string
	for _, root := range compositionRoots {
		dir, _, _ := strings.Cut(root, ".")
		if packages[dir] && !functions[root] {
			findings = append(findings, fmt.Sprintf("%s: no composition root %s, set its name right in internal/archtest or strike it out", dir, root))
		}
	}
	return findings
}

func (s *source) sizeFindings() []string {
	lines := bytes.Count(s.text, []byte("\n"))
	if lines <= longestFile {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d lines, at most %d", s.path, lines, longestFile)}
}

func (s *source) functionFindings() []string {
	var findings []string
	for _, decl := range s.file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || slices.Contains(compositionRoots, path.Dir(s.path)+"."+nameOf(f)) {
			continue
		}
		lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
		if lines > longestFunction {
			findings = append(findings, fmt.Sprintf("%s: function %s has %d lines, at most %d", s.at(f.Pos()), nameOf(f), lines, longestFunction))
		}
	}
	return findings
}

// nameOf writes a function as go doc does, with its receiver: "(*Server).Stop".
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := receiverOf(f)
	if _, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
		receiver = "(*" + receiver + ")"
	}
	return receiver + "." + f.Name.Name
}

func receiverOf(f *ast.FuncDecl) string {
	expr := f.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// packageFindings tells the packages without a package comment. A folder that
// holds only tests needs none.
func packageFindings(sources []*source) []string {
	documented := map[string]bool{}
	for _, s := range sources {
		if s.isTest() {
			continue
		}
		dir := path.Dir(s.path)
		text := s.file.Doc.Text()
		documented[dir] = documented[dir] || strings.HasPrefix(text, "Package "+s.file.Name.Name+" ") ||
			s.file.Name.Name == "main" && strings.HasPrefix(text, "Command ")
	}
	var findings []string
	for dir, ok := range documented {
		if !ok {
			findings = append(findings, fmt.Sprintf("%s: no package comment, which says what it is, what it promises and what it never does", dir))
		}
	}
	slices.Sort(findings)
	return findings
}
