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
	var walk func(node parse.Node)
	walk = func(node parse.Node) {
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
				names = append(names, indexed(cmd.Args)...)
				for _, arg := range cmd.Args {
					walk(arg)
				}
			}
		case *parse.ChainNode:
			walk(n.Node)
		case *parse.FieldNode:
			after(n.Ident)
		case *parse.VariableNode:
			after(n.Ident)
		}
	}
	walk(root)
	slices.Sort(names)
	return slices.Compact(names)
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
