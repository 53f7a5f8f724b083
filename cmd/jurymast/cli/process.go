package cli

import (
	"io"
	"os"
	"time"
)

// Process is what the surroundings give to the program.
type Process struct {
	// Args are the arguments, without the program's name.
	Args []string
	// Stdin is read by `-f -` and by confirmations.
	Stdin io.Reader
	// Stdout takes data.
	Stdout io.Writer
	// Stderr takes messages.
	Stderr io.Writer
	// Getenv looks an environment variable up; empty when it is not set.
	Getenv func(string) string
	// Now is the clock that ages are counted by.
	Now func() time.Time
	// Version of this program.
	Version string
}

// OperatingSystem returns the surroundings of the running process, for a program of the given version.
func OperatingSystem(version string) Process {
	return Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Version: version,
	}
}

// isTerminal tells whether a stream is a terminal, which colours and live lines are for.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
