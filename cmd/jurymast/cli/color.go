package cli

import (
	"strings"
)

// tint is a colour by what it means. The word it colours says the same, so nothing is lost without it.
type tint int

const (
	tintNone tint = iota
	tintGood
	tintDoubt
	tintBad
	tintFaint
	tintBold
)

// painter colours, or doesn't.
type painter struct{ on bool }

// newPainter decides by flag, then by the environment, then by whether the stream is a terminal.
func newPainter(flag string, getenv func(string) string, stream any) (painter, error) {
	switch flag {
	case "always":
		return painter{on: true}, nil
	case "never":
		return painter{}, nil
	case "auto":
		return painter{on: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && isTerminal(stream)}, nil
	default:
		return painter{}, usage("--color is %q, want auto, always or never", flag)
	}
}

func (p painter) as(t tint, text string) string {
	if !p.on || t == tintNone || text == "" {
		return text
	}
	code := map[tint]string{tintGood: "32", tintDoubt: "33", tintBad: "31", tintFaint: "2", tintBold: "1"}[t]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// tintState colours the words for states: phase, health, run, step, delivery, trigger.
func tintState(word string) tint {
	switch first, _, _ := strings.Cut(word, " "); first {
	case "NORMAL", "HEALTHY", "SUCCEEDED", "DELIVERED", "SETTLED", "CREATED", "UPDATED", "on":
		return tintGood
	case "FAILING", "FAILED", "QUEUEING", "BLOCKED", "DEAD", "OUTCOME_UNKNOWN", "off":
		return tintBad
	case "DEGRADED", "FAILED_OVER", "FAILING_BACK", "SUSPECT", "RECOVERING", "UNKNOWN", "WAITING", "RUNNING",
		"COMPENSATING", "RETRYING", "PENDING", "MAINTENANCE":
		return tintDoubt
	case "CANCELED", "SUPERSEDED", "SKIPPED", "COMPENSATED", "CLEARED", "UNCHANGED":
		return tintFaint
	default:
		return tintNone
	}
}
