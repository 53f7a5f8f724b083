package archtest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	// code is what stands between backticks in a line.
	code = regexp.MustCompile("`([^`]+)`")
	// link is a Markdown link's target.
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// lineNumber is a place in a source that is wrong after the next commit.
	lineNumber = regexp.MustCompile(`[\w/-]+\.(go|proto):\d+`)
	// pathWord is a word that may be a path; others hold what no path of ours does.
	pathWord = regexp.MustCompile(`^[A-Za-z0-9_.*/-]+$`)
)

// documentFindings tells what a document says of the repository at root that isn't
// so: paths in backticks or in code blocks, and targets of links, that don't
// exist; and line numbers, which don't last. A word counts as a path when it
// starts with a folder of the repository, or with one that the layout names.
func documentFindings(root, name string, text []byte) []string {
	var findings []string
	fenced := false
	for i, line := range strings.Split(string(text), "\n") {
		report := func(format string, args ...any) {
			findings = append(findings, fmt.Sprintf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...)))
		}
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if place := lineNumber.FindString(line); place != "" {
			report("%s is a line number, name the function", place)
		}
		for _, word := range pathWords(line, fenced) {
			if !exists(root, word) {
				report("%s doesn't exist", word)
			}
		}
		if fenced {
			continue
		}
		for _, match := range link.FindAllStringSubmatch(line, -1) {
			target, _, _ := strings.Cut(match[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), target)); err != nil {
				report("the link to %s leads nowhere", target)
			}
		}
	}
	return findings
}

// pathWords are the words of a line's code that name something of the
// repository.
func pathWords(line string, fenced bool) []string {
	spans := []string{line}
	if !fenced {
		spans = nil
		for _, match := range code.FindAllStringSubmatch(line, -1) {
			spans = append(spans, match[1])
		}
	}
	var words []string
	for _, span := range spans {
		for _, word := range strings.Fields(span) {
			word = strings.TrimPrefix(strings.Trim(word, `"',;()[]`), module+"/")
			word = strings.TrimSuffix(strings.TrimPrefix(word, "./"), "/...")
			word, _, _ = strings.Cut(word, "#")
			if pathWord.MatchString(word) && isOurs(word) {
				words = append(words, strings.TrimSuffix(word, "."))
			}
		}
	}
	return words
}

// isOurs tells a path of the repository from a media type or a package of
// others.
func isOurs(word string) bool {
	first, _, ok := strings.Cut(word, "/")
	switch first {
	case "proto", "runbooks", "server", "client", "cmd", "deployments", "docs", "internal", "third_party", "tools", ".ci":
		return ok
	}
	return false
}

// exported is the end of a Go name with its package's path: server/store.Store.
var exported = regexp.MustCompile(`\.[A-Z]\w*(\.[A-Z]\w*)?$`)

func exists(root, word string) bool {
	for _, name := range []string{word, exported.ReplaceAllString(word, "")} {
		matches, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name)))
		if err == nil && len(matches) > 0 {
			return true
		}
	}
	return false
}
