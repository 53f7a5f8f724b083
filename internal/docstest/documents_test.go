package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is one Markdown file of the repository.
type document struct {
	path string // relative to the repository, with slashes
	text string
}

// snippet is a piece of code in a document: a span between backticks, or a fenced block.
type snippet struct {
	language string // of a block; empty for a span
	text     string
}

// repository returns the root of the repository.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// documents reads every Markdown file that speaks of this product.
func documents(t *testing.T) []document {
	t.Helper()
	root := repository(t)
	var out []document
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deployments/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, document{path: filepath.ToSlash(path), text: read(t, name)})
		}
	}
	if len(out) == 0 {
		t.Fatal("no documents found")
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var span = regexp.MustCompile("`([^`]+)`")

// snippets returns the code of a document, in order.
func snippets(text string) []snippet {
	var out []snippet
	var block *snippet
	var prose strings.Builder
	flush := func() {
		for _, match := range span.FindAllStringSubmatch(prose.String(), -1) {
			out = append(out, snippet{text: strings.Join(strings.Fields(match[1]), " ")})
		}
		prose.Reset()
	}
	for line := range strings.SplitSeq(text, "\n") {
		fence, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fenced && block == nil:
			flush()
			block = &snippet{language: strings.TrimSpace(fence)}
		case fenced:
			out = append(out, *block)
			block = nil
		case block != nil:
			block.text += line + "\n"
		case strings.TrimSpace(line) == "":
			flush()
		default:
			prose.WriteString(line + "\n")
		}
	}
	flush()
	return out
}

// words splits a shell command, with quotes but without expansion.
var word = regexp.MustCompile(`"[^"]*"|'[^']*'|[^\s"']+`)

func words(command string) []string {
	var out []string
	for _, w := range word.FindAllString(command, -1) {
		out = append(out, strings.Trim(w, `"'`))
	}
	return out
}

// commands returns the lines of a shell block that are commands: continued lines joined, prompts and comments taken off.
// In a block of what a terminal showed ("console"), only lines with a prompt are commands.
func commands(s snippet) []string {
	switch s.language {
	case "", "sh", "bash", "shell", "console":
	default:
		return nil
	}
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(s.text, "\\\n", " "), "\n") {
		line, prompted := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if line == "" || strings.HasPrefix(line, "#") || s.language == "console" && !prompted {
			continue
		}
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

func TestSnippets(t *testing.T) {
	got := snippets("One `a\nb` and `c`.\n\n```sh\n$ d \\\n  --e\n# f\n```\n\n- `g`\n\n```yaml\nh: `i`\n```\n")
	want := []snippet{{text: "a b"}, {text: "c"}, {"sh", "$ d \\\n  --e\n# f\n"}, {text: "g"}, {"yaml", "h: `i`\n"}}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := commands(want[2]); !slices.Equal(got, []string{"d --e"}) {
		t.Errorf("commands are %q", got)
	}
	if got := commands(snippet{"console", "$ a b\nc\n"}); !slices.Equal(got, []string{"a b"}) {
		t.Errorf("commands of a console are %q", got)
	}
	if got := commands(want[4]); got != nil {
		t.Errorf("YAML holds the commands %q", got)
	}
}
