package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// mostErrors bounds what is said about one file.
const mostErrors = 100

// Error is one thing that is wrong, with its place.
type Error struct {
	// File as it was named to Parse.
	File string
	// Line in the file, from 1.
	Line int
	// Column in characters, from 1.
	Column int
	// Message says what is wrong.
	Message string
	// Snippet is the line, with a mark below the place. Empty: there is no such line.
	Snippet string
}

// Error gives the place, the message and the snippet, without a line break at the end.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Snippet != "" {
		text += "\n" + e.Snippet
	}
	return text
}

// Errors is all that is wrong with one or more files, by file and place. It is never empty.
type Errors []*Error

// Error joins all, one after the other.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}

// Unwrap gives each *Error to errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// sorted brings errors of one file in the order of their places, without what is said twice, and bounded.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e = slices.CompactFunc(e, func(a, b *Error) bool { return *a == *b })
	if len(e) > mostErrors {
		last := *e[mostErrors]
		last.Message = fmt.Sprintf("and %d more errors", len(e)-mostErrors)
		last.Snippet = ""
		e = append(e[:mostErrors:mostErrors], &last)
	}
	return e
}

// source is a file for messages.
type source struct {
	file  string
	lines []string
}

func newSource(file string, data []byte) *source {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	return &source{file: file, lines: strings.Split(text, "\n")}
}

func (s *source) error(line, column int, format string, args ...any) *Error {
	line, column = max(line, 1), max(column, 1)
	return &Error{
		File: s.file, Line: line, Column: column,
		Message: fmt.Sprintf(format, args...), Snippet: s.snippet(line, column),
	}
}

// widest is how much of a line a snippet shows.
const widest = 100

// snippet shows a line with a mark below one of its columns. Of a long line it shows the part around it.
func (s *source) snippet(line, column int) string {
	if line > len(s.lines) {
		return ""
	}
	text := []rune(strings.ToValidUTF8(s.lines[line-1], "\uFFFD"))
	mark := min(column-1, len(text))
	if start := mark - widest/2; start > 0 && len(text) > widest {
		start = min(start, len(text)-widest)
		text, mark = text[start:], mark-start
	}
	text = text[:min(len(text), widest)]
	shown := []rune(printable(string(text)))
	if len(shown) == 0 {
		return ""
	}
	var under strings.Builder
	for i := range min(mark, len(shown)) {
		if shown[i] == '\t' {
			under.WriteByte('\t')
		} else {
			under.WriteByte(' ')
		}
	}
	return fmt.Sprintf("%4d | %s\n     | %s^", line, string(shown), under.String())
}

// printable keeps a hostile file from speaking to the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0)) {
			return utf8.RuneError
		}
		return r
	}, s)
}
