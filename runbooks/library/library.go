// Package library holds the runbooks we ship, as files that an operator copies and adapts.
//
// It promises that each parses, validates without a warning against a service `chat` with two providers and a channel
// `oncall`, and does what the plan beside it says. It never does I/O: the files are part of the program.
package library

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// ErrNotFound says that no runbook of a name is shipped.
var ErrNotFound = errors.New("no such runbook is shipped")

// Names lists the runbooks we ship, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // the root of embedded files can always be read
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Read returns the YAML of a runbook, ready for manifest.Parse. The error is ErrNotFound.
func Read(name string) ([]byte, error) {
	content, err := files.ReadFile(name + ".yaml")
	if err != nil || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%w: %q, there are: %s", ErrNotFound, name, strings.Join(Names(), ", "))
	}
	return content, nil
}
