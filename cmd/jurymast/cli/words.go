package cli

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// word is the value of an enum without the prefix that every value of its type has, e.g. FAILED_OVER; empty when it is
// not said.
func word(e protoreflect.Enum) string {
	d := e.Descriptor()
	v := d.Values().ByNumber(e.Number())
	if v == nil {
		return fmt.Sprint(e.Number())
	}
	if e.Number() == 0 {
		return ""
	}
	return strings.TrimPrefix(string(v.Name()), enumPrefix(d))
}

// enumPrefix is what the zero value of an enum has before UNSPECIFIED.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

// times is how moments are shown.
type times string

const (
	timesRelative times = "relative"
	timesUTC      times = "utc"
	timesLocal    times = "local"
)

func parseTimes(s string) (times, error) {
	switch t := times(s); t {
	case timesRelative, timesUTC, timesLocal:
		return t, nil
	default:
		return "", usage("--time is %q, want relative, utc or local", s)
	}
}

// moment shows when something was, in a table: how long ago, or the time itself.
func (a *App) moment(ts *timestamppb.Timestamp) string {
	if !ts.IsValid() {
		return "-"
	}
	switch times(a.flags.times) {
	case timesUTC:
		return ts.AsTime().UTC().Format("2006-01-02T15:04:05Z")
	case timesLocal:
		return ts.AsTime().Local().Format("2006-01-02T15:04:05-07:00")
	default:
		return age(a.Now().Sub(ts.AsTime()))
	}
}

// momentInFull shows when something was: the time and, unless only that was asked for, how long ago.
func (a *App) momentInFull(ts *timestamppb.Timestamp) string {
	if !ts.IsValid() {
		return "-"
	}
	t := ts.AsTime().UTC()
	switch times(a.flags.times) {
	case timesUTC:
		return t.Format(time.RFC3339)
	case timesLocal:
		return t.Local().Format(time.RFC3339)
	default:
		return fmt.Sprintf("%s (%s)", t.Format(time.RFC3339), a.ago(t))
	}
}

// ago shows how long ago a time was, or how far it is ahead.
func (a *App) ago(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	if d := a.Now().Sub(t); d >= -time.Second {
		return age(d) + " ago"
	}
	return "in " + age(t.Sub(a.Now()))
}

// age shows a duration with two units at most.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return units(d, time.Minute, "m", time.Second, "s")
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 8*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "m")
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func units(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d%s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf("%d%s", rest, smallName)
	}
	return text
}

// pairs shows a map in the order of its keys.
func pairs[V any](m map[string]V) string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s=%v", k, v))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

// dash stands for what is empty.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// onOff shows a switch.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// count shows a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lower is the word for a state as it stands in a sentence.
func lower(word string) string { return strings.ToLower(strings.ReplaceAll(word, "_", " ")) }
