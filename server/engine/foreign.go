package engine

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// foreign tells what of a record this version does not know: a field, or the value of an enum. Empty: it knows all of
// it. What a newer version wrote is left to replicas of that version: an older one would pass over what it does not see.
func foreign(m proto.Message) string {
	if m == nil {
		return ""
	}
	return foreignIn(m.ProtoReflect())
}

// leave reports a record that is left to a newer version, once for each.
func (e *Engine) leave(key, what string) {
	e.mu.Lock()
	_, known := e.left[key]
	e.left[key] = struct{}{}
	e.mu.Unlock()
	if known {
		return
	}
	e.metrics.foreign.Inc()
	e.log.Warn("left as it is, for a replica of a newer version: this one does not know all of it", "key", key, "unknown", what)
}

func foreignIn(m protoreflect.Message) (what string) {
	if len(m.GetUnknown()) > 0 {
		return fmt.Sprintf("a field of %s", m.Descriptor().Name())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if k := f.MapValue().Kind(); k == protoreflect.MessageKind {
				v.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
					what = foreignIn(e.Message())
					return what == ""
				})
			}
		case f.IsList():
			for i := 0; i < v.List().Len() && what == ""; i++ {
				what = foreignValue(f, v.List().Get(i))
			}
		default:
			what = foreignValue(f, v)
		}
		return what == ""
	})
	return what
}

func foreignValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return foreignIn(v.Message())
	case protoreflect.EnumKind:
		if f.Enum().Values().ByNumber(v.Enum()) == nil {
			return fmt.Sprintf("%s %d of %s", f.Name(), v.Enum(), f.Parent().Name())
		}
	}
	return ""
}
