package demo_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jurymast/jurymast/cmd/jurymast/demo"
)

// The demo is a claim about the product, so it is performed: with the real daemon, killed and restarted.
func TestDemo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jurymastd")
	if out, err := exec.Command("go", "build", "-o", path, "../../jurymastd").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out bytes.Buffer
	res, err := demo.Run(t.Context(), demo.Options{
		Out: &out, JSON: true, Daemon: func(args ...string) *exec.Cmd { return exec.Command(path, args...) },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var shown demo.Result
	if err := json.Unmarshal(out.Bytes(), &shown); err != nil || shown.RunID != res.RunID {
		t.Fatalf("the output is not the result: %v\n%s", err, out.String())
	}
	var keys map[string]any
	if err := json.Unmarshal(out.Bytes(), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"detection_ms", "switch_ms", "outage_seen_by_client_ms", "requests_total", "requests_failed", "notifications", "run_id", "terminal_state",
	} {
		if _, ok := keys[key]; !ok {
			t.Errorf("the result has no %s", key)
		}
	}
	if res.TerminalState != "SUCCEEDED" || res.Phase != "NORMAL" || res.DetectionMS <= 0 || res.RequestsFailed == 0 ||
		res.RequestsFailed*2 > res.RequestsTotal || res.RequestsHeld == 0 || res.Notifications < 5 || res.AnsweredWhileDown == 0 {
		t.Errorf("result %+v", res)
	}
	if res.TotalMS > 50_000 {
		t.Errorf("the demo took %d ms", res.TotalMS)
	}
}
