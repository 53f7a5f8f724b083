package expr

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzCondition holds Compile and Eval to their promises: no panic, an *Error with places inside the expression, and an
// end within the limits.
func FuzzCondition(f *testing.F) {
	for _, src := range []string{
		`steps.switch.failed`, `phase == "FAILED_OVER"`, `health.all(p, health[p] != "FAILING")`, `json.data.exists(m, m.id == "x")`,
		`[1,2].map(x, x * 2).filter(y, y > 2).size() == 1`, `params.region.matches("^e.$")`, "a\n&& b", `has(steps.nope)`,
		`latency < duration("1h")`, `timestamp("2026-01-01T00:00:00Z").getFullYear() == 2026`, `{"a": 1}.a == 1`, `b"x" == b"y"`,
		`steps == steps.switch`, `type(steps)`, `"\u00e9" + 'x' == ""`, `(((`, `1u - 2u == 3u`, `-9223372036854775808 / -1 > 0`,
		`params.count > 2 && has(params.other)`, `steps.switch.output["sent"] == 12`, `steps.nope.output.x`, `params["in"]`, `@params.count`,
		`json.a[4]`, `status * 2`, `duration("90s")`, `json`, `[json]`, `string(json.a)`, `has(steps.switch.output.from) ? "a" : "b"`,
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		started := time.Now()
		if c, err := Compile(src, scope); err == nil {
			_, _ = c.Eval(facts)
			_, _ = c.Eval(Facts{})
			_, _ = c.Reads("steps"), c.Keys("params")
		} else {
			checkPlaces(t, err)
		}
		if c, err := CompileResponse(src); err == nil {
			_, _ = c.Eval(Response{JSON: map[string]any{"a": []any{1.0, "x", nil, true}}, Status: 200})
			_, _ = c.Eval(Response{})
		} else {
			checkPlaces(t, err)
		}
		if v, err := CompileValue(src); err == nil {
			if text, err := v.Eval(Response{JSON: ParseJSON([]byte(`{"a": [1, "x", null, true, 12345678901234567890]}`)), Status: 200}); err == nil && !utf8.ValidString(text) {
				t.Errorf("%q is no text", text)
			}
			_, _ = v.Eval(Response{JSON: ParseJSON([]byte(src))})
		} else {
			checkPlaces(t, err)
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func checkPlaces(t *testing.T, err error) {
	t.Helper()
	compileError, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T is no *Error", err)
	}
	if len(compileError.Problems) == 0 {
		t.Error("an error without a problem")
	}
	for _, p := range compileError.Problems {
		if p.Line < 1 || p.Column < 1 || p.Message == "" {
			t.Errorf("a problem without a place or a message: %+v", p)
		}
	}
}
