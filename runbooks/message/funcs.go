package message

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"
)

// Bounds of one rendering.
const (
	maxWork  = 200_000   // nodes of the template that are visited inside of loops
	maxBytes = 512 << 10 // bytes that functions return, all together
	maxValue = 64 << 10  // bytes that one function returns
)

// timeFormat is how a moment is shown.
const timeFormat = "2006-01-02 15:04:05 UTC"

// budget is what is left of the bounds of one rendering. It is used by one goroutine.
type budget struct {
	work, bytes int
}

// tick is called at the begin of every turn of a loop, with the number of nodes of the turn.
func (b *budget) tick(nodes int) (string, error) {
	if b.work -= nodes; b.work < 0 {
		return "", ErrTooExpensive
	}
	return "", nil
}

// text charges a result, so that no template can grow one without end.
func (b *budget) text(s string) (string, error) {
	if b.bytes -= len(s); len(s) > maxValue || b.bytes < 0 {
		return "", ErrTooExpensive
	}
	return s, nil
}

// tickName is refused in what operators write.
const tickName = "_loop"

// functions are what templates may call. They replace the built-in ones that could grow a text without end. Those that
// speak of time are relative to data.Now, so that a message is the same whoever renders it.
func functions(b *budget, data Data) template.FuncMap {
	return template.FuncMap{
		tickName: b.tick,

		"since":    func(t time.Time) string { return between(t, data.Now) },
		"until":    func(t time.Time) string { return between(data.Now, t) },
		"utc":      utc,
		"clock":    clock,
		"duration": inWords,
		"join":     func(list []string, separator string) (string, error) { return b.join(list, separator) },
		"default":  fallback,
		"upper":    func(s string) (string, error) { return b.text(strings.ToUpper(s)) },
		"lower":    func(s string) (string, error) { return b.text(strings.ToLower(s)) },
		"trim":     strings.TrimSpace,
		"replace":  func(old, by, s string) (string, error) { return b.replace(old, by, s) },
		"truncate": truncate,
		"contains": func(part, s string) bool { return strings.Contains(s, part) },
		"plural":   func(n int, one, many string) (string, error) { return b.text(plural(n, one, many)) },
		"json":     func(v any) (string, error) { return b.json(v) },
		"output":   data.output,

		"print":    func(args ...any) (string, error) { return b.print(fmt.Sprint, args) },
		"println":  func(args ...any) (string, error) { return b.print(fmt.Sprintln, args) },
		"printf":   b.printf,
		"html":     func(args ...any) (string, error) { return b.print(template.HTMLEscaper, args) },
		"js":       func(args ...any) (string, error) { return b.print(template.JSEscaper, args) },
		"urlquery": func(args ...any) (string, error) { return b.print(template.URLQueryEscaper, args) },
	}
}

// functionNames lists what a template may call, without what Go's text/template brings.
func functionNames() []string {
	var names []string
	for name := range functions(&budget{}, Data{}) {
		if name != tickName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (b *budget) join(list []string, separator string) (string, error) {
	size := 0
	for _, s := range list {
		size += len(s) + len(separator)
	}
	if size > maxValue {
		return "", ErrTooExpensive
	}
	return b.text(strings.Join(list, separator))
}

func (b *budget) replace(old, by, s string) (string, error) {
	if strings.Count(s, old)*len(by)+len(s) > maxValue {
		return "", ErrTooExpensive
	}
	return b.text(strings.ReplaceAll(s, old, by))
}

func (b *budget) json(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return b.text(string(text))
}

func (b *budget) print(format func(...any) string, args []any) (string, error) {
	if sizeOf(args) > maxValue {
		return "", ErrTooExpensive
	}
	return b.text(format(args...))
}

// printf refuses widths and precisions beyond two digits: with them a few letters would make megabytes.
func (b *budget) printf(format string, args ...any) (string, error) {
	digits := 0
	verb := false
	for _, r := range format {
		switch {
		case r == '%':
			verb, digits = !verb, 0
		case verb && r == '*':
			return "", fmt.Errorf("a width or precision given as an argument is not supported")
		case verb && r >= '0' && r <= '9':
			if digits++; digits > 2 {
				return "", fmt.Errorf("a width or precision of more than two digits is not supported")
			}
		case verb && strings.ContainsRune("+-# .[]", r):
			digits = 0
		default:
			verb = false
		}
	}
	if len(format)+strings.Count(format, "%")*100+sizeOf(args)*max(1, strings.Count(format, "%[")) > maxValue {
		return "", ErrTooExpensive
	}
	return b.text(fmt.Sprintf(format, args...))
}

// sizeOf estimates how long arguments are when they are printed.
func sizeOf(args []any) int {
	size := 0
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			size += len(v)
		case []string, []Step, map[string]string, Data, Step:
			size += dataSize(reflect.ValueOf(v))
		default:
			size += 64
		}
	}
	return size
}

func dataSize(v reflect.Value) int {
	size := 8
	switch v.Kind() {
	case reflect.String:
		size += v.Len()
	case reflect.Slice:
		for i := range v.Len() {
			size += dataSize(v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			size += dataSize(iter.Key()) + dataSize(iter.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			size += dataSize(v.Field(i))
		}
	default:
		size += 64
	}
	return size
}

func (d Data) output(id, key string) string {
	for _, step := range d.Steps {
		if step.ID == id {
			return step.Output[key]
		}
	}
	return ""
}

// fallback is for a pipeline: `{{.Provider | default "a provider"}}`.
func fallback(otherwise, value any) any {
	if truth, ok := template.IsTrue(value); !ok || !truth {
		return otherwise
	}
	if t, ok := value.(time.Time); ok && t.IsZero() {
		return otherwise
	}
	return value
}

func utc(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(timeFormat)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("15:04 UTC")
}

func between(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "an unknown time"
	}
	return inWords(to.Sub(from))
}

// inWords gives a duration in its two greatest units; what is negative, by clocks that differ, is nothing.
func inWords(d time.Duration) string {
	d = max(d, 0)
	if d < time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	d = d.Round(time.Second)
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, unit := range units {
		n := d / unit.size
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("%d%s", n, unit.name)
		if i+1 < len(units) {
			if rest := d % unit.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// truncate cuts a text to at most n characters, the last of which then is an ellipsis.
func truncate(n int, s string) string {
	if n < 1 {
		return ""
	}
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
