package expr

import (
	"errors"
	"strings"
	"sync"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

var facts = Facts{
	Phase:     jv1.Phase_PHASE_FAILED_OVER,
	Service:   "chat",
	Provider:  "openai",
	Active:    "azure-eu",
	Preferred: "openai",
	Queueing:  true,
	Health: map[string]jv1.HealthState{
		"openai":   jv1.HealthState_HEALTH_STATE_FAILING,
		"azure-eu": jv1.HealthState_HEALTH_STATE_HEALTHY,
		"vllm":     jv1.HealthState_HEALTH_STATE_UNSPECIFIED,
	},
	Params: map[string]string{"region": "eu", "count": "3", "ratio": "0.5", "loud": "true", "pause": "90s", "broken": "x"},
	Steps: map[string]StepFacts{
		"switch":   {Failed: true, Output: map[string]string{"provider": "vllm", "sent": "12"}},
		"notify_1": {Succeeded: true},
	},
}

var scope = Scope{
	Steps: []Step{
		{ID: "switch", Outputs: map[string]Type{"provider": String, "sent": Int, "from": String}},
		{ID: "notify_1"},
		{ID: "for"},
		{ID: "later"},
	},
	Params: map[string]Type{
		"region": String, "other": String, "count": Int, "ratio": Double, "loud": Bool, "pause": Duration, "broken": Int, "in": Bool,
	},
}

func TestConditionsHold(t *testing.T) {
	for src, want := range map[string]bool{
		`true`:                                                        true,
		`phase == "FAILED_OVER"`:                                      true,
		`phase in ["NORMAL", "QUEUEING"]`:                             false,
		`"NORMAL" != phase`:                                           true,
		`service == "chat" && queueing`:                               true,
		`active != preferred`:                                         true,
		`provider == preferred`:                                       true,
		`health.openai == "FAILING"`:                                  true,
		`health["azure-eu"] == "HEALTHY"`:                             true,
		`health[active] == "HEALTHY"`:                                 true,
		`health["vllm"] == "UNKNOWN"`:                                 true,
		`health.all(p, health[p] != "BLOCKED")`:                       true,
		`params.region == "eu"`:                                       true,
		`has(params.other)`:                                           false,
		`has(params.count)`:                                           true,
		`params.count > 2 && params.count == 3`:                       true,
		`params["count"] + 1 == 4`:                                    true,
		`params.ratio < 1.0 && params.loud`:                           true,
		`params.pause > duration("1m")`:                               true,
		`params.exists(k, params[k] == "90s")`:                        true,
		`has(params.broken) || params["in"]`:                          true,
		`steps.switch.output.sent >= 12`:                              true,
		`steps.switch.output["sent"] == 12`:                           true,
		`has(steps.switch.output.from)`:                               false,
		`[steps.switch, steps.later].exists(s, s.output.size() == 2)`: true,
		`has(steps.later)`:                                            false,
		`has(steps.switch)`:                                           true,
		`has(steps.switch.output.provider)`:                           true,
		`steps.switch.failed`:                                         true,
		`steps.switch.succeeded`:                                      false,
		`steps.notify_1.succeeded`:                                    true,
		`steps.later.succeeded || steps.later.failed || steps.later.skipped`: false,
		`steps.for.failed`:                          false,
		`steps.switch.output["provider"] == "vllm"`: true,
		`steps.later.output.size() == 0`:            true,
		`steps == steps`:                            true,
		`steps.switch == steps.notify_1`:            false,
		`type(steps) == type(steps.switch)`:         false,
		`[steps.switch].exists(s, s.failed)`:        true,
		"phase == \"FAILED_OVER\" &&\n  queueing":   true,
	} {
		c, err := Compile(src, scope)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := c.Eval(facts)
		if err != nil || got != want {
			t.Errorf("%s = %v, %v, want %v", src, got, err, want)
		}
		if c.String() != src {
			t.Errorf("String() = %q, want the source %q", c.String(), src)
		}
	}
}

func TestConditionsAreRefusedWithTheirPlace(t *testing.T) {
	for src, want := range map[string]string{
		``:                                        `1:1: the expression is empty`,
		"  \n ":                                   `1:1: the expression is empty`,
		`steps.nope.failed`:                       `1:6: unknown step "nope", there are: switch, notify_1, for, later`,
		`steps.swich.failed`:                      `1:6: unknown step "swich", did you mean "switch"?`,
		`steps.switch.faild`:                      `1:13: a step has no "faild", did you mean "failed"?`,
		`has(steps.nope)`:                         `1:4: unknown step "nope", there are: switch, notify_1, for, later`,
		`steps["switch"].failed`:                  `1:6: a step is named as in steps.switch.failed, not by an index`,
		`queueing && phse == "NORMAL"`:            `1:13: unknown variable "phse", did you mean "phase"?`,
		"queueing &&\n  nothing":                  `2:3: unknown variable "nothing", there are: phase, service, provider, active, preferred, queueing, health, params, steps`,
		`env("HOME") == ""`:                       `1:4: unknown function "env"`,
		`phase == "failed_over"`:                  `1:10: unknown phase "failed_over", did you mean "FAILED_OVER"?`,
		`phase in ["NORMAL", "BAD!"]`:             `1:21: unknown phase "BAD!", there are: DEGRADED, FAILED_OVER, FAILING_BACK, NORMAL, QUEUEING`,
		`"HEALTHY" == phase`:                      `1:1: unknown phase "HEALTHY", there are: DEGRADED, FAILED_OVER, FAILING_BACK, NORMAL, QUEUEING`,
		`health.openai == "HEALTY"`:               `1:18: unknown health "HEALTY", did you mean "HEALTHY"?`,
		`health.exists(p, health[p] == "failin")`: `1:31: unknown health "failin", did you mean "FAILING"?`,
		`params.all(phase, phase != "x")`: `1:11: the loop variable "phase" hides the variable of that name: call it otherwise; ` +
			`1:28: unknown phase "x", there are: DEGRADED, FAILED_OVER, FAILING_BACK, NORMAL, QUEUEING`,
		`1 + 1`:                            `1:1: the expression must say true or false, this one gives a number`,
		`phase`:                            `1:1: the expression must say true or false, this one gives a string`,
		`health`:                           `1:1: the expression must say true or false, this one gives a map`,
		`[1]`:                              `1:1: the expression must say true or false, this one gives a list`,
		`steps.switch`:                     `1:1: the expression must say true or false, this one gives a step`,
		`dyn(true)`:                        `1:1: the expression must say true or false, this one gives a value of a type that is not known before it runs`,
		`phase ==`:                         `1:9: syntax error: mismatched input '<EOF>'`,
		`phase == 1`:                       `1:7: found no matching overload for '_==_' applied to '(string, int)'`,
		`active.matches("(")`:              `1:16: invalid matches argument`,
		`a step{failed: true}`:             `1:3: syntax error: mismatched input 'step' expecting <EOF>`,
		strings.Repeat(" ", 2000) + "true": `1:1: the expression is longer than 2000 characters`,
	} {
		c, err := Compile(src, scope)
		if err == nil {
			t.Errorf("%s: compiled to %v, want %s", src, c, want)
			continue
		}
		compileError, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: %T is no *Error", src, err)
			continue
		}
		if got := compileError.Error(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", src, got, want)
		}
	}
}

func TestNoStepBefore(t *testing.T) {
	_, err := Compile(`steps.switch.failed`, Scope{})
	if want := `1:6: unknown step "switch": there is no step before this one`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFewProblemsAreTold(t *testing.T) {
	_, err := Compile(strings.TrimSuffix(strings.Repeat("nothing || ", 100), "|| "), scope)
	compileError, ok := errors.AsType[*Error](err)
	if !ok || len(compileError.Problems) != mostProblems {
		t.Errorf("got %v, want %d problems", err, mostProblems)
	}
}

func TestFactsThatDoNotAnswer(t *testing.T) {
	for _, src := range []string{
		`params.other == "x"`, `health.nope == "HEALTHY"`, `steps.switch.output.from == "x"`, `params[active] == "x"`,
	} {
		c, err := Compile(src, scope)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		got, err := c.Eval(facts)
		if err == nil || got || !strings.Contains(err.Error(), "no such key") {
			t.Errorf("%s = %v, %v, want an error about the missing key", src, got, err)
		}
		if _, err := c.Eval(Facts{}); err == nil {
			t.Errorf("%s: the zero facts answer it", src)
		}
	}
}

// TestHostileExpressionsAreBounded holds up what a stored runbook could do to every replica that evaluates it.
func TestHostileExpressionsAreBounded(t *testing.T) {
	many := Facts{Params: map[string]string{}, Health: map[string]jv1.HealthState{}}
	long := strings.Repeat("a", 1000)
	for i := range 32 {
		many.Params[strings.Repeat("k", i+1)] = long
		many.Health[strings.Repeat("p", i+1)] = jv1.HealthState_HEALTH_STATE_HEALTHY
	}
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + "]"
	for name, src := range map[string]string{
		"three loops": list + `.all(a, ` + list + `.all(b, ` + list + `.all(c, a + b + c > 0)))`,
		"regexes":     list + `.all(a, ` + list + `.all(b, params.all(k, params[k].matches("(a*)*b") == false)))`,
		"comparisons": list + `.all(a, ` + list + `.all(b, params.all(k, params[k] + params[k] != "")))`,
	} {
		c, err := Compile(src, Scope{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := c.Eval(many); !errors.Is(err, ErrTooExpensive) {
			t.Errorf("%s: %v, %v, want ErrTooExpensive", name, got, err)
		}
	}
	for name, src := range map[string]string{
		"four loops": `params.all(a, params.all(b, params.all(c, params.all(d, a != b))))`,
		"deep":       strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500),
		"regex":      `active.matches("((a{100}){100}){10}")`,
	} {
		if c, err := Compile(src, Scope{}); err == nil {
			t.Errorf("%s: %v compiled", name, c)
		}
	}
}

func TestReadsAndKeys(t *testing.T) {
	c, err := Compile(`steps.switch.failed && params["region"] == "eu" && health[active] == "HEALTHY" && health.vllm != "UNKNOWN" && params.region != "" && steps.later.output == {}`, scope)
	if err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]bool{
		"steps": true, "params": true, "health": true, "active": true, "phase": false, "queueing": false, "preferred": false,
	} {
		if got := c.Reads(variable); got != want {
			t.Errorf("Reads(%q) = %v", variable, got)
		}
	}
	for variable, want := range map[string]string{
		"steps": "later,switch", "params": "region", "health": "vllm", "phase": "",
	} {
		if got := strings.Join(c.Keys(variable), ","); got != want {
			t.Errorf("Keys(%q) = %q, want %q", variable, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c, err := Compile(`steps.switch.failed && health.exists(p, health[p] == "HEALTHY")`, scope)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				f := Facts{Steps: map[string]StepFacts{"switch": {Failed: i%2 == 0}}, Health: facts.Health}
				if got, err := c.Eval(f); err != nil || got != (i%2 == 0) {
					t.Errorf("%d: %v, %v", i, got, err)
				}
				if _, err := Compile(`steps.switch.failed`, scope); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNames(t *testing.T) {
	if got := PhaseName(jv1.Phase_PHASE_UNSPECIFIED); got != "" {
		t.Errorf("no phase is %q", got)
	}
	if got := PhaseName(jv1.Phase_PHASE_FAILING_BACK); got != "FAILING_BACK" {
		t.Errorf("FAILING_BACK is %q", got)
	}
	if got := HealthName(jv1.HealthState_HEALTH_STATE_BLOCKED); got != "BLOCKED" {
		t.Errorf("BLOCKED is %q", got)
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(`steps.switch.failed && phase == "NORMAL"`, scope); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	c, err := Compile(`steps.switch.failed && phase == "FAILED_OVER"`, scope)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := c.Eval(facts); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
