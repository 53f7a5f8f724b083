package runbooks

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Hash returns the SHA-256 of what a runbook means, in hex: two runbooks that differ only in what may be left out, or in
// what the server sets, have the same. It doesn't change with the version of the protobuf library.
func Hash(rb *jv1.Runbook) string {
	n := ClearOutput(Normalize(rb))
	h := sha256.New()
	if n != nil {
		hashMessage(h, n.ProtoReflect())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ClearOutput takes out of a resource what only the server sets, and returns it.
func ClearOutput[M proto.Message](resource M) M {
	m := resource.ProtoReflect()
	if !m.IsValid() {
		return resource
	}
	for i := range m.Descriptor().Fields().Len() {
		if field := m.Descriptor().Fields().Get(i); IsOutput(field) {
			m.Clear(field)
		}
	}
	return resource
}

// hashMessage writes the fields that are set, in the order of their numbers, each so that no two different contents give
// the same bytes.
func hashMessage(h hash.Hash, m protoreflect.Message) {
	values := map[protoreflect.FieldNumber]protoreflect.Value{}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		values[field.Number()] = value
		return true
	})
	number(h, uint64(len(values)))
	for _, n := range slices.Sorted(maps.Keys(values)) {
		field := m.Descriptor().Fields().ByNumber(n)
		number(h, uint64(n))
		switch {
		case field.IsList():
			list := values[n].List()
			number(h, uint64(list.Len()))
			for i := range list.Len() {
				hashValue(h, field, list.Get(i))
			}
		case field.IsMap():
			hashMap(h, field, values[n].Map())
		default:
			hashValue(h, field, values[n])
		}
	}
}

func hashMap(h hash.Hash, field protoreflect.FieldDescriptor, m protoreflect.Map) {
	keys := map[string]protoreflect.MapKey{}
	m.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		keys[key.String()] = key
		return true
	})
	number(h, uint64(len(keys)))
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		text(h, key)
		hashValue(h, field.MapValue(), m.Get(keys[key]))
	}
}

func hashValue(h hash.Hash, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		hashMessage(h, value.Message())
	case protoreflect.StringKind:
		text(h, value.String())
	case protoreflect.BytesKind:
		text(h, string(value.Bytes()))
	case protoreflect.BoolKind:
		n := uint64(0)
		if value.Bool() {
			n = 1
		}
		number(h, n)
	case protoreflect.EnumKind:
		number(h, uint64(value.Enum()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		number(h, math.Float64bits(value.Float()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		number(h, value.Uint())
	default:
		number(h, uint64(value.Int()))
	}
}

func number(h hash.Hash, n uint64) {
	h.Write(binary.BigEndian.AppendUint64(nil, n))
}

func text(h hash.Hash, s string) {
	number(h, uint64(len(s)))
	h.Write([]byte(s))
}
