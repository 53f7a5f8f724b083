package message

import (
	"bytes"
	"errors"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// templateName is the name all templates have towards text/template; it shows in no message.
const templateName = "message"

// Text is one parsed template. Immutable and safe for concurrent use.
type Text struct {
	parsed *template.Template
	field  string
	limit  int
	cut    bool // what is longer than the limit is cut, otherwise refused
}

// ParseText parses a single template, e.g. the body of a request, whose result may have up to limit bytes. The error is
// an *Error.
func ParseText(src string, limit int) (*Text, error) {
	return parseText("", src, limit, false)
}

func parseText(field, src string, limit int, cut bool) (*Text, error) {
	if !utf8.ValidString(src) {
		return nil, &Error{Field: field, Message: "the text is not valid UTF-8"}
	}
	parsed, err := template.New(templateName).Option("missingkey=zero").Funcs(functions(&budget{}, Data{})).Parse(src)
	if err != nil {
		return nil, newError(field, err)
	}
	t := &Text{parsed: parsed, field: field, limit: limit, cut: cut}
	for _, associated := range parsed.Templates() {
		if associated.Name() != templateName {
			return nil, &Error{Field: field, Message: "define and block are not supported: a message is one template"}
		}
	}
	if parsed.Tree == nil || parsed.Root == nil {
		return t, nil
	}
	s := scan{tree: parsed.Tree, field: field}
	s.node(parsed.Root, true)
	if s.err != nil {
		return nil, s.err
	}
	meter(parsed.Root)
	return t, nil
}

// Check renders the template with sample data. The error is an *Error.
func (t *Text) Check() error {
	for _, data := range samples() {
		if _, err := t.Render(data); err != nil {
			return err
		}
	}
	return nil
}

// Params lists the parameters that the template names, as `.Params.region`.
func (t *Text) Params() []string {
	if t.parsed.Tree == nil || t.parsed.Root == nil {
		return nil
	}
	return paramsOf(t.parsed.Root)
}

// Outputs lists the outputs of steps that the template names by constants, as `output "switch" "to"`, in the order in
// which they stand.
func (t *Text) Outputs() []OutputRef {
	if t.parsed.Tree == nil || t.parsed.Root == nil {
		return nil
	}
	return outputsOf(t.parsed.Tree)
}

// Field of the step the template stands in: `title`, `text`, or empty for a single text.
func (t *Text) Field() string { return t.field }

// Render fills the template in. The result is valid UTF-8. The error is an *Error and wraps ErrTooLong or
// ErrTooExpensive when a bound was met.
func (t *Text) Render(data Data) (string, error) {
	data = data.bounded()
	run, err := t.parsed.Clone()
	if err != nil {
		return "", newError(t.field, err)
	}
	if run.Tree == nil {
		return "", nil
	}
	out := &writer{limit: t.limit}
	b := &budget{work: maxWork, bytes: maxBytes}
	err = run.Funcs(functions(b, data)).Execute(out, data)
	if err != nil && (!t.cut || !errors.Is(err, ErrTooLong)) {
		return "", newError(t.field, err)
	}
	return strings.ToValidUTF8(out.text.String(), "\uFFFD"), nil
}

// writer stops a template whose result gets too long.
type writer struct {
	text  bytes.Buffer
	limit int
}

// Write keeps what fits.
func (w *writer) Write(p []byte) (int, error) {
	if free := w.limit - w.text.Len(); len(p) > free {
		w.text.Write(p[:free])
		return free, ErrTooLong
	}
	return w.text.Write(p)
}

// meter puts a tick at the begin of every loop's turn, which ends a rendering that takes too much work. It returns the
// number of nodes.
func meter(node parse.Node) int {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return 0
		}
		count := 1
		for _, child := range n.Nodes {
			count += meter(child)
		}
		return count
	case *parse.IfNode:
		return 1 + pipeSize(n.Pipe) + meter(n.List) + meter(n.ElseList)
	case *parse.WithNode:
		return 1 + pipeSize(n.Pipe) + meter(n.List) + meter(n.ElseList)
	case *parse.RangeNode:
		nodes := meter(n.List)
		n.List.Nodes = append([]parse.Node{tickNode(n.Pos, nodes+1)}, n.List.Nodes...)
		return 1 + pipeSize(n.Pipe) + nodes + meter(n.ElseList)
	case *parse.ActionNode:
		return 1 + pipeSize(n.Pipe)
	}
	return 1
}

func pipeSize(pipe *parse.PipeNode) int {
	size := 1
	for _, cmd := range pipe.Cmds {
		for _, arg := range cmd.Args {
			if inner, ok := arg.(*parse.PipeNode); ok {
				size += pipeSize(inner)
			}
			size++
		}
	}
	return size
}

func tickNode(pos parse.Pos, nodes int) parse.Node {
	number := &parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(nodes), Text: "nodes"}
	call := &parse.CommandNode{
		NodeType: parse.NodeCommand, Pos: pos,
		Args: []parse.Node{parse.NewIdentifier(tickName).SetPos(pos), number},
	}
	return &parse.ActionNode{
		NodeType: parse.NodeAction, Pos: pos,
		Pipe: &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{call}},
	}
}
