package demo

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// daemon is the real server, a child process with its data in a directory of its own.
type daemon struct {
	command func(args ...string) *exec.Cmd
	dir     string
	grpc    string
	http    string
	log     *tail

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the present child has ended
}

// newDaemon chooses ports once, so that a restarted server is found where it was.
func newDaemon(command func(args ...string) *exec.Cmd, dir string) (*daemon, error) {
	d := &daemon{command: command, dir: dir, log: &tail{}}
	var first, second net.Listener
	var err error
	if first, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	defer first.Close()
	// The first stays open meanwhile, or both could be given the same port.
	if second, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	defer second.Close()
	d.grpc, d.http = first.Addr().String(), second.Addr().String()
	return d, nil
}

// start begins the server and waits until it serves.
func (d *daemon) start(ctx context.Context) error {
	cmd := d.command("--data-dir", filepath.Join(d.dir, "data"), "--grpc-listen", d.grpc, "--http-listen", d.http, "--log-level", "info")
	cmd.Stdout, cmd.Stderr = d.log, d.log
	// The child must not outlive us, and a Ctrl-C in the terminal is ours to handle.
	cmd.SysProcAttr = childAttributes()
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// The child is tied to the life of the thread that made it.
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	d.mu.Lock()
	d.cmd, d.done = cmd, done
	d.mu.Unlock()
	return d.serving(ctx, done)
}

func (d *daemon) serving(ctx context.Context, done <-chan struct{}) error {
	conn, err := grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(fastReconnect))
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	defer conn.Close()
	health := grpc_health_v1.NewHealthClient(conn)
	for {
		call, cancel := context.WithTimeout(ctx, time.Second)
		res, err := health.Check(call, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil && res.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server did not come to serve: %w; its log ends with:\n%s", ctx.Err(), d.log)
		case <-done:
			return fmt.Errorf("the server ended by itself; its log ends with:\n%s", d.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends the server as a power cut would.
func (d *daemon) kill() error {
	d.mu.Lock()
	cmd, done := d.cmd, d.done
	d.cmd = nil
	d.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-done
	return nil
}

// stop ends the server in order, and by force when it takes too long.
func (d *daemon) stop() {
	d.mu.Lock()
	cmd, done := d.cmd, d.done
	d.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = d.kill()
	}
}

// pid of the server; 0 when it is down.
func (d *daemon) pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

// self runs this very program as the server.
func self(args ...string) *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	return exec.CommandContext(context.Background(), path, append([]string{"daemon"}, args...)...)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailSize; n > 0 {
		t.buf = bytes.Clone(t.buf[n:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
