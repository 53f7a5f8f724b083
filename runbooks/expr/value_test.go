package expr

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestValuesAreTakenOutAsText(t *testing.T) {
	r := Response{
		Status: 201, Latency: 1500 * time.Millisecond, Headers: map[string]string{"location": "/tickets/7"},
		JSON: ParseJSON([]byte(`{"id": 12345678901234567890, "small": 9007199254740993, "n": 3, "pi": 3.25, "tiny": 1e-9, "name": "é\"x",
			"ok": true, "none": null, "list": [1], "deep": {"a": {"b": "c"}}}`)),
	}
	for src, want := range map[string]string{
		`json.id`: "12345678901234567890", `json.small`: "9007199254740993", `json.n`: "3", `json.pi`: "3.25", `json.tiny`: "1e-09",
		`json.name`: `é"x`, `json.ok`: "true", `json.deep.a.b`: "c", `string(status) + "/" + json.name`: `201/é"x`,
		`status`: "201", `latency`: "1.5s", `headers["location"]`: "/tickets/7", `has(json.none) ? "yes" : "no"`: "yes",
		`timestamp("2026-03-14T09:26:53Z")`: "2026-03-14T09:26:53Z", `json.n * 2.0`: "6", `size(json.list)`: "1", `""`: "", `2u`: "2",
	} {
		v, err := CompileValue(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := v.Eval(r); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", src, got, err, want)
		}
	}
	for src, want := range map[string]string{
		`json.none`:    "the result is null_type, neither a text",
		`json.list`:    "the result is list, neither a text",
		`json.deep`:    "the result is map, neither a text",
		`json.missing`: "no such key: missing",
		`json.n.x`:     "no such key: x",
	} {
		v, err := CompileValue(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := v.Eval(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %q, %v, want an error with %q", src, got, err, want)
		}
	}
	for src, want := range map[string]string{
		`[1]`:         "1:1: the expression gives a list, neither a text",
		`headers`:     "1:1: the expression gives a map, neither a text",
		`null`:        "1:1: the expression gives null, neither a text",
		`jsn.id`:      `1:1: unknown variable "jsn", did you mean "json"?`,
		`json.id +`:   "1:10: syntax error",
		`status + ""`: "1:8: found no matching overload",
	} {
		_, err := CompileValue(src)
		if _, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}

func TestJSONIsTakenWhole(t *testing.T) {
	for body, want := range map[string]bool{
		`{"a":1}`: true, ` [1] ` + "\n": true, `{"a":1}{"b":2}`: false, `{"a":1} x`: false, `<html>`: false, ``: false,
		`{"a":`: false, `"x"`: true, strings.Repeat("[", 20000): false,
	} {
		if got := ParseJSON([]byte(body)) != nil; got != want {
			t.Errorf("%.20q is JSON: %v, want %v", body, got, want)
		}
	}
}

func TestTypesReadWhatTheyMust(t *testing.T) {
	for _, tc := range []struct {
		of   Type
		text string
		good bool
	}{
		{String, "", true},
		{Int, "-9223372036854775808", true},
		{Int, "9223372036854775808", false},
		{Int, "1.0", false},
		{Int, "0x10", false},
		{Int, "", false},
		{Int, " 1", false},
		{Int, "1_000", false},
		{Double, "1e3", true},
		{Double, "-0.5", true},
		{Double, "NaN", false},
		{Double, "Inf", false},
		{Double, "1e999", false},
		{Double, "eu", false},
		{Bool, "true", true},
		{Bool, "True", false},
		{Bool, "1", false},
		{Duration, "1h30m", true},
		{Duration, "-5s", true},
		{Duration, "90", false},
		{Duration, "2d", false},
	} {
		if _, err := tc.of.Parse(tc.text); (err == nil) != tc.good {
			t.Errorf("%v of %q: %v", tc.of, tc.text, err)
		}
	}
}
