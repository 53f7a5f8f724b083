package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	columns := []column{
		{title: "NAME"}, {title: "STATE", tint: tintState}, {title: "TEXT", elastic: true}, {title: "MORE", wide: true}, {title: "N", right: true},
	}
	long := strings.Repeat("word ", 40)
	tab := &table{columns: columns}
	tab.add("chat", "FAILED", long, "hidden", "7")
	tab.add("ü", "RUNNING", "short", "hidden", "1234")

	narrow := tab.render(false, painter{})
	lines := strings.Split(strings.TrimSuffix(narrow, "\n"), "\n")
	if len(lines) != 3 || strings.Contains(narrow, "hidden") || strings.Contains(narrow, "MORE") {
		t.Errorf("rendered\n%s", narrow)
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n != screen {
			t.Errorf("line of %d letters, want %d: %q", n, screen, l)
		}
	}
	if !strings.Contains(lines[1], "…") || !strings.HasSuffix(lines[1], "     7") {
		t.Errorf("the long line is %q", lines[1])
	}
	wide := tab.render(true, painter{})
	if !strings.Contains(wide, strings.TrimSpace(long)) || !strings.Contains(wide, "hidden") {
		t.Errorf("wide is\n%s", wide)
	}

	// Colours change nothing but the colours.
	colored := tab.render(false, painter{on: true})
	if !strings.Contains(colored, "\x1b[31mFAILED\x1b[0m") {
		t.Errorf("colored is\n%s", colored)
	}
	plain := strings.NewReplacer("\x1b[31m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colored)
	if plain != narrow {
		t.Errorf("without its colours it is\n%swant\n%s", plain, narrow)
	}
}

func TestTableKeepsAHostileTextInItsLine(t *testing.T) {
	tab := &table{columns: []column{{title: "NAME"}, {title: "TEXT"}}}
	tab.add("a\nb", "x\x1b[2J\ty\u009b31m")
	if got, want := tab.render(false, painter{}), "NAME  TEXT\na b   x [2J y 31m\n"; got != want {
		t.Errorf("rendered %q, want %q", got, want)
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"ab cd", 4, "ab…"},
		{"äöü", 2, "ä…"},
		{"abc", 1, "…"},
		{"", 0, ""},
	} {
		if got := shorten(test.text, test.most); got != test.want {
			t.Errorf("%q in %d is %q, want %q", test.text, test.most, got, test.want)
		}
	}
}

func TestFoldAndWrap(t *testing.T) {
	text := "the quick brown fox jumps over the lazy dog and averyveryverylongwordthatfitsnowhere ends"
	lines := fold(text, 20)
	if strings.Join(lines, " ") != text {
		t.Errorf("folded to %q", lines)
	}
	for _, l := range lines {
		if len(l) > 20 && strings.Contains(l, " ") {
			t.Errorf("the line %q is too long", l)
		}
	}
	if got := wrap([]string{"aa", "bb", "cc"}, 6); strings.Join(got, "|") != "aa, bb|cc" {
		t.Errorf("wrapped to %q", got)
	}
	if got := wrap(nil, 6); len(got) != 0 {
		t.Errorf("nothing wrapped to %q", got)
	}
}

func TestPainter(t *testing.T) {
	for _, test := range []struct {
		flag string
		env  map[string]string
		want bool
		fail bool
	}{
		{flag: "always", env: map[string]string{"NO_COLOR": "1"}, want: true},
		{flag: "never"},
		{flag: "auto"}, // a buffer is no terminal
		{flag: "perhaps", fail: true},
	} {
		p, err := newPainter(test.flag, func(k string) string { return test.env[k] }, &strings.Builder{})
		if p.on != test.want || (err != nil) != test.fail {
			t.Errorf("--color %s: on %t, %v", test.flag, p.on, err)
		}
	}
}
