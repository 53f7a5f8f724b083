package manifest

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/rules"
	"github.com/jurymast/jurymast/runbooks/suggest"
)

// walker brings a document into the form that protoyaml reads, at the same places, and finds what protoyaml wouldn't
// find, or would say in the proto's words. What is wrong is taken out, so that nobody stumbles over it again.
type walker struct {
	source *source
	errors Errors
	// What follows from an error isn't said as well: broken are the paths of fields that were refused with all that is
	// in them, lacking those of messages and lists that miss something because of that.
	broken, lacking map[string]bool
}

func newWalker(s *source) *walker {
	return &walker{source: s, broken: map[string]bool{}, lacking: map[string]bool{}}
}

// say adds an error about something that is left out of a message or a list.
func (w *walker) say(node *yaml.Node, within, format string, args ...any) {
	w.errors = append(w.errors, w.source.error(node.Line, node.Column, format, args...))
	w.lacking[within] = true
}

// refuse adds an error about a field, which is left out.
func (w *walker) refuse(node *yaml.Node, path, format string, args ...any) {
	w.errors = append(w.errors, w.source.error(node.Line, node.Column, format, args...))
	w.broken[path] = true
}

// message walks the fields of a message. It returns what the message is to be read from, or nil.
func (w *walker) message(node *yaml.Node, message protoreflect.MessageDescriptor, path string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		return w.short(node, message, path)
	}
	w.unique(node, path)
	result := like(node)
	oneofs := map[protoreflect.Name]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field := w.field(key, message, path)
		if field == nil {
			continue
		}
		name := string(field.Name())
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if other, taken := oneofs[oneof.Name()]; taken {
				w.say(key, path, "give either %s or %s, not both", other, name)
				continue
			}
			oneofs[oneof.Name()] = name
		}
		if value = w.value(value, field, join(path, name)); value != nil {
			result.Content = append(result.Content, key, value)
		} else if field.ContainingOneof() != nil || message.Oneofs().Len() == 0 {
			w.lacking[path] = true
		}
	}
	return result
}

// short takes what may be written in less than a mapping: nothing at all for a message without fields, a level for an
// automation policy, a text for a duration.
func (w *walker) short(node *yaml.Node, message protoreflect.MessageDescriptor, path string) *yaml.Node {
	switch {
	case isNull(node) && message.Fields().Len() == 0:
		empty := like(node)
		empty.Kind, empty.Tag, empty.Value = yaml.MappingNode, "!!map", ""
		return empty
	case isNull(node):
		w.refuse(node, path, "%s has no value", last(path))
	case node.Kind == yaml.ScalarNode && message.FullName() == automationPolicy:
		return w.message(policy(node), message, path)
	case message.Fields().Len() == 0:
		w.refuse(node, path, "%s has no fields, write {}", last(path))
	default:
		w.refuse(node, path, "must hold fields (%s), this is %s", fieldList(message), shape(node))
	}
	return nil
}

// automationPolicy may be written as its `default` alone.
const automationPolicy = "jurymast.v1.AutomationPolicy"

func policy(level *yaml.Node) *yaml.Node {
	mapping, key := like(level), like(level)
	key.Kind, key.Tag, key.Value = yaml.ScalarNode, "!!str", "default"
	mapping.Kind, mapping.Tag, mapping.Value = yaml.MappingNode, "!!map", ""
	mapping.Content = []*yaml.Node{key, level}
	return mapping
}

// field finds the field that a key names.
func (w *walker) field(key *yaml.Node, message protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	field := message.Fields().ByName(protoreflect.Name(key.Value))
	switch {
	case key.Kind != yaml.ScalarNode:
		w.say(key, path, "the name of a field must be a single word")
	case field == nil:
		known := fieldNames(message)
		w.say(key, path, "unknown field %q%s", key.Value, question(key.Value, known))
		// What was meant to be given is not missing.
		if meant, ok := suggest.Nearest(key.Value, known); ok {
			w.lacking[join(path, meant)] = true
		}
	case runbooks.IsOutput(field):
		w.refuse(key, join(path, key.Value), "%s is set by the server: remove it", key.Value)
	default:
		return field
	}
	return nil
}

// value walks the value of a field.
func (w *walker) value(node *yaml.Node, field protoreflect.FieldDescriptor, path string) *yaml.Node {
	switch {
	case field.IsList():
		return w.list(node, field, path)
	case field.IsMap():
		return w.entries(node, field, path)
	}
	return w.single(node, field, path)
}

func (w *walker) list(node *yaml.Node, field protoreflect.FieldDescriptor, path string) *yaml.Node {
	if node.Kind == yaml.ScalarNode && !isNull(node) && field.Message() == nil {
		value := w.single(node, field, path)
		if value == nil {
			return nil
		}
		list := like(node)
		list.Kind, list.Tag, list.Value = yaml.SequenceNode, "!!seq", ""
		list.Content = []*yaml.Node{value}
		return list
	}
	if node.Kind != yaml.SequenceNode {
		w.wrong(node, path, "a list")
		return nil
	}
	result := like(node)
	for i, item := range node.Content {
		if value := w.single(item, field, fmt.Sprintf("%s[%d]", path, i)); value != nil {
			result.Content = append(result.Content, value)
			continue
		}
		// The places of the others must not move.
		w.lacking[path] = true
		result.Content = append(result.Content, placeholder(item, field))
	}
	return result
}

// placeholder stands for an entry of a list that was refused, so that the others keep their index.
func placeholder(item *yaml.Node, field protoreflect.FieldDescriptor) *yaml.Node {
	p := like(item)
	p.Content = nil
	switch {
	case field.Message() != nil && field.Message().FullName() != "google.protobuf.Duration":
		p.Kind, p.Tag, p.Value = yaml.MappingNode, "!!map", ""
	case field.Kind() == protoreflect.StringKind || field.Kind() == protoreflect.BytesKind:
		p.Kind, p.Tag, p.Value = yaml.ScalarNode, "!!str", ""
	case field.Kind() == protoreflect.EnumKind:
		p.Kind, p.Tag, p.Value = yaml.ScalarNode, "!!str", string(field.Enum().Values().ByNumber(0).Name())
	case field.Kind() == protoreflect.BoolKind:
		p.Kind, p.Tag, p.Value = yaml.ScalarNode, "!!bool", "false"
	default:
		p.Kind, p.Tag, p.Value = yaml.ScalarNode, "!!int", "0"
	}
	return p
}

func (w *walker) entries(node *yaml.Node, field protoreflect.FieldDescriptor, path string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		w.wrong(node, path, "a mapping of names to values")
		return nil
	}
	w.unique(node, path)
	result := like(node)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode || isNull(key) {
			w.say(key, path, "the name of an entry must be a single word")
			continue
		}
		entryPath := fmt.Sprintf("%s[%q]", path, key.Value)
		if value := w.single(node.Content[i+1], field.MapValue(), entryPath); value != nil {
			result.Content = append(result.Content, key, value)
		}
	}
	return result
}

// single walks one value: of a field, of a list or of a map.
func (w *walker) single(node *yaml.Node, field protoreflect.FieldDescriptor, path string) *yaml.Node {
	if message := field.Message(); message != nil {
		switch message.FullName() {
		case "google.protobuf.Duration":
			return w.duration(node, path)
		case "google.protobuf.Timestamp":
			return w.timestamp(node, path)
		}
		return w.message(node, message, path)
	}
	if isNull(node) {
		w.refuse(node, path, "%s has no value", last(path))
		return nil
	}
	if node.Kind != yaml.ScalarNode {
		w.wrong(node, path, "a single value")
		return nil
	}
	if field.Kind() == protoreflect.EnumKind {
		return w.enum(node, field, path)
	}
	return node
}

func (w *walker) duration(node *yaml.Node, path string) *yaml.Node {
	if isNull(node) {
		w.refuse(node, path, "%s has no value", last(path))
		return nil
	}
	if node.Kind != yaml.ScalarNode {
		w.wrong(node, path, "a duration such as 15s, 2m or 1h30m")
		return nil
	}
	d, err := protoyaml.ParseDuration(node.Value)
	if err == nil && d != nil {
		err = d.CheckValid()
	}
	if err != nil || node.Value == "" {
		w.refuse(node, path, "%q is not a duration such as 15s, 2m or 1h30m", node.Value)
		return nil
	}
	return node
}

const exampleTimes = "a time such as 2026-03-01T22:00:00Z or 2026-03-01T23:00:00+01:00"

func (w *walker) timestamp(node *yaml.Node, path string) *yaml.Node {
	if isNull(node) || node.Kind != yaml.ScalarNode {
		w.wrong(node, path, exampleTimes)
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, node.Value)
	if err != nil || !timestamppb.New(t).IsValid() {
		w.refuse(node, path, "%q is not %s", node.Value, exampleTimes)
		return nil
	}
	text := like(node)
	text.Value, text.Tag = t.UTC().Format(time.RFC3339Nano), "!!str"
	return text
}

// enum replaces the word that files use by the name that the proto has.
func (w *walker) enum(node *yaml.Node, field protoreflect.FieldDescriptor, path string) *yaml.Node {
	enum := field.Enum()
	for i := range enum.Values().Len() {
		if value := enum.Values().Get(i); value.Number() != 0 && rules.EnumWord(value) == node.Value {
			named := like(node)
			named.Value, named.Tag, named.Style = string(value.Name()), "!!str", 0
			return named
		}
	}
	w.refuse(node, path, "unknown %s %q%s", enumName(field), node.Value, question(node.Value, rules.EnumWords(enum)))
	return nil
}

var upper = regexp.MustCompile(`[A-Z]`)

// enumName is what people call a value: as the field does, or as the enum does where the field says nothing of it, as
// `of` and `default` don't.
func enumName(field protoreflect.FieldDescriptor) string {
	words := strings.ToLower(upper.ReplaceAllString(string(field.Enum().Name()), " $0"))[1:]
	name := strings.ReplaceAll(string(field.Name()), "_", " ")
	if strings.Contains(words, name) {
		return string(field.Name())
	}
	return words
}

// unique refuses names that are given twice, and leaves the first.
func (w *walker) unique(node *yaml.Node, path string) {
	seen := map[string]int{}
	kept := node.Content[:0:0]
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if line, twice := seen[key.Value]; twice && key.Kind == yaml.ScalarNode {
			w.say(key, path, "%s is given twice, first in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		kept = append(kept, key, node.Content[i+1])
	}
	node.Content = kept
}

func (w *walker) wrong(node *yaml.Node, path, want string) {
	if isNull(node) {
		w.refuse(node, path, "%s has no value", last(path))
		return
	}
	w.refuse(node, path, "must be %s, this is %s", want, shape(node))
}

// like returns an empty node of the same place and kind.
func like(node *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: node.Kind, Style: node.Style, Tag: node.Tag, Value: node.Value, Line: node.Line, Column: node.Column}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func shape(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	return fmt.Sprintf("%q", node.Value)
}

func fieldNames(message protoreflect.MessageDescriptor) []string {
	var list []string
	for i := range message.Fields().Len() {
		if field := message.Fields().Get(i); !runbooks.IsOutput(field) {
			list = append(list, string(field.Name()))
		}
	}
	return list
}

func fieldList(message protoreflect.MessageDescriptor) string {
	list := fieldNames(message)
	if len(list) > 6 {
		list = append(list[:6:6], "...")
	}
	return strings.Join(list, ", ")
}

// question names what was probably meant, or else all that there is.
func question(word string, known []string) string {
	if q := suggest.Question(word, known); q != "" {
		return q
	}
	return ", expected one of " + strings.Join(known, ", ")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// last is the last name of a path, for messages.
func last(path string) string {
	elements := parsePath(path)
	for i := len(elements) - 1; i >= 0; i-- {
		if elements[i].index < 0 {
			return elements[i].name
		}
	}
	return "the document"
}
