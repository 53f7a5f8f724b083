// Package clitest holds commands for the scripts that test the command line.
//
// It promises that whatever a script waits for is waited for with a deadline. It is never used outside tests.
package clitest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	longest  = 30 * time.Second
	interval = 10 * time.Millisecond
)

// ExitStatus runs a program and wants an exit status: `rc 4 jurymast switch ...`. What it writes can be looked at as
// after `exec`.
func ExitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rc STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// Until waits until a file has a text that matches: `until PATTERN FILE`.
func Until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until PATTERN FILE")
	}
	Wait(ts, args[0], func() string {
		b, err := os.ReadFile(ts.MkAbs(args[1]))
		if err != nil {
			return ""
		}
		return string(b)
	})
}

// Eventually runs a program until its standard output matches: `eventually PATTERN COMMAND...`.
func Eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN COMMAND...")
	}
	Wait(ts, args[0], func() string {
		err := ts.Exec(args[1], args[2:]...)
		text := ts.ReadFile("stdout")
		if err != nil && text == "" {
			return err.Error()
		}
		return text
	})
}

// Wait looks again and again until the text matches the pattern, in which ^ and $ are those of a line.
func Wait(ts *testscript.TestScript, pattern string, look func() string) {
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	for deadline := time.Now().Add(longest); ; {
		text := look()
		if re.MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never came true: %s\nlast:\n%s", pattern, text)
		}
		time.Sleep(interval)
	}
}
