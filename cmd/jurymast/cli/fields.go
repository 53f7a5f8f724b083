package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// field is one line of a description: a name and a text.
type field struct {
	name string
	text string
}

// renderFields aligns the texts. An empty text leaves its line out; one with line breaks is indented.
func (a *App) renderFields(fields ...field) string {
	width := 0
	for _, f := range fields {
		width = max(width, len(f.name))
	}
	var b strings.Builder
	for _, f := range fields {
		if f.text == "" {
			continue
		}
		for i, l := range strings.Split(strings.TrimRight(f.text, "\n"), "\n") {
			name := f.name + ":"
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%s  %s\n", a.paint.as(tintFaint, fmt.Sprintf("%-*s", width+1, name)), l)
		}
	}
	return b.String()
}

func (a *App) printFields(fields ...field) error { return a.print([]byte(a.renderFields(fields...))) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
