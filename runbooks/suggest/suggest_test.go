package suggest

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	fields := []string{"name", "services", "on", "automation", "steps", "on_failure", "base_url"}
	for _, test := range []struct{ word, want string }{
		{"step", "steps"},
		{"setps", "steps"},
		{"servces", "services"},
		{"onFailure", "on_failure"},
		{"on-failure", "on_failure"},
		{"Base_URL", "base_url"},
		{"automatoin", "automation"},
		{"of", "on"},
		{"xyz", ""},
		{"queueing", ""},
		{"", ""},
		{strings.Repeat("steps", 20), ""},
	} {
		got, ok := Nearest(test.word, fields)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("Nearest(%q) = %q, %v, want %q", test.word, got, ok, test.want)
		}
	}
}

func TestNearestTakesTheFirstOfEquals(t *testing.T) {
	if got, _ := Nearest("bat", []string{"cat", "hat"}); got != "cat" {
		t.Errorf("got %q, want the first", got)
	}
}

func TestQuestion(t *testing.T) {
	if got, want := Question("vlm", []string{"vllm"}), `, did you mean "vllm"?`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Question("azure", []string{"vllm"}); got != "" {
		t.Errorf("got %q for a word that resembles nothing", got)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"ab", "ba", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"stpes", "steps", 1},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
