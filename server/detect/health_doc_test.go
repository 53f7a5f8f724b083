package detect

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var update = flag.Bool("update", false, "write the table of transitions into docs/health.md")

// transitions are all changes of state the judge can make, found by judging every combination of what each class may
// say, of every state before, fresh and old.
func transitions() map[string]map[string]bool {
	reasons := map[jv1.HealthState][]Reason{
		unknown: {NoEvidence}, healthy: {EvidenceOK}, suspect: {OneClassFailing, AgreementPending, ConfigurationPending},
		failing: {QuorumFailing}, recovering: {OkAgain}, blocked: {ConfigurationRefused},
	}
	said := func(class jv1.EvidenceClass) []*jv1.Signal {
		return []*jv1.Signal{nil, oks(class), bads(class), bads(class, config), bads(class, throttled)}
	}
	found := map[string]map[string]bool{}
	judge := func(f Facts) {
		j := Judge(f)
		from, to := stateOf(f.Previous), j.Health.GetState()
		if from == to {
			return
		}
		key := fmt.Sprintf("| %s | %s |", healthName(from), healthName(to))
		if found[key] == nil {
			found[key] = map[string]bool{}
		}
		found[key][string(j.Reason)] = true
	}
	for state, because := range reasons {
		for _, reason := range because {
			for _, lasted := range []time.Duration{-1, time.Second, time.Hour} {
				h := health(state, reason)
				if lasted >= 0 {
					agreed(lasted)(h)
				}
				for _, first := range said(probing) {
					for _, second := range said(probing) {
						if second != nil {
							second.Vantage = "r2"
						}
						for _, third := range said(external) {
							for _, fourth := range []*jv1.Signal{nil, oks(feed), bads(feed)} {
								for _, word := range []*jv1.Signal{nil, oks(operator), bads(operator)} {
									var signals []*jv1.Signal
									for _, s := range []*jv1.Signal{first, second, third, fourth, word} {
										if s != nil {
											signals = append(signals, s)
										}
									}
									for _, r := range []*jv1.HealthRule{nil, rule(1), immediate(rule(0)), immediate(rule(1)), rule(2)} {
										judge(Facts{Rule: r, Signals: signals, Previous: h, Now: t0})
										judge(Facts{Rule: r, Signals: signals, Previous: h, Now: t0, GapSince: t0.Add(-GapGrace)})
									}
								}
							}
						}
					}
				}
			}
		}
	}
	return found
}

// TestTransitionsAreDocumented holds the table in the documentation against what the judge does.
func TestTransitionsAreDocumented(t *testing.T) {
	found := transitions()
	table := "| from | to | because |\n|---|---|---|\n"
	for _, key := range slices.Sorted(maps.Keys(found)) {
		table += key + " `" + strings.Join(slices.Sorted(maps.Keys(found[key])), "`, `") + "` |\n"
	}
	name := filepath.Join("..", "..", "docs", "health.md")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- transitions: made by go test ./server/detect -run Transitions -update -->\n", "<!-- /transitions -->\n"
	head, rest, ok := strings.Cut(string(b), begin)
	documented, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no table of transitions", name)
	}
	if *update {
		if err := os.WriteFile(name, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if documented != table {
		t.Errorf("the table in %s is\n%s\nthe judge's is\n%s", name, documented, table)
	}
}

// TestReasonsAreDocumented: every reason that is declared stands in the documentation.
func TestReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "health.md"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			reason, _ := strconv.Unquote(lit.Value)
			n++
			if !strings.Contains(string(text), "| `"+reason+"` |") {
				t.Errorf("docs/health.md does not explain %s", reason)
			}
		}
		return true
	})
	if n < 20 {
		t.Errorf("only %d reasons found", n)
	}
}

// TestProbeReasonsAreDocumented: every reason of the tables of the http probe stands on its page.
func TestProbeReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "detectors", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := []string{
		"ok", "no_first_byte", "answer_timeout", "no_connection", "dns_timeout", "body_timeout", "body_broken",
		"condition_failed", "condition_unanswered", "body_too_large", "credential_unresolved", "probe_stuck", "probe_panicked",
	}
	for _, r := range statusRules {
		reasons = append(reasons, r.reason)
	}
	for _, r := range errorRules {
		reasons = append(reasons, r.reason)
	}
	for _, r := range reasons {
		if !strings.Contains(string(text), "`"+r+"`") {
			t.Errorf("docs/detectors/http.md does not explain %s", r)
		}
	}
}
