package docstest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// invocationFindings tells which commands and flags in a piece of a document our programs don't have. Commands of others
// are theirs to know. A flag that stands alone in a span must belong to one of ours.
func invocationFindings(all map[string]*program, s snippet) []string {
	if s.language == "" {
		if name, ok := strings.CutPrefix(s.text, "--"); ok {
			return loneFlagFindings(all, name)
		}
	}
	var findings []string
	for _, command := range commands(s) {
		for _, part := range strings.Split(strings.ReplaceAll(command, "&&", "|"), "|") {
			findings = append(findings, commandFindings(all, words(part))...)
		}
	}
	return findings
}

func loneFlagFindings(all map[string]*program, text string) []string {
	name, _, _ := strings.Cut(strings.Fields(text)[0], "=")
	for _, p := range all {
		for _, flags := range p.flags {
			if slices.Contains(flags, name) {
				return nil
			}
		}
	}
	if slices.Contains(othersFlags, name) {
		return nil
	}
	return []string{"no program of ours has the flag --" + name}
}

// othersFlags are flags of other programs that documents name alone.
var othersFlags = []string{"network", "auto-compaction-retention", "quota-backend-bytes"}

func commandFindings(all map[string]*program, args []string) []string {
	// go run ./cmd/jurymast x, ./jurymast x and VAR=value jurymast x are jurymast x.
	for len(args) > 0 && (strings.Contains(args[0], "=") || args[0] == "sudo") {
		args = args[1:]
	}
	if len(args) > 2 && args[0] == "go" && args[1] == "run" {
		args = args[2:]
	}
	if len(args) == 0 {
		return nil
	}
	p, ok := all[path.Base(args[0])]
	if !ok {
		return nil
	}
	at, rest := p.resolve(args[1:])
	var findings []string
	if len(rest) > 0 && at == p.name && p.name == "jurymast" && !strings.HasPrefix(rest[0], "-") && rest[0] != "help" {
		findings = append(findings, fmt.Sprintf("%s has no command %s", p.name, rest[0]))
	}
	for _, arg := range rest {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
		if isFlag && name != "" && !slices.Contains(p.flags[at], name) {
			findings = append(findings, fmt.Sprintf("%s has no flag %s", at, arg))
		}
	}
	return findings
}

// resolve finds the command that arguments name, and what is left for it: flags may stand before it, with their values.
func (p *program) resolve(args []string) (at string, rest []string) {
	at = p.name
	for i, arg := range args {
		next := at + " " + arg
		if full, ok := p.alias[next]; ok {
			next = full
		}
		_, known := p.flags[next]
		switch {
		case arg == "--":
			return at, append(rest, args[i:]...)
		case known:
			at = next
		case strings.HasPrefix(arg, "-") || i > 0 && strings.HasPrefix(args[i-1], "-"):
			rest = append(rest, arg)
		default:
			return at, append(rest, args[i:]...)
		}
	}
	return at, rest
}

func TestInvocationsInDocuments(t *testing.T) {
	all := programs(t)
	for _, d := range documents(t) {
		if strings.HasPrefix(d.path, "docs/cli/") {
			continue // written by the commands themselves, and held current by a test beside them
		}
		for _, s := range snippets(d.text) {
			for _, finding := range invocationFindings(all, s) {
				t.Errorf("%s: %s, in: %s", d.path, finding, strings.TrimSpace(s.text))
			}
		}
	}
}

func TestInvocationFindings(t *testing.T) {
	all := map[string]*program{
		"jurymastd": {name: "jurymastd", flags: map[string][]string{"jurymastd": {"data-dir", "help"}}},
		"jurymast": {
			name: "jurymast",
			flags: map[string][]string{
				"jurymast": {"output", "o"}, "jurymast run": {"help"}, "jurymast run list": {"live", "output", "o"},
			},
			alias: map[string]string{"jurymast run ls": "jurymast run list"},
		},
	}
	for _, test := range []struct {
		s    snippet
		want []string
	}{
		{snippet{"sh", "jurymastd --data-dir=x\ngo run ./cmd/jurymast run list --live -o json\nA=b jurymast run ls --live\n"}, nil},
		{snippet{"", "jurymast run list --live"}, nil},
		{snippet{"", "jurymast --output json run list --live -- --anything"}, nil},
		{snippet{"", "jurymast --output json run list --gone"}, []string{"jurymast run list has no flag --gone"}},
		{snippet{"", "--data-dir=x"}, nil},
		{snippet{"sh", "etcdctl --anything | jq\ncurl -x y && jurymastd --help"}, nil},
		{snippet{"yaml", "jurymast: --gone"}, nil},
		{snippet{"", "--gone"}, []string{"no program of ours has the flag --gone"}},
		{snippet{"sh", "jurymastd --gone=1"}, []string{"jurymastd has no flag --gone=1"}},
		{snippet{"sh", "jurymast run list --data-dir x | jurymast gone"}, []string{"jurymast run list has no flag --data-dir", "jurymast has no command gone"}},
		{snippet{"", "jurymast gone"}, []string{"jurymast has no command gone"}},
	} {
		if got := invocationFindings(all, test.s); !slices.Equal(got, test.want) {
			t.Errorf("%q: found %q, want %q", test.s.text, got, test.want)
		}
	}
}
