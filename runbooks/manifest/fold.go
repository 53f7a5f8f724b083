package manifest

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// widestFlow is how long a mapping or a list on one line may be, from its beginning.
const widestFlow = 88

// fold puts what is short and flat on one line, as people do: `on: {health: failing, provider: active}`. The depth is
// that of the indentation.
func (t *tree) fold(node *yaml.Node, depth int) {
	for i, child := range node.Content {
		before := 0
		if node.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			before = utf8.RuneCountInString(node.Content[i-1].Value) + 2
		}
		if width, ok := flowWidth(child, 0); ok && len(child.Content) > 0 && !t.block[child] && !isListOfMappings(child) && depth*2+before+width <= widestFlow {
			child.Style = yaml.FlowStyle
			continue
		}
		if len(child.Content) == 0 && child.Kind != yaml.ScalarNode {
			child.Style = yaml.FlowStyle
		}
		t.fold(child, depth+1)
	}
}

// isListOfMappings tells whether each entry is to begin a line.
func isListOfMappings(node *yaml.Node) bool {
	return node.Kind == yaml.SequenceNode && node.Content[0].Kind == yaml.MappingNode
}

// deepest is how many levels a line may hold.
const deepest = 3

// flowWidth is how long a node is on one line, and whether it can be.
func flowWidth(node *yaml.Node, depth int) (int, bool) {
	if depth > deepest {
		return 0, false
	}
	if node.Kind == yaml.ScalarNode {
		return utf8.RuneCountInString(node.Value) + 2*strings.Count(node.Value, `"`), !strings.Contains(node.Value, "\n")
	}
	width := 2
	for _, child := range node.Content {
		w, ok := flowWidth(child, depth+1)
		if !ok {
			return 0, false
		}
		width += w + 2
	}
	return width, true
}
