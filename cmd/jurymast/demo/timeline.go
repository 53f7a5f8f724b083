package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// timeline prints what happens as it happens: seconds since the begin, who speaks, what.
type timeline struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
	begin time.Time
}

// Colours of the speakers, by the 16 colours every terminal has. State is always said by a word too.
var colours = map[string]string{
	">>>": "\x1b[1;35m", "health": "\x1b[33m", "run": "\x1b[36m", "route": "\x1b[32m", "notify": "\x1b[34m", "app": "\x1b[37m", "chat": "\x1b[1m",
}

// say prints one line. who is at most six characters.
func (t *timeline) say(who, format string, args ...any) {
	t.at(time.Now(), who, format, args...)
}

// at prints one line for something that happened at a certain time.
func (t *timeline) at(when time.Time, who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	line := fmt.Sprintf("%5.1fs  %-7s %s", max(0, when.Sub(t.begin).Seconds()), who, text)
	if c, ok := colours[who]; ok && t.color {
		line = c + line + "\x1b[0m"
	}
	fmt.Fprintln(t.out, line)
}

// plain prints a line without time.
func (t *timeline) plain(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

// word is an enum's value as people read it.
func word(s fmt.Stringer, prefix string) string { return strings.TrimPrefix(s.String(), prefix) }
