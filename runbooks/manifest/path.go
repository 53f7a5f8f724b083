package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// element is one step of a field path: a field, an index, or a key of a map.
type element struct {
	name  string // field or key
	index int    // of a list, -1 for others
}

// parsePath takes apart a path such as `steps[2].switch_provider.to[0]` or `parameters["region"].default`. What it can't
// read ends it.
func parsePath(path string) []element {
	var elements []element
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			inner, rest, ok := bracket(path[1:])
			if !ok {
				return elements
			}
			elements = append(elements, inner)
			path = rest
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			elements = append(elements, element{name: path[:end], index: -1})
			path = path[end:]
		}
	}
	return elements
}

// bracket reads what stands between brackets: an index, or a key with or without quotes.
func bracket(path string) (element, string, bool) {
	if strings.HasPrefix(path, `"`) {
		quoted, err := strconv.QuotedPrefix(path)
		if err != nil {
			return element{}, "", false
		}
		key, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(path[len(quoted):], "]")
		return element{name: key, index: -1}, rest, err == nil && closed
	}
	inner, rest, ok := strings.Cut(path, "]")
	if !ok {
		return element{}, "", false
	}
	if n, err := strconv.Atoi(inner); err == nil && n >= 0 {
		return element{name: inner, index: n}, rest, true
	}
	return element{name: inner, index: -1}, rest, true
}

// spot is where a path leads: the value, the key before it if there is one, and how far it went.
type spot struct {
	value *yaml.Node
	key   *yaml.Node
	depth int // elements that were found
}

// find follows a path as far as it goes.
func find(root *yaml.Node, path []element) spot {
	at := spot{value: root}
	for _, e := range path {
		switch at.value.Kind {
		case yaml.SequenceNode:
			if e.index < 0 || e.index >= len(at.value.Content) {
				return at
			}
			at = spot{value: at.value.Content[e.index], depth: at.depth + 1}
		case yaml.MappingNode:
			key, value := entry(at.value, e.name)
			if value == nil {
				return at
			}
			at = spot{value: value, key: key, depth: at.depth + 1}
		default:
			// A list or a policy that was written as a single value.
			return at
		}
	}
	return at
}

// entry returns key and value of a mapping, or nil.
func entry(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// place is where a reader looks: at a single value itself, at the name of what has several lines.
func (s spot) place() *yaml.Node {
	if s.key != nil && s.value.Kind != yaml.ScalarNode {
		return s.key
	}
	return s.value
}
