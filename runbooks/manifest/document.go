package manifest

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/jurymast/jurymast/runbooks"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Document is one resource as it stands in a file. It is not to be changed.
type Document struct {
	// File as it was named to Parse.
	File string
	// Line at which the document begins.
	Line int
	// Resource that the document declares.
	Resource *jv1.Resource

	root   *yaml.Node
	source *source
}

// Locate returns the place of a field of the resource, e.g. `steps[2].switch_provider.to[0]`, as line and column from 1.
// Of a field that isn't there it returns the place of what it would stand in.
func (d Document) Locate(field string) (line, column int) {
	if d.root == nil {
		return max(d.Line, 1), 1
	}
	node := placeOf(d.root, field, false)
	return node.Line, node.Column
}

// placeOf finds the node that a reader looks at for a field; of the entry of a map it is the key when that is meant.
func placeOf(root *yaml.Node, field string, key bool) *yaml.Node {
	elements := parsePath(field)
	at := find(root, elements)
	if key && at.key != nil && at.depth == len(elements) {
		return at.key
	}
	return at.place()
}

// resourceField is how problems name a field of the i-th of several resources.
var resourceField = regexp.MustCompile(`^resources\[(\d+)\](?:\.([a-z]+)(?:\.|$))?(.*)$`)

// Problems gives the problems found in the resources of documents, by runbooks.ValidateResources or by the server, their
// places in the files. The documents must be those that were checked, in that order. Problems that name no document come
// last, without a place.
func Problems(documents []Document, problems []*jv1.Problem) Errors {
	var located, others Errors
	for _, p := range problems {
		i, field, ok := resourceOf(p.GetField(), documents)
		if !ok {
			message := p.GetMessage()
			if p.GetField() != "" {
				message = p.GetField() + ": " + message
			}
			others = append(others, &Error{Line: 1, Column: 1, Message: message})
			continue
		}
		located = append(located, documents[i].problem(field, p.GetMessage()))
	}
	return append(located, others...)
}

// resourceOf takes the document and the path in it out of the path of a field.
func resourceOf(field string, documents []Document) (int, string, bool) {
	found := resourceField.FindStringSubmatch(field)
	if found == nil {
		return 0, "", false
	}
	i, err := strconv.Atoi(found[1])
	if err != nil || i >= len(documents) {
		return 0, "", false
	}
	if found[2] != "" && found[2] != runbooks.KindOf(documents[i].Resource) {
		return i, found[2] + "." + found[3], true
	}
	return i, found[3], true
}

// insideText is how problems of expressions and templates begin: with line and column inside of the text.
var insideText = regexp.MustCompile(`^(\d+):(\d+): `)

// problem gives a problem its place. A place inside of an expression becomes one in the file, where the text stands on
// one line of it.
func (d Document) problem(field, message string) *Error {
	line, column := d.Locate(field)
	if d.source == nil {
		return &Error{File: d.File, Line: line, Column: column, Message: field + ": " + message}
	}
	message = named(d.root, field, message)
	if inside := insideText.FindStringSubmatch(message); inside != nil {
		innerLine, _ := strconv.Atoi(inside[1])
		innerColumn, _ := strconv.Atoi(inside[2])
		node := find(d.root, parsePath(field)).value
		if l, c, ok := d.inside(node, innerLine, innerColumn); ok {
			line, column, message = l, c, message[len(inside[0]):]
		}
	}
	return d.source.error(line, column, "%s", message)
}

// named puts the name of a field that isn't there before what is said of it: its place shows only where it would stand.
func named(root *yaml.Node, field, message string) string {
	elements := parsePath(field)
	if len(elements) == 0 {
		return message
	}
	switch {
	case find(root, elements).depth == len(elements):
		return strings.Replace(message, "must be given", "must not be empty", 1)
	case strings.HasPrefix(message, "must "):
		return last(field) + " " + message
	}
	return last(field) + ": " + message
}

// inside finds the place in the file of a place inside of a text.
func (d Document) inside(node *yaml.Node, line, column int) (int, int, bool) {
	if node.Kind != yaml.ScalarNode || node.Line > len(d.source.lines) {
		return 0, 0, false
	}
	switch {
	case node.Style&yaml.LiteralStyle != 0:
		at := node.Line + line
		if at > len(d.source.lines) {
			return 0, 0, false
		}
		text, first := d.source.lines[at-1], strings.Split(node.Value, "\n")[0]
		// The first line of the text says how far it is indented.
		indent := strings.Index(d.source.lines[min(node.Line, len(d.source.lines)-1)], first)
		if indent < 0 || len(text) < indent {
			return 0, 0, false
		}
		return at, indent + column, true
	case line != 1:
		return 0, 0, false
	}
	begin := node.Column
	if node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		begin++
	}
	// Only where what stands in the file is what is meant: no escapes, and not folded over lines.
	text := []rune(d.source.lines[node.Line-1])
	if begin-1 > len(text) || !strings.HasPrefix(string(text[begin-1:]), node.Value) {
		return 0, 0, false
	}
	return node.Line, begin + column - 1, true
}
