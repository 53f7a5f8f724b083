package calendar

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says what is wrong with a cron text.
type Error struct {
	// Column in the text, from 1.
	Column int
	// Message says what is wrong there.
	Message string
}

// Error gives place and message, as those of expressions do.
func (e *Error) Error() string { return fmt.Sprintf("1:%d: %s", e.Column, e.Message) }

// fields are the times that a cron text names, as sets of bits.
type fields struct {
	minute, hour, day, month, weekday uint64
	// either: a day needs to be in only one of day and weekday, as both were restricted.
	either bool
}

// field is one of the five.
type field struct {
	name     string
	min, max int
	words    []string // of the values from min
}

// layout are the fields in their order. Sunday is 0 and 7.
func layout() []field {
	return []field{
		{name: "minute", max: 59},
		{name: "hour", max: 23},
		{name: "day of month", min: 1, max: 31},
		{name: "month", min: 1, max: 12, words: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
		{name: "day of week", max: 7, words: strings.Fields("sun mon tue wed thu fri sat")},
	}
}

// shorthands are the words that stand for five fields.
var shorthands = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

// maxText bounds a cron text, in bytes; the API allows no more either.
const maxText = 200

// parse reads five cron fields, or a word that stands for them. Errors are *Error.
//
// What other crons take and each means differently is refused rather than guessed at: seconds and years, a zone within
// the text, `?`, `L`, `W`, `#`, ranges that run backwards, steps without a range.
func parse(text string) (fields, error) {
	if len(text) > maxText {
		return fields{}, &Error{1, fmt.Sprintf("has %d bytes, at most %d are allowed", len(text), maxText)}
	}
	words, columns := split(text)
	if len(words) == 0 {
		return fields{}, &Error{1, "must be five fields: minute, hour, day of month, month, day of week"}
	}
	if upper := strings.ToUpper(words[0]); strings.HasPrefix(upper, "TZ=") || strings.HasPrefix(upper, "CRON_TZ=") {
		return fields{}, &Error{columns[0], "the zone is not part of the times: give time_zone"}
	}
	if strings.HasPrefix(words[0], "@") {
		long, ok := shorthands[strings.ToLower(words[0])]
		if !ok || len(words) > 1 {
			return fields{}, &Error{columns[0], "must be one of @hourly, @daily, @weekly, @monthly, @yearly, or five fields"}
		}
		words, columns = split(long)
	}
	if len(words) != 5 {
		problem := fmt.Sprintf("has %d fields, want five: minute, hour, day of month, month, day of week", len(words))
		if len(words) == 6 {
			problem += "; there are no seconds and no years"
		}
		return fields{}, &Error{columns[min(len(words)-1, 5)], problem}
	}
	var sets [5]uint64
	for i, f := range layout() {
		set, err := f.parse(words[i], columns[i])
		if err != nil {
			return fields{}, err
		}
		sets[i] = set
	}
	const saturday = 6
	sets[4] = (sets[4] | sets[4]>>(saturday+1)) & (1<<(saturday+1) - 1)
	return fields{
		minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4],
		either: !strings.HasPrefix(words[2], "*") && !strings.HasPrefix(words[4], "*"),
	}, nil
}

// split gives the words of a text and their columns, from 1.
func split(text string) (words []string, columns []int) {
	column, begin, word := 0, 0, ""
	flush := func() {
		if word != "" {
			words, columns = append(words, word), append(columns, begin)
		}
		word = ""
	}
	for _, r := range text {
		column++
		if r == ' ' || r == '\t' {
			flush()
			continue
		}
		if word == "" {
			begin = column
		}
		word += string(r)
	}
	flush()
	return words, columns
}

// parse reads a list such as `1,10-20/5,fri`.
func (f field) parse(word string, column int) (set uint64, err error) {
	for _, part := range strings.Split(word, ",") {
		bits, problem := f.part(part)
		if problem != "" {
			return 0, &Error{column, f.name + ": " + problem}
		}
		set |= bits
		column += len([]rune(part)) + 1
	}
	return set, nil
}

// part reads one entry of a list: `*`, a value, a range, with or without a step.
func (f field) part(part string) (set uint64, problem string) {
	span, stepText, stepped := strings.Cut(part, "/")
	from, to := f.min, f.max
	low, high, ranged := strings.Cut(span, "-")
	switch {
	case span == "*":
		if f.max == 7 {
			to = 6
		}
	case stepped && !ranged:
		return 0, fmt.Sprintf("%q: a step needs * or a range before it", part)
	default:
		if from, problem = f.value(low); problem != "" {
			return 0, problem
		}
		to = from
		if ranged {
			if to, problem = f.value(high); problem != "" {
				return 0, problem
			}
		}
	}
	if to < from && to == 0 && f.max == 7 {
		to = 7 // fri-sun
	}
	if to < from {
		return 0, fmt.Sprintf("%q runs backwards", span)
	}
	step := 1
	if stepped {
		n, ok := number(stepText)
		switch {
		case !ok || n == 0:
			return 0, fmt.Sprintf("%q: the step must be a number from 1", part)
		case n > to-from && n > 1:
			return 0, fmt.Sprintf("%q: the step is as long as the range, so it does not count", part)
		}
		step = n
	}
	for v := from; v <= to; v += step {
		set |= 1 << v
	}
	return set, ""
}

// value reads a number or a word.
func (f field) value(text string) (value int, problem string) {
	for i, word := range f.words {
		if strings.EqualFold(text, word) {
			return f.min + i, ""
		}
	}
	n, ok := number(text)
	if !ok {
		what := "a number"
		if len(f.words) > 0 {
			what += " or a word such as " + f.words[0]
		}
		return 0, fmt.Sprintf("%q is not %s", text, what)
	}
	if n < f.min || n > f.max {
		return 0, fmt.Sprintf("%d is not within %d-%d", n, f.min, f.max)
	}
	return n, ""
}

// number reads at most three digits; signs and spaces are none.
func number(text string) (int, bool) {
	if len(text) > 3 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
