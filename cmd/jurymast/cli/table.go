package cli

import (
	"strings"
	"unicode/utf8"
)

// screen is how wide a table may be, unless all of it was asked for.
const screen = 80

// column is one column of a table.
type column struct {
	// title, in upper case, without blanks.
	title string
	// wide: shown only with `-o wide`.
	wide bool
	// elastic: cut when the table is wider than a screen. At most one column is.
	elastic bool
	// right: its values are numbers.
	right bool
	// tint colours a value; nil: it is left plain.
	tint func(value string) tint
}

// table is rows under titles. Colours are the reason that it is not text/tabwriter's: that counts them as letters.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// show prints the table, or what stands for an empty one as a message.
func (a *App) showTable(t *table, empty string) error {
	if len(t.rows) == 0 {
		a.say("%s", empty)
		return nil
	}
	return a.print([]byte(t.render(a.out == outputWide, a.paint)))
}

const gap = "  "

// render lays the table out: names first, no line longer than a screen unless wide.
func (t *table) render(wide bool, paint painter) string {
	var shown []int
	for i, c := range t.columns {
		if wide || !c.wide {
			shown = append(shown, i)
		}
	}
	widths := make([]int, len(t.columns))
	total, elastic := 0, -1
	for _, i := range shown {
		widths[i] = utf8.RuneCountInString(t.columns[i].title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(oneLine(r[i])))
		}
		total += widths[i] + len(gap)
		if t.columns[i].elastic {
			elastic = i
		}
	}
	total -= len(gap)
	if !wide && elastic >= 0 && total > screen {
		widths[elastic] = max(widths[elastic]-(total-screen), utf8.RuneCountInString(t.columns[elastic].title), 8)
	}
	var b strings.Builder
	line := func(cell func(i int) string, tinted bool) {
		var l strings.Builder
		for n, i := range shown {
			text := shorten(oneLine(cell(i)), widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if n == len(shown)-1 && !t.columns[i].right {
				pad = ""
			}
			color := tintNone
			if tinted && t.columns[i].tint != nil {
				color = t.columns[i].tint(text)
			}
			if t.columns[i].right {
				l.WriteString(pad + paint.as(color, text))
			} else {
				l.WriteString(paint.as(color, text) + pad)
			}
			if n < len(shown)-1 {
				l.WriteString(gap)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(func(i int) string { return t.columns[i].title }, false)
	for _, r := range t.rows {
		line(func(i int) string { return r[i] }, true)
	}
	return b.String()
}

// shorten cuts a text to a number of letters and says so by an ellipsis.
func shorten(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	r := []rune(text)
	return strings.TrimRight(string(r[:max(most-1, 0)]), " ") + "…"
}

// oneLine keeps a text that holds line breaks, tabs or control characters from breaking a table or a terminal.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)), " ")
}
