package steps

import (
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/expr"
)

// verdict is what one exchange came to.
type verdict struct {
	text      string
	output    map[string]string
	err       error
	name      faultName     // of the error
	effect    bool          // it was carried out, whatever the error
	ambiguous bool          // it may have been carried out
	retry     bool          // trying again may help
	after     time.Duration // the receiver asked to wait
}

// judge says what an exchange came to.
func judge(spec *jv1.HttpRequestStep, a *answer, f *fault) verdict {
	if f != nil {
		// What never reached the receiver can be tried again, unless it was our own side that refused it.
		retry := f.sent || f.name == faultConnection || f.name == faultTLS || f.name == faultTimeout
		return verdict{err: f, name: f.name, ambiguous: f.sent, retry: retry}
	}
	if v, bad := judgeStatus(spec, a); bad {
		return v
	}
	if a.broken != nil {
		return verdict{err: a.broken, name: a.broken.name, ambiguous: true, retry: true}
	}
	if err := expected(spec.GetExpect(), a); err != nil {
		return verdict{err: fmt.Errorf("%s: answered %s: %w", faultExpectation, a.words(), err), name: faultExpectation}
	}
	output, err := takeOutputs(spec.GetOutputs(), a)
	if err != nil {
		return verdict{err: fmt.Errorf("carried out, but %w; answered %s", err, a.words()), name: faultOutput, effect: true}
	}
	return verdict{text: a.words(), output: output, effect: true}
}

// judgeStatus refuses a status that is not good.
func judgeStatus(spec *jv1.HttpRequestStep, a *answer) (v verdict, bad bool) {
	good := a.status >= 200 && a.status < 300
	if want := spec.GetExpectStatus(); len(want) > 0 {
		good = slices.Contains(want, int32(a.status))
	}
	if good {
		return v, false
	}
	v = verdict{
		err: fmt.Errorf("answered %s", a.words()), name: faultStatus,
		retry: a.status >= 500 || a.status == http.StatusTooManyRequests,
		// A gateway's or server's error says nothing about what happened behind it; 503 and 429 refuse the work.
		ambiguous: a.status >= 500 && a.status != http.StatusServiceUnavailable,
		after:     retryAfter(a.header.Get("Retry-After")),
	}
	if to := a.header.Get("Location"); a.status >= 300 && a.status < 400 && to != "" {
		v.name = faultRedirect
		v.err = fmt.Errorf("answered %d and points to %s: redirects are not followed", a.status, shorten(hide(to, a.secret), 200))
	}
	return v, true
}

// expected evaluates the condition on an answer. No condition holds always.
func expected(src string, a *answer) error {
	if src == "" {
		return nil
	}
	ok, err := holds(src, a)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("condition %q does not hold", src)
	}
	return nil
}

func holds(src string, a *answer) (bool, error) {
	cond, err := expr.CompileResponse(src)
	if err != nil {
		return false, fmt.Errorf("condition %q: %w", src, err)
	}
	ok, err := cond.Eval(a.facts())
	if err != nil {
		return false, fmt.Errorf("condition %q: %w", src, err)
	}
	return ok, nil
}

// takeOutputs evaluates what the step takes out of an answer. What can't be kept whole is refused: half an id is another
// id.
func takeOutputs(outputs map[string]string, a *answer) (map[string]string, error) {
	kept := map[string]string{}
	size := len(runbooks.ResultOutput)
	facts := a.facts()
	for name, src := range outputs {
		value, err := expr.CompileValue(src)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		text, err := value.Eval(facts)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if n := utf8.RuneCountInString(text); n > runbooks.MaxValue {
			return nil, fmt.Errorf("output %s has %d characters, at most %d can be kept", name, n, runbooks.MaxValue)
		}
		kept[name] = shorten(text, len(text))
		size += len(name) + len(kept[name])
	}
	room := runbooks.MaxOutput - size
	if room < 0 {
		return nil, fmt.Errorf("the outputs have %d bytes, at most %d can be kept", size, runbooks.MaxOutput)
	}
	kept[runbooks.ResultOutput] = shorten(a.words(), min(maxKept, max(0, room-len("…"))))
	return kept, nil
}

// retryAfter reads the header's seconds (RFC 9110, section 10.2.3), at most an hour. Dates are not read: they compare
// two clocks.
func retryAfter(h string) time.Duration {
	d, err := time.ParseDuration(h + "s")
	if err != nil || d < 0 {
		return 0
	}
	return min(d, time.Hour)
}
