package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/rules"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Write writes a resource as Parse reads it and people would: fields in a stable order, what is short on one line,
// nothing that only the server sets and nothing that goes without saying. Several resources need a line of `---` between
// them.
func Write(w io.Writer, resource *jv1.Resource) error {
	message := inner(resource)
	if message == nil {
		return errors.New("writing a resource: it has no kind")
	}
	if rb, ok := message.(*jv1.Runbook); ok {
		message = runbooks.Simplify(rb)
	}
	tree := &tree{block: map[*yaml.Node]bool{}}
	root, err := tree.message(message.ProtoReflect())
	if err != nil {
		return fmt.Errorf("writing %s %s: %w", runbooks.KindOf(resource), runbooks.NameOf(resource), err)
	}
	kind := string(message.ProtoReflect().Descriptor().Name())
	root.Content = append([]*yaml.Node{scalar("kind"), scalar(kind)}, root.Content...)
	root.Style = 0
	tree.fold(root, 0)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("writing %s %s: %w", runbooks.KindOf(resource), runbooks.NameOf(resource), err)
	}
	return e.Close()
}

// inner returns the message in a resource, or nil.
func inner(resource *jv1.Resource) proto.Message {
	m := resource.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return nil
	}
	return m.Get(field).Message().Interface()
}

const stepName = "jurymast.v1.Step"

// order brings the fields of a message in the order in which people read them: that of the proto, but what a step does
// before how it fails.
func order(message protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	fields := make([]protoreflect.FieldDescriptor, message.Fields().Len())
	for i := range fields {
		fields[i] = message.Fields().Get(i)
	}
	if message.FullName() == stepName {
		rank := func(f protoreflect.FieldDescriptor) int {
			switch {
			case f.Name() == "id" || f.Name() == "if":
				return 0
			case f.ContainingOneof() != nil:
				return 1
			}
			return 2
		}
		slices.SortStableFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(rank(a), rank(b)) })
	}
	return fields
}

// tree makes the nodes of a document.
type tree struct {
	block map[*yaml.Node]bool // mappings that are never put on one line
}

func (t *tree) message(m protoreflect.Message) (*yaml.Node, error) {
	node := mapping()
	t.block[node] = m.Descriptor().FullName() == stepName
	for _, field := range order(m.Descriptor()) {
		if !m.Has(field) || runbooks.IsOutput(field) {
			continue
		}
		value, err := t.field(field, m.Get(field))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.Name(), err)
		}
		node.Content = append(node.Content, scalar(string(field.Name())), value)
	}
	if m.Descriptor().FullName() == automationPolicy && len(node.Content) == 2 && node.Content[0].Value == "default" {
		return node.Content[1], nil
	}
	return node, nil
}

func (t *tree) field(field protoreflect.FieldDescriptor, value protoreflect.Value) (*yaml.Node, error) {
	switch {
	case field.IsList():
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range value.List().Len() {
			item, err := t.single(field, value.List().Get(i))
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			list.Content = append(list.Content, item)
		}
		return list, nil
	case field.IsMap():
		return t.entries(field, value.Map())
	}
	return t.single(field, value)
}

func (t *tree) entries(field protoreflect.FieldDescriptor, m protoreflect.Map) (*yaml.Node, error) {
	values := map[string]protoreflect.Value{}
	m.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		values[key.String()] = value
		return true
	})
	node := mapping()
	t.block[node] = field.MapValue().Message() != nil
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name, err := text(key)
		if err != nil {
			return nil, err
		}
		if name.Style == yaml.LiteralStyle {
			name.Style = yaml.DoubleQuotedStyle
		}
		value, err := t.single(field.MapValue(), values[key])
		if err != nil {
			return nil, fmt.Errorf("[%q]: %w", key, err)
		}
		node.Content = append(node.Content, name, value)
	}
	return node, nil
}

func (t *tree) single(field protoreflect.FieldDescriptor, value protoreflect.Value) (*yaml.Node, error) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch m := value.Message().Interface().(type) {
		case *durationpb.Duration:
			return plain("!!str", durationText(m)), nil
		case *timestamppb.Timestamp:
			return plain("!!timestamp", m.AsTime().UTC().Format(time.RFC3339Nano)), nil
		}
		return t.message(value.Message())
	case protoreflect.EnumKind:
		word := field.Enum().Values().ByNumber(value.Enum())
		if word == nil || word.Number() == 0 {
			return nil, fmt.Errorf("the enum %s has no value %d to write", field.Enum().Name(), value.Enum())
		}
		return scalar(rules.EnumWord(word)), nil
	case protoreflect.StringKind:
		return text(value.String())
	case protoreflect.BoolKind:
		return plain("!!bool", strconv.FormatBool(value.Bool())), nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return plain("!!float", strconv.FormatFloat(value.Float(), 'g', -1, 64)), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return plain("!!int", strconv.FormatInt(value.Int(), 10)), nil
	}
	return nil, fmt.Errorf("fields of kind %s can't be written", field.Kind())
}

// durationText writes a duration as files do, also one that Go's can't hold.
func durationText(d *durationpb.Duration) string {
	if s := d.GetSeconds(); s > math.MaxInt64/int64(time.Second)-1 || s < math.MinInt64/int64(time.Second)+1 {
		if n := d.GetNanos(); n != 0 {
			return fmt.Sprintf("%d.%09ds", s, max(n, -n))
		}
		return strconv.FormatInt(s, 10) + "s"
	}
	t := d.AsDuration().String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func plain(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// scalar is a text; the encoder quotes it where it would be read as something else.
func scalar(value string) *yaml.Node { return plain("!!str", value) }

// oldWords are truth values to other readers of YAML.
var oldWords = []string{"y", "n", "yes", "no", "on", "off"}

func text(value string) (*yaml.Node, error) {
	if !utf8.ValidString(value) {
		return nil, errors.New("the text is not valid UTF-8")
	}
	node := scalar(value)
	switch {
	case strings.ContainsFunc(value, isSpecial), slices.Contains(oldWords, strings.ToLower(value)):
		node.Style = yaml.DoubleQuotedStyle
	case strings.Contains(value, "\n"):
		node.Style = yaml.LiteralStyle
		// What a block can't hold exactly.
		if strings.HasPrefix(value, " ") || strings.HasPrefix(value, "\n") || strings.HasSuffix(value, "\n\n") {
			node.Style = yaml.DoubleQuotedStyle
		}
	}
	return node, nil
}

// isSpecial tells whether a character must be escaped.
func isSpecial(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\uFEFF' || r == '\u2028' || r == '\u2029'
}
