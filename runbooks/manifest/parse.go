package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/jurymast/jurymast/runbooks/rules"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Parse reads the documents of a file; the name is used in messages only. All errors of all documents are returned
// together, as Errors; documents in which there are none are returned beside them. What a document refers to is not
// looked at: see runbooks.ValidateResources and Problems.
func Parse(name string, data []byte) ([]Document, error) {
	s := newSource(name, data[:min(len(data), MaxFile)])
	if len(data) > MaxFile {
		return nil, Errors{s.error(1, 1, "the file has %d bytes, at most %d are allowed", len(data), MaxFile)}
	}
	if err := checkText(s, data); err != nil {
		return nil, Errors{err}
	}
	if len(s.lines) > 0 {
		s.lines[0] = strings.TrimPrefix(s.lines[0], "\uFEFF")
	}
	var documents []Document
	var errs Errors
	for _, c := range split(s.lines) {
		root, err := parseYAML(s, c)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if root == nil {
			continue
		}
		resource, found := decode(s, root)
		if len(found) > 0 {
			errs = append(errs, found...)
			continue
		}
		documents = append(documents, Document{
			File: name, Line: root.Line, Resource: resource, root: root, source: s,
		})
	}
	if len(errs) > 0 {
		return documents, errs.sorted()
	}
	return documents, nil
}

// kinds are the kinds of documents, in the order of the proto.
var kinds = []string{"Provider", "Service", "Detector", "Channel", "Runbook", "Schedule", "Maintenance", "Settings"}

// newResource returns an empty resource of a kind, and the message in it.
func newResource(kind string) (*jv1.Resource, proto.Message) {
	switch kind {
	case "Provider":
		m := &jv1.Provider{}
		return &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: m}}, m
	case "Service":
		m := &jv1.Service{}
		return &jv1.Resource{Kind: &jv1.Resource_Service{Service: m}}, m
	case "Detector":
		m := &jv1.Detector{}
		return &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: m}}, m
	case "Channel":
		m := &jv1.Channel{}
		return &jv1.Resource{Kind: &jv1.Resource_Channel{Channel: m}}, m
	case "Runbook":
		m := &jv1.Runbook{}
		return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: m}}, m
	case "Schedule":
		m := &jv1.Schedule{}
		return &jv1.Resource{Kind: &jv1.Resource_Schedule{Schedule: m}}, m
	case "Maintenance":
		m := &jv1.Maintenance{}
		return &jv1.Resource{Kind: &jv1.Resource_Maintenance{Maintenance: m}}, m
	case "Settings":
		m := &jv1.Settings{}
		return &jv1.Resource{Kind: &jv1.Resource_Settings{Settings: m}}, m
	}
	return nil, nil
}

// decode makes a resource of a document.
func decode(s *source, root *yaml.Node) (*jv1.Resource, Errors) {
	w := newWalker(s)
	if root.Kind != yaml.MappingNode {
		w.refuse(root, "", "a document must hold kind and fields, this is %s", shape(root))
		return nil, w.errors
	}
	resource, message := w.kind(root)
	if message == nil {
		return nil, w.errors
	}
	fields := like(root)
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "kind" {
			fields.Content = append(fields.Content, root.Content[i], root.Content[i+1])
		}
	}
	tree := w.message(fields, message.ProtoReflect().Descriptor(), "")
	w.unmarshal(tree, message)
	w.rules(root, message)
	return resource, w.errors
}

// kind finds out what a document declares.
func (w *walker) kind(root *yaml.Node) (*jv1.Resource, proto.Message) {
	key, value := entry(root, "kind")
	if key == nil {
		w.refuse(root, "", "the kind is missing: begin with kind: and one of %s", strings.Join(kinds, ", "))
		return nil, nil
	}
	count := 0
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "kind" {
			if count++; count > 1 {
				w.say(root.Content[i], "kind", "kind is given twice, first in line %d: put --- between documents", key.Line)
			}
		}
	}
	if value.Kind != yaml.ScalarNode || isNull(value) {
		w.refuse(value, "kind", "the kind must be one of %s", strings.Join(kinds, ", "))
		return nil, nil
	}
	resource, message := newResource(value.Value)
	if message == nil {
		w.refuse(value, "kind", "unknown kind %q%s", value.Value, question(value.Value, kinds))
		return nil, nil
	}
	return resource, message
}

// substitute gives protoyaml our tree in place of the one it has parsed: it reads only what it was given, at the places of the
// file.
type substitute struct {
	tree *yaml.Node
	done bool
}

// Unmarshal puts the tree in place of the first node, the root, and leaves the reading to protoyaml.
func (r *substitute) Unmarshal(node *yaml.Node, _ proto.Message) (bool, error) {
	if !r.done {
		r.done = true
		*node = *r.tree
	}
	return false, nil
}

// protoyamlError is how protoyaml begins a message when it is given no path.
var protoyamlError = regexp.MustCompile(`^:(\d+):(\d+) `)

// unmarshal lets protoyaml read the tree.
func (w *walker) unmarshal(tree *yaml.Node, message proto.Message) {
	// As many lines as the file has: protoyaml looks for the line of an error.
	lines := "{}" + strings.Repeat("\n", len(w.source.lines))
	err := protoyaml.UnmarshalOptions{CustomUnmarshaler: &substitute{tree: tree}}.Unmarshal([]byte(lines), message)
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	last := ""
	for _, err := range list {
		place := protoyamlError.FindStringSubmatch(err.Error())
		if place == nil {
			w.refuse(tree, "", "%v", err)
			continue
		}
		if place[0] == last {
			continue // the second of two about one value follows from the first
		}
		last = place[0]
		text := err.Error()[len(place[0]):]
		if cause, ok := err.(interface{ Unwrap() error }); ok {
			text = cause.Unwrap().Error()
		}
		line, _ := strconv.Atoi(place[1])
		column, _ := strconv.Atoi(place[2])
		w.errors = append(w.errors, w.source.error(line, column, "%s", inWords(text)))
	}
}

// inWords says what protoyaml says of single values.
func inWords(message string) string {
	switch {
	case strings.HasPrefix(message, "invalid integer"):
		return "must be a whole number"
	case strings.HasPrefix(message, "invalid float"):
		return "must be a number"
	case strings.HasPrefix(message, "expected bool"):
		return "must be true or false"
	case strings.HasPrefix(message, "expected tag !!bool"):
		return "must be true or false, without quotes"
	}
	return message
}

// rules checks the rules of the proto, and leaves out what follows from errors that were found before.
func (w *walker) rules(root *yaml.Node, message proto.Message) {
	taken := map[string]bool{}
	for _, e := range w.errors {
		taken[fmt.Sprint(e.Line, ":", e.Column)] = true
	}
	for _, v := range rules.Check(message) {
		if w.derived(v.Path) {
			continue
		}
		node := placeOf(root, v.Path, v.Key)
		if taken[fmt.Sprint(node.Line, ":", node.Column)] {
			continue
		}
		w.errors = append(w.errors, w.source.error(node.Line, node.Column, "%s", named(root, v.Path, v.Message)))
	}
}

// derived tells whether a broken rule follows from what was said before.
func (w *walker) derived(path string) bool {
	if w.broken[path] || w.lacking[path] {
		return true
	}
	for i := range len(path) {
		if (path[i] == '.' || path[i] == '[') && w.broken[path[:i]] {
			return true
		}
	}
	return false
}
