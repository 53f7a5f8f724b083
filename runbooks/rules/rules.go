// Package rules checks messages against the rules that stand in the protos, and says what is wrong in an operator's
// words.
//
// It promises a stable order and one finding for each broken rule. It never looks beyond the one message: references
// and contradictions are found elsewhere. It never does I/O.
package rules

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Violation is one broken rule.
type Violation struct {
	// Path of the field, e.g. `steps[2].switch_provider.to[0]`. Empty: the message itself.
	Path string
	// Key tells that the key of the map entry at Path is meant, not its value.
	Key bool
	// Message says what is wrong.
	Message string
}

// Check returns the broken rules of a message, in the order of the fields in the proto. Safe for concurrent use.
func Check(message proto.Message) []Violation {
	err := protovalidate.Validate(message)
	if err == nil {
		return nil
	}
	failed, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return []Violation{{Message: err.Error()}}
	}
	violations := make([]Violation, 0, len(failed.Violations))
	for _, v := range failed.Violations {
		violations = append(violations, Violation{
			Path:    pathOf(v),
			Key:     v.Proto.GetForKey(),
			Message: inWords(v, message.ProtoReflect().Descriptor()),
		})
	}
	sortMaps(violations)
	return violations
}

// pathOf leaves out the name of a oneof, which stands in no file.
func pathOf(v *protovalidate.Violation) string {
	path := protovalidate.FieldPathString(v.Proto.GetField())
	if isOneof(v) {
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return path
}

func isOneof(v *protovalidate.Violation) bool {
	return v.Proto.GetRuleId() == "required" && v.FieldDescriptor == nil
}

// oneofFields lists what may be given, as far as that is short.
func oneofFields(v *protovalidate.Violation, message protoreflect.MessageDescriptor) string {
	elements := v.Proto.GetField().GetElements()
	name := elements[len(elements)-1].GetFieldName()
	if field := follow(elements[:len(elements)-1], message); field != nil {
		message = field.Message()
	}
	if message == nil || message.Oneofs().ByName(protoreflect.Name(name)) == nil {
		return ""
	}
	fields := message.Oneofs().ByName(protoreflect.Name(name)).Fields()
	if fields.Len() > 6 {
		return ""
	}
	var names []string
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	return ": " + strings.Join(names, ", ")
}

// fieldOf follows the path of a violation to its field, or nil.
func fieldOf(v *protovalidate.Violation, message protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	return follow(v.Proto.GetField().GetElements(), message)
}

func follow(path []*validate.FieldPathElement, message protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	var field protoreflect.FieldDescriptor
	for _, e := range path {
		if message == nil {
			return nil
		}
		field = message.Fields().ByNumber(protoreflect.FieldNumber(e.GetFieldNumber()))
		if field == nil {
			return nil
		}
		message = field.Message()
		if field.IsMap() {
			message = field.MapValue().Message()
		}
	}
	return field
}

// sortMaps brings the entries of one map, which come in any order, in the order of their keys, and leaves all else
// where it is.
func sortMaps(violations []Violation) {
	mapOf := func(v Violation) string { prefix, _, _ := strings.Cut(v.Path, `["`); return prefix }
	for i := 0; i < len(violations); {
		j := i + 1
		for strings.Contains(violations[i].Path, `["`) && j < len(violations) && mapOf(violations[j]) == mapOf(violations[i]) {
			j++
		}
		slices.SortStableFunc(violations[i:j], func(a, b Violation) int { return cmp.Compare(a.Path, b.Path) })
		i = j
	}
}

// patterns says in words what the patterns of the protos ask for.
var patterns = map[string]string{
	"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$":                 `must be a name of lower-case letters, digits and "-", at most 63, such as "azure-eu"`,
	"^[a-z][a-z0-9_]{0,62}$":                               `must begin with a lower-case letter and hold only lower-case letters, digits and "_", at most 63`,
	"^[a-z0-9_-]{1,63}$":                                   `must hold only lower-case letters, digits, "_" and "-", at most 63`,
	"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$":              `must be a reference, env:NAME or file:/path, never the secret itself`,
	`^https?://[^\s/]+(/[^\s]*)?$`:                         `must be an address that begins with http:// or https://`,
	`^https?://\S+$`:                                       `must be an address that begins with http:// or https://`,
	"^[A-Za-z0-9-]{1,64}$":                                 `must be the name of a header`,
	"^[1-9][0-9]{0,5}/[smh]$":                              `must be a rate such as 1/s, 30/m or 500/h`,
	`^(https?://\S+|env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$`: `must be an address that begins with http:// or https://, or a reference to one, env:NAME or file:/path`,
}

var (
	secondsText = regexp.MustCompile(`\b(\d+)s\b`)
	listText    = regexp.MustCompile(`^must be in list \[(.*)\]$`)
)

func inWords(v *protovalidate.Violation, root protoreflect.MessageDescriptor) string {
	message := v.Proto.GetMessage()
	switch id := v.Proto.GetRuleId(); {
	case isOneof(v):
		return "exactly one kind must be given" + oneofFields(v, root)
	case id == "string.pattern":
		if words, ok := patterns[v.RuleValue.String()]; ok {
			return words
		}
	case id == "required", id == "string.min_len", id == "repeated.min_items", id == "map.min_pairs":
		return "must be given"
	case id == "repeated.unique":
		return "must not hold the same twice"
	case strings.HasPrefix(id, "enum."):
		if field := fieldOf(v, root); field != nil && field.Enum() != nil {
			return "must be one of " + strings.Join(EnumWords(field.Enum()), ", ")
		}
	case strings.HasPrefix(id, "duration."):
		return secondsText.ReplaceAllStringFunc(message, longDuration)
	case id == "string.in":
		if found := listText.FindStringSubmatch(message); found != nil {
			return "must be one of " + strings.TrimPrefix(found[1], ", ")
		}
	}
	return strings.Replace(strings.Replace(message, "item(s)", "entries", 1), "pair(s)", "entries", 1)
}

// longDuration writes 2592000s as 720h.
func longDuration(seconds string) string {
	d, err := time.ParseDuration(seconds)
	if err != nil || d < time.Minute {
		return seconds
	}
	text := d.String()
	text = strings.TrimSuffix(text, "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// EnumWords lists the values of an enum as files write them, without the one that says nothing.
func EnumWords(enum protoreflect.EnumDescriptor) []string {
	var words []string
	for i := range enum.Values().Len() {
		if value := enum.Values().Get(i); value.Number() != 0 {
			words = append(words, EnumWord(value))
		}
	}
	return words
}

// EnumWord is how files write a value of an enum: in lower case and without the name of the enum, e.g. `failing` for
// SIGNAL_STATE_FAILING.
func EnumWord(value protoreflect.EnumValueDescriptor) string {
	zero := string(value.Parent().(protoreflect.EnumDescriptor).Values().ByNumber(0).Name())
	return strings.ToLower(strings.TrimPrefix(string(value.Name()), strings.TrimSuffix(zero, "UNSPECIFIED")))
}

// String gives path and message.
func (v Violation) String() string {
	if v.Path == "" {
		return v.Message
	}
	return fmt.Sprintf("%s: %s", v.Path, v.Message)
}
