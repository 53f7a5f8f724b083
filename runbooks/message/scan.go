package message

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/jurymast/jurymast/runbooks/suggest"
)

// dataFields are the names that a template can use of Data.
var dataFields = func() []string {
	var names []string
	for field := range reflect.TypeFor[Data]().Fields() {
		names = append(names, field.Name)
	}
	return names
}()

// scan finds in a parsed template what would fail only when it is rendered: fields that don't exist, wherever the dot is
// known to be Data, and other templates.
type scan struct {
	tree  *parse.Tree
	field string
	err   *Error
}

// node walks a node; root tells whether the dot is Data there.
func (s *scan) node(node parse.Node, root bool) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				s.node(child, root)
			}
		}
	case *parse.ActionNode:
		s.node(n.Pipe, root)
	case *parse.IfNode:
		s.node(n.Pipe, root)
		s.node(n.List, root)
		s.node(n.ElseList, root)
	case *parse.WithNode:
		s.node(n.Pipe, root)
		s.node(n.List, false)
		s.node(n.ElseList, root)
	case *parse.RangeNode:
		s.node(n.Pipe, root)
		s.node(n.List, false)
		s.node(n.ElseList, root)
	case *parse.PipeNode:
		if n != nil {
			for _, cmd := range n.Cmds {
				for _, arg := range cmd.Args {
					s.node(arg, root)
				}
			}
		}
	case *parse.ChainNode:
		s.node(n.Node, root)
	case *parse.FieldNode:
		if root {
			s.name(n, n.Ident[0])
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			s.name(n, n.Ident[1])
		}
	case *parse.IdentifierNode:
		if n.Ident == tickName {
			s.refuse(n, fmt.Sprintf("function %q not defined", n.Ident))
		}
	case *parse.TemplateNode:
		s.refuse(n, "define, block and template are not supported: a message is one template")
	}
}

func (s *scan) name(at parse.Node, name string) {
	if slices.Contains(dataFields, name) {
		return
	}
	question := suggest.Question(name, dataFields)
	if question == "" {
		question = ", there are: " + strings.Join(dataFields, ", ")
	}
	s.refuse(at, fmt.Sprintf("there is no .%s%s", name, question))
}

func (s *scan) refuse(at parse.Node, message string) {
	if s.err != nil {
		return
	}
	location, _ := s.tree.ErrorContext(at)
	s.err = newError(s.field, fmt.Errorf("template: %s: %s", location, message))
}

// paramsOf lists the parameters that are named as `.Params.x` or `index .Params "x"`, sorted, each once.
func paramsOf(root parse.Node) []string {
	var names []string
	after := func(idents []string) {
		if i := slices.Index(idents, "Params"); i >= 0 && i+1 < len(idents) {
			names = append(names, idents[i+1])
		}
	}
	eachNode(root, func(node parse.Node) {
		switch n := node.(type) {
		case *parse.CommandNode:
			names = append(names, indexed(n.Args)...)
		case *parse.FieldNode:
			after(n.Ident)
		case *parse.VariableNode:
			after(n.Ident)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// OutputRef is an output that a template names, as `output "switch" "to"`.
type OutputRef struct {
	// Step and Name of the output.
	Step, Name string
	// Line in the template, from 1.
	Line int
	// Column in bytes, from 1.
	Column int
}

// String gives the place.
func (r OutputRef) String() string { return fmt.Sprintf("%d:%d", r.Line, r.Column) }

// outputsOf lists the outputs that are named by constants, in the order in which they stand.
func outputsOf(tree *parse.Tree) []OutputRef {
	var refs []OutputRef
	eachNode(tree.Root, func(node parse.Node) {
		command, ok := node.(*parse.CommandNode)
		if !ok || len(command.Args) != 3 {
			return
		}
		call, isCall := command.Args[0].(*parse.IdentifierNode)
		step, isStep := command.Args[1].(*parse.StringNode)
		name, isName := command.Args[2].(*parse.StringNode)
		if !isCall || call.Ident != "output" || !isStep || !isName {
			return
		}
		location, _ := tree.ErrorContext(command)
		at := newError("", fmt.Errorf("template: %s: output", location))
		refs = append(refs, OutputRef{Step: step.Text, Name: name.Text, Line: max(at.Line, 1), Column: max(at.Column, 1)})
	})
	return refs
}

// eachNode visits every node of a template.
func eachNode(root parse.Node, visit func(parse.Node)) {
	var walk func(node parse.Node)
	walk = func(node parse.Node) {
		visit(node)
		switch n := node.(type) {
		case *parse.ListNode:
			if n != nil {
				for _, child := range n.Nodes {
					walk(child)
				}
			}
		case *parse.ActionNode:
			walk(n.Pipe)
		case *parse.IfNode:
			walkBranch(&n.BranchNode, walk)
		case *parse.WithNode:
			walkBranch(&n.BranchNode, walk)
		case *parse.RangeNode:
			walkBranch(&n.BranchNode, walk)
		case *parse.PipeNode:
			for _, cmd := range n.Cmds {
				walk(cmd)
			}
		case *parse.CommandNode:
			for _, arg := range n.Args {
				walk(arg)
			}
		case *parse.ChainNode:
			walk(n.Node)
		}
	}
	walk(root)
}

func walkBranch(n *parse.BranchNode, walk func(parse.Node)) {
	walk(n.Pipe)
	walk(n.List)
	walk(n.ElseList)
}

// indexed recognises `index .Params "x"`.
func indexed(args []parse.Node) []string {
	if len(args) != 3 {
		return nil
	}
	call, ok := args[0].(*parse.IdentifierNode)
	if !ok || call.Ident != "index" || !strings.HasSuffix(args[1].String(), ".Params") {
		return nil
	}
	key, ok := args[2].(*parse.StringNode)
	if !ok {
		return nil
	}
	return []string{key.Text}
}
