package manifest

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of what is read.
const (
	// MaxFile is the most bytes that a file may have.
	MaxFile  = 256 << 10
	maxDepth = 32 // of nested lists and mappings
)

// chunk is the text of one document of a file.
type chunk struct {
	text string
	line int // of its first line in the file, from 1
}

// split cuts a file at its document markers, so that a broken document doesn't hide those after it. YAML allows a marker
// nowhere else at the begin of a line. What stands before the first line with content is left out: the parser names
// places better for what begins on its first line.
func split(lines []string) []chunk {
	var chunks []chunk
	begin := 0
	flush := func(end int) {
		for begin < end && blank(lines[begin]) {
			begin++
		}
		if begin < end {
			chunks = append(chunks, chunk{text: strings.Join(lines[begin:end], "\n") + "\n", line: begin + 1})
		}
	}
	for i, line := range lines {
		switch {
		case isMarker(line, "---"):
			flush(i)
			begin = i
			if blank(line[3:]) {
				begin++
			}
		case isMarker(line, "..."):
			flush(i)
			begin = i + 1
		}
	}
	flush(len(lines))
	return chunks
}

func isMarker(line, marker string) bool {
	rest, ok := strings.CutPrefix(line, marker)
	return ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// blank tells whether a line holds nothing but a comment.
func blank(line string) bool {
	line = strings.TrimLeft(line, " \t\r")
	return line == "" || line[0] == '#'
}

// parseYAML parses the text of one document. Its nodes have their places in the file. Nil without an error: there is
// nothing in it.
func parseYAML(s *source, c chunk) (*yaml.Node, *Error) {
	if strings.HasPrefix(c.text, "%") {
		return nil, s.error(c.line, 1, "YAML directives are not supported")
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(c.text), &document); err != nil {
		return nil, syntaxError(s, c, err)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, nil
	}
	root := document.Content[0]
	if err := settle(s, root, c.line-1, 1); err != nil {
		return nil, err
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

// settle moves nodes to their places in the file and refuses what no file needs and a hostile one would use.
func settle(s *source, node *yaml.Node, offset, depth int) *Error {
	node.Line += offset
	switch {
	case node.Kind == yaml.AliasNode:
		return s.error(node.Line, node.Column, "aliases are not supported: write out what is meant")
	case node.Anchor != "":
		return s.error(node.Line, node.Column, "anchors are not supported: write out what is meant")
	case node.Style&yaml.TaggedStyle != 0:
		return s.error(node.Line, node.Column, "tags such as %s are not supported: the kind of a field is known", node.Tag)
	case node.Tag == "!!merge":
		return s.error(node.Line, node.Column, "merging with << is not supported: write out what is meant")
	case depth > maxDepth:
		return s.error(node.Line, node.Column, "this is nested too deeply, at most %d levels are allowed", maxDepth)
	}
	for _, child := range node.Content {
		if err := settle(s, child, offset, depth+1); err != nil {
			return err
		}
	}
	return nil
}

var (
	yamlError     = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// noAnchor is what the parser says of a value that begins like an alias and is none: the times of a schedule, mostly.
const noAnchor = "did not find expected alphabetic or numeric character"

// syntaxError gives the parser's error a place. What its scanner says counts lines from 1, what its parser says from 0.
func syntaxError(s *source, c chunk, err error) *Error {
	line, message := 1, err.Error()
	if found := yamlError.FindStringSubmatch(message); found != nil {
		message = found[2]
		if n, err := strconv.Atoi(found[1]); err == nil {
			line = n
			if strings.HasPrefix(message, "did not find expected") && !strings.HasSuffix(message, "<document start>") && message != noAnchor {
				line++
			}
		}
	}
	mark := ""
	if found := unknownAnchor.FindStringSubmatch(message); found != nil {
		mark, message = "*"+found[1], "aliases are not supported: write out what is meant"
	}
	lines := strings.Split(strings.TrimSuffix(c.text, "\n"), "\n")
	line = min(max(line, 1), len(lines))
	column := 1
	if mark != "" {
		for i, text := range lines {
			if at := strings.Index(text, mark); at >= 0 {
				line, column = i+1, utf8.RuneCountInString(text[:at])+1
				break
			}
		}
	} else {
		text := lines[line-1]
		column += len(text) - len(strings.TrimLeft(text, " "))
	}
	return s.error(c.line-1+line, column, "the YAML is broken: %s", hint(message))
}

// hint says what the parser's words mean to those who don't know them.
func hint(message string) string {
	switch {
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return `a ": " stands where no field can begin; check the indentation, or put the value in quotes`
	case strings.HasPrefix(message, "found character that cannot start any token"):
		return "a value begins with a tab, @, `, or %: use blanks for indentation, or put the value in quotes"
	case strings.HasPrefix(message, "could not find expected ':'"):
		return `a field is missing its ":"`
	case message == noAnchor:
		return "a value begins with * or &: put it in quotes"
	case strings.HasPrefix(message, "did not find expected key"):
		return "this doesn't fit what stands above: check the indentation"
	}
	return message
}

var errEncoding = errors.New("the file is not valid UTF-8")

// checkText finds what YAML can't hold: bytes that are no UTF-8, and control characters.
func checkText(s *source, data []byte) *Error {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return s.error(line, column, "%v", errEncoding)
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return s.error(line, column, "the control character %U is not allowed", r)
		}
		column++
		data = data[size:]
	}
	return nil
}
