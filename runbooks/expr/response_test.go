package expr

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func response(t *testing.T, body string) Response {
	t.Helper()
	r := Response{
		Status:  200,
		Headers: map[string]string{"content-type": "application/json"},
		Latency: 1500 * time.Millisecond,
	}
	if err := json.Unmarshal([]byte(body), &r.JSON); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResponseConditions(t *testing.T) {
	r := response(t, `{"ok": true, "n": 2, "none": null, "data": [{"id": "gpt-4.1"}, {"id": "other"}]}`)
	for src, want := range map[string]bool{
		`json.ok`:                                true,
		`json.n == 2 && status == 200`:           true,
		`json.n < 2`:                             false,
		`json.n > 1.5`:                           true,
		`json.none == null`:                      true,
		`has(json.missing)`:                      false,
		`json.data.exists(m, m.id == "gpt-4.1")`: true,
		`size(json.data) == 2`:                   true,
		`json["data"][1]["id"] == "other"`:       true,
		`latency < duration("2s")`:               true,
		`latency < duration("1s")`:               false,
		`headers["content-type"].startsWith("application/json")`:    true,
		`status in [200, 204] && !("x-request-id" in headers)`:      true,
		`json.data.all(steps, steps.id != "" && steps.id != "gpt")`: true,
	} {
		c, err := CompileResponse(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := c.Eval(r); err != nil || got != want {
			t.Errorf("%s = %v, %v, want %v", src, got, err, want)
		}
		if c.String() != src {
			t.Errorf("String() = %q, want %q", c.String(), src)
		}
	}
}

func TestResponseConditionsAreRefused(t *testing.T) {
	for src, want := range map[string]string{
		`status`:                   `1:1: the expression must say true or false, this one gives a number`,
		`steps.switch.failed`:      `1:1: unknown variable "steps", there are: json, status, headers, latency`,
		`phase == "NORMAL"`:        `1:1: unknown variable "phase", there are: json, status, headers, latency`,
		`latency < "2s"`:           `1:9: found no matching overload for '_<_' applied to '(duration, string)'`,
		`latency < duration("2x")`: `1:20: invalid duration argument`,
	} {
		c, err := CompileResponse(src)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v, want %s", src, c, err, want)
		}
	}
}

func TestResponsesThatDoNotAnswer(t *testing.T) {
	r := response(t, `{"n": 2}`)
	for src, want := range map[string]string{
		`json.missing`:                  "no such key: missing",
		`json`:                          "the result is map, neither true nor false",
		`json.n`:                        "the result is double, neither true nor false",
		`json.n.x`:                      "no such key: x",
		`headers["x"] == ""`:            "no such key: x",
		`json.n == 2 && json.data[0].x`: "no such key: data",
	} {
		c, err := CompileResponse(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got, err := c.Eval(r); err == nil || got || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, %v, want an error with %q", src, got, err, want)
		}
	}
	c, err := CompileResponse(`json.ok`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Eval(Response{Status: 200}); err == nil || got {
		t.Errorf("a body that is no JSON gives %v, %v", got, err)
	}
	if c.Reads("headers") || !c.Reads("json") {
		t.Error("Reads is wrong")
	}
}

func TestLargeResponsesAreBounded(t *testing.T) {
	r := Response{JSON: strings.Repeat("a", 1<<20)}
	c, err := CompileResponse(`[1,2,3,4,5,6,7,8,9,10].all(x, [1,2,3,4,5,6,7,8,9,10].all(y, json.matches("(a|aa)*b") == false))`)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if got, err := c.Eval(r); !errors.Is(err, ErrTooExpensive) {
		t.Errorf("%v, %v, want ErrTooExpensive", got, err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}
