package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errNotRunning says that a process that was to be signalled has ended, or was never started.
var errNotRunning = errors.New("the process does not run")

// Process is a program that is started again and again with the same arguments. Its methods are safe for concurrent use.
type Process struct {
	// Name of the process, as in its log's file.
	Name string

	path string
	args []string
	log  string // file; every life appends

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// begin starts the program; out gets its standard output as well, if not nil.
func (p *Process) begin(out io.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("start %s: it runs already", p.Name)
	}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.CommandContext(context.Background(), p.path, p.args...) // it ends when the campaign says so
	cmd.Stdout, cmd.Stderr = file, file
	if out != nil {
		cmd.Stdout = io.MultiWriter(file, out)
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), file.Close())
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // how it ended is the campaign's to judge
		_ = file.Close()
		p.mu.Lock()
		p.cmd = nil
		p.mu.Unlock()
		close(ended)
	}()
	return nil
}

// PID is the process id, 0 when it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("signal %s: %w", p.Name, errNotRunning)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process as the kernel would, without a chance to say anything, and waits for its end.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL, 10*time.Second) }

// Abort ends the process as its own runtime does when it can't go on, e.g. when memory runs out.
func (p *Process) Abort() error { return p.end(syscall.SIGABRT, 20*time.Second) }

// Stop asks the process to end in good order and waits for its end, at most for a time; then it is killed and the error
// says so.
func (p *Process) Stop(within time.Duration) error {
	err := p.end(syscall.SIGTERM, within)
	if errors.Is(err, errSlow) {
		return errors.Join(err, p.Kill())
	}
	return err
}

// errSlow says that a process did not end in time.
var errSlow = errors.New("it did not end in time")

func (p *Process) end(s os.Signal, within time.Duration) error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if err := p.Signal(s); err != nil {
		return err
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-t.C:
		return fmt.Errorf("end %s with %v: %w", p.Name, s, errSlow)
	}
}

// Pause stops the process in the middle of whatever it does; its connections stay.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Continue lets a paused process go on.
func (p *Process) Continue() error { return p.Signal(syscall.SIGCONT) }

// Running tells whether it runs, paused or not.
func (p *Process) Running() bool { return p.PID() != 0 }

// Ended is closed when the present life has ended; nil before the first.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Tail returns the last lines of the log, for messages.
func (p *Process) Tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
