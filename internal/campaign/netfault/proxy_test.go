package netfault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/netfault"
)

// echo is a server that says everything back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func listen(t *testing.T, o netfault.Options) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *netfault.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange says something and reads as much back within the time.
func exchange(c net.Conn, text string, within time.Duration) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	return hear(c, len(text), within)
}

func hear(c net.Conn, n int, within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	buf := make([]byte, n)
	got, err := io.ReadFull(c, buf)
	return string(buf[:got]), err
}

const (
	soon  = 10 * time.Second
	while = 150 * time.Millisecond
)

func TestForwardsUnchanged(t *testing.T) {
	p := listen(t, netfault.Options{Target: echo(t)})
	c := dial(t, p)
	for _, size := range []int{1, 1000, 300_000} {
		text := string(bytes.Repeat([]byte("abcdefghij"), size/10+1)[:size])
		done := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, text)
			done <- err
		}()
		if got, err := hear(c, size, soon); err != nil || got != text {
			t.Fatalf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// What a fault holds back arrives when it is lifted, on the same connection.
func TestHeldBackIsDeliveredLater(t *testing.T) {
	for _, kind := range []netfault.Kind{netfault.Hole, netfault.Deaf, netfault.Mute} {
		t.Run(kind.String(), func(t *testing.T) {
			p := listen(t, netfault.Options{Target: echo(t)})
			c := dial(t, p)
			if got, err := exchange(c, "one", soon); err != nil || got != "one" {
				t.Fatalf("%q, %v", got, err)
			}
			p.Set(netfault.Fault{Kind: kind})
			if got, err := exchange(c, "two", while); !errors.Is(err, os.ErrDeadlineExceeded) || got != "" {
				t.Errorf("through %v came %q, %v", kind, got, err)
			}
			fresh := dial(t, p)
			if got, err := exchange(fresh, "new", while); !errors.Is(err, os.ErrDeadlineExceeded) || got != "" {
				t.Errorf("through %v came %q, %v on a new connection", kind, got, err)
			}
			p.Lift()
			for conn, want := range map[net.Conn]string{c: "two", fresh: "new"} {
				if got, err := hear(conn, 3, soon); err != nil || got != want {
					t.Errorf("after %v was lifted: %q, %v, want %q", kind, got, err, want)
				}
			}
		})
	}
}

func TestDropAndReset(t *testing.T) {
	for _, kind := range []netfault.Kind{netfault.Drop, netfault.Reset} {
		t.Run(kind.String(), func(t *testing.T) {
			p := listen(t, netfault.Options{Target: echo(t)})
			old := dial(t, p)
			if _, err := exchange(old, "one", soon); err != nil {
				t.Fatal(err)
			}
			p.Set(netfault.Fault{Kind: kind})
			_, err := hear(old, 1, soon)
			if reset := errors.Is(err, syscall.ECONNRESET); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || reset != (kind == netfault.Reset) {
				t.Errorf("an old connection ends with %v", err)
			}
			if c, err := net.Dial("tcp", p.Addr()); err == nil {
				if got, err := hear(c, 1, soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a new connection lives: %q, %v", got, err)
				}
				_ = c.Close()
			}
			p.Lift()
			if got, err := exchange(dial(t, p), "two", soon); err != nil || got != "two" {
				t.Errorf("after it was lifted: %q, %v", got, err)
			}
		})
	}
}

func TestSlowTrickleAndCut(t *testing.T) {
	p := listen(t, netfault.Options{Target: echo(t)})
	timed := func(f netfault.Fault, text string) (time.Duration, string, error) {
		p.Set(f)
		c := dial(t, p)
		began := time.Now()
		got, err := exchange(c, text, soon)
		return time.Since(began), got, err
	}
	if took, got, err := timed(netfault.Fault{Kind: netfault.Slow, Delay: 100 * time.Millisecond}, "x"); err != nil || got != "x" || took < 200*time.Millisecond {
		t.Errorf("slow: %q, %v after %v", got, err, took)
	}
	text := string(bytes.Repeat([]byte("y"), 300))
	if took, got, err := timed(netfault.Fault{Kind: netfault.Trickle, Rate: 1000}, text); err != nil || got != text || took < 250*time.Millisecond {
		t.Errorf("trickle: %d bytes, %v after %v", len(got), err, took)
	}
	if _, got, err := timed(netfault.Fault{Kind: netfault.Cut, Bytes: 100}, text); err == nil || len(got) > 100 {
		t.Errorf("cut: %d bytes, %v", len(got), err)
	}
}

// A fault for one source leaves the others alone, and a lift for one source holds against a fault for all.
func TestFaultOfOneSource(t *testing.T) {
	names := make(chan string, 2)
	p := listen(t, netfault.Options{Target: echo(t), Source: func(net.Addr) string { return <-names }})
	conns := map[string]net.Conn{}
	for _, name := range []string{"a", "b"} {
		names <- name
		conns[name] = dial(t, p)
		if _, err := exchange(conns[name], "one", soon); err != nil {
			t.Fatal(err)
		}
	}
	says := func(name string) string {
		got, err := exchange(conns[name], ".", while)
		return fmt.Sprint(got, err == nil)
	}
	p.SetFor("a", netfault.Fault{Kind: netfault.Hole})
	if a, b := says("a"), says("b"); a != "false" || b != ".true" {
		t.Errorf("with a hole for a: a %s, b %s", a, b)
	}
	p.Lift()
	if got, err := hear(conns["a"], 1, soon); err != nil || got != "." {
		t.Errorf("what was held back: %q, %v", got, err)
	}
	p.Set(netfault.Fault{Kind: netfault.Hole})
	p.SetFor("b", netfault.Fault{})
	if a, b := says("a"), says("b"); a != "false" || b != ".true" {
		t.Errorf("with a hole for all but b: a %s, b %s", a, b)
	}
}

func TestTargetMoves(t *testing.T) {
	p := listen(t, netfault.Options{})
	if got, err := exchange(dial(t, p), "x", soon); err == nil {
		t.Errorf("without a target came %q", got)
	}
	p.SetTarget(echo(t))
	if got, err := exchange(dial(t, p), "x", soon); err != nil || got != "x" {
		t.Errorf("with one: %q, %v", got, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Error("a closed proxy accepts")
	}
}
