package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/jurymast/jurymast/client"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestQuoteEnv asks a shell what it reads.
func TestQuoteEnv(t *testing.T) {
	for _, value := range []string{
		"", "plain", "azure-eu", "two words", `say "hi"`, "$HOME", "`id`", `back\slash`, "$(id)", "semi;colon", "it's", "ümlaut", "a=b", "#no", "!x", "*",
	} {
		quotedValue := quoteEnv(value)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "X="+quotedValue+"\nprintf %s \"$X\"").Output()
		if err != nil || string(out) != value {
			t.Errorf("%q is written %s and read as %q, %v", value, quotedValue, out, err)
		}
	}
	if got := quoteEnv("azure-eu"); got != "azure-eu" {
		t.Errorf("a plain value is quoted: %s", got)
	}
}

func TestRenderIsStable(t *testing.T) {
	state := func(service string) facts {
		return factsOf(service, client.State{ContinuityState: &jv1.ContinuityState{
			Service: service, ActiveProvider: "b", Weights: map[string]int32{"c": 5, "a": 1}, Epoch: 3, Reason: "two\nlines",
		}}, true)
	}
	all := []facts{state("chat"), state("video-eu")}
	for _, format := range []string{"json", "env"} {
		first, err := render(format, nil, all)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if again, err := render(format, nil, all); err != nil || string(again) != string(first) {
				t.Fatalf("%s varies: %s, %v", format, again, err)
			}
		}
		if format == "env" && (strings.Count(string(first), "\n") != 16 || !strings.Contains(string(first), "JURYMAST_VIDEO_EU_PROVIDER=b\n") ||
			!strings.Contains(string(first), `JURYMAST_CHAT_REASON="two lines"`)) {
			t.Errorf("env is\n%s", first)
		}
	}
	gone := factsOf("chat", client.State{}, false)
	if line, err := gone.line(); err != nil || !strings.Contains(string(line), `"deleted":true`) {
		t.Errorf("a deleted service is %s, %v", line, err)
	}
}
