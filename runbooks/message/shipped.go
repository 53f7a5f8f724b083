package message

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

//go:embed templates/*.tmpl
var files embed.FS

// shippedMessages is what we ship, in the order in which an outage needs it. Approvals and failed runs open a thread
// even though there may be one already: a human is needed, and a channel that pages has to page.
var shippedMessages = []struct {
	name     string
	severity jv1.Severity
	kind     jv1.NotificationKind
}{
	{"outage-detected", jv1.Severity_SEVERITY_ERROR, jv1.NotificationKind_NOTIFICATION_KIND_OPEN},
	{"outage-handled", jv1.Severity_SEVERITY_WARNING, jv1.NotificationKind_NOTIFICATION_KIND_UPDATE},
	{"queueing-on", jv1.Severity_SEVERITY_CRITICAL, jv1.NotificationKind_NOTIFICATION_KIND_UPDATE},
	{"restored", jv1.Severity_SEVERITY_INFO, jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE},
	{"approval-needed", jv1.Severity_SEVERITY_WARNING, jv1.NotificationKind_NOTIFICATION_KIND_OPEN},
	{"run-failed", jv1.Severity_SEVERITY_ERROR, jv1.NotificationKind_NOTIFICATION_KIND_OPEN},
}

// Names lists the messages we ship.
func Names() []string {
	names := make([]string, len(shippedMessages))
	for i, m := range shippedMessages {
		names[i] = m.name
	}
	return names
}

// Shipped returns a message we ship.
func Shipped(name string) (*Template, bool) {
	t, ok := shipped()[name]
	return t, ok
}

// shipped parses the embedded files once. They are part of the program: what is wrong with one is wrong with the build,
// and a test finds it.
var shipped = sync.OnceValue(func() map[string]*Template {
	templates := make(map[string]*Template, len(shippedMessages))
	for _, m := range shippedMessages {
		t, err := readShipped(m.name)
		if err != nil {
			panic(fmt.Sprintf("the shipped message %s: %v", m.name, err))
		}
		t.severity, t.kind = m.severity, m.kind
		templates[m.name] = t
	}
	return templates
})

// readShipped parses a file: its first line is the title, the text follows after an empty line.
func readShipped(name string) (*Template, error) {
	content, err := files.ReadFile("templates/" + name + ".tmpl")
	if err != nil {
		return nil, err
	}
	title, text, found := strings.Cut(string(content), "\n\n")
	if !found || strings.Contains(title, "\n") {
		return nil, fmt.Errorf("one line of title and an empty one have to come before the text")
	}
	return Parse(title, text)
}

// Functions lists the names of the functions that templates may call beside Go's own.
func Functions() []string { return slices.Clone(functionNames()) }
