package netfault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// dialTime is how long the target may take to accept; it lies on this machine.
const dialTime = 5 * time.Second

// Options say where a proxy stands.
type Options struct {
	// Listen is the address to listen on. Empty: a free port of 127.0.0.1.
	Listen string
	// Target is where connections are forwarded to, host:port; it may be set later, see SetTarget.
	Target string
	// Source names who dialled, for faults of one source. Nil: all are "".
	Source func(dialler net.Addr) string
}

// Proxy forwards connections. Its methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	source   func(net.Addr) string
	serving  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	target  string
	all     Fault
	single  map[string]Fault // by source; outweighs all
	links   map[*link]struct{}
	changed chan struct{} // closed when a fault is set
}

// link is one connection, with both its ends.
type link struct {
	source       string
	client, back net.Conn
	mu           sync.Mutex
	passed       [2]int // bytes since the last fault was set, by direction
}

// Listen starts a proxy. Close it when done.
func Listen(o Options) (*Proxy, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	if o.Source == nil {
		o.Source = func(net.Addr) string { return "" }
	}
	p := &Proxy{
		listener: l, source: o.Source, target: o.Target, single: map[string]Fault{}, links: map[*link]struct{}{},
		changed: make(chan struct{}),
	}
	p.serving.Go(p.accept)
	return p, nil
}

// Addr is where it listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget changes where new connections go.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Set makes a fault hold for everybody without one of their own, until it is set again.
func (p *Proxy) Set(f Fault) { p.set(func() { p.all = f }) }

// SetFor makes a fault hold for one source; None lifts it for that source alone, whatever holds for all.
func (p *Proxy) SetFor(source string, f Fault) { p.set(func() { p.single[source] = f }) }

// Lift ends all faults.
func (p *Proxy) Lift() { p.set(func() { p.all, p.single = Fault{}, map[string]Fault{} }) }

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		l.forget()
		if f := p.fault(l.source); f.ends() {
			l.end(f)
		}
	}
}

// fault is what holds for a source; p is locked.
func (p *Proxy) fault(source string) Fault {
	if f, ok := p.single[source]; ok {
		return f
	}
	return p.all
}

// now is what holds for a source, and what tells of the next change. False once the proxy is closed.
func (p *Proxy) now(source string) (f Fault, changed <-chan struct{}, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault(source), p.changed, !p.closed
}

// Close ends the proxy and all its connections. Safe to call twice.
func (p *Proxy) Close() error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	if !again {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	for l := range p.links {
		l.end(Fault{})
	}
	p.mu.Unlock()
	if again {
		return nil
	}
	err := p.listener.Close()
	p.serving.Wait()
	if err != nil {
		return fmt.Errorf("close a proxy: %w", err)
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.serve(conn) })
	}
}

// serve forwards one connection until one side or a fault ends it.
func (p *Proxy) serve(client net.Conn) {
	l := &link{source: p.source(client.RemoteAddr()), client: client}
	p.mu.Lock()
	target, f, closed := p.target, p.fault(l.source), p.closed
	p.mu.Unlock()
	if closed || f.ends() {
		l.end(f)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	back, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	cancel()
	if err != nil {
		l.end(Fault{})
		return
	}
	l.back = back
	p.mu.Lock()
	p.links[l] = struct{}{}
	if f := p.fault(l.source); p.closed || f.ends() {
		l.end(f)
	}
	p.mu.Unlock()
	var pumping sync.WaitGroup
	pumping.Go(func() { p.pump(l, request, back, client) })
	p.pump(l, answer, client, back)
	pumping.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump copies one direction. When it ends both ends do: half-closed connections are not what HTTP/2 speaks.
func (p *Proxy) pump(l *link, d direction, to, from net.Conn) {
	defer l.end(Fault{})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.forward(l, d, to, buf[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// forward passes a piece on as the fault of the moment lets it; false ends the connection.
func (p *Proxy) forward(l *link, d direction, to net.Conn, piece []byte) bool {
	for len(piece) > 0 {
		f, changed, open := p.now(l.source)
		if !open {
			return false
		}
		if f.holds(d) {
			<-changed
			continue
		}
		n, wait := len(piece), time.Duration(0)
		switch f.Kind {
		case Slow:
			wait = f.Delay + rand.N(f.Delay+1)
		case Trickle:
			n = min(n, max(1, f.Rate/10))
			wait = time.Second * time.Duration(n) / time.Duration(max(1, f.Rate))
		case Cut:
			if n = min(n, f.Bytes-l.count(d, 0)); n <= 0 {
				return false
			}
		}
		if wait > 0 && !sleep(wait, changed) {
			continue // the fault is another one now
		}
		if _, err := to.Write(piece[:n]); err != nil {
			return false
		}
		l.count(d, n)
		piece = piece[n:]
	}
	return true
}

// sleep waits; false when the fault changed meanwhile.
func sleep(d time.Duration, changed <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-changed:
		return false
	}
}

// count adds to the bytes of a direction and returns them.
func (l *link) count(d direction, n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed[d] += n
	return l.passed[d]
}

func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed = [2]int{}
}

// end closes both ends, with RST when the fault says so.
func (l *link) end(f Fault) {
	for _, c := range []net.Conn{l.client, l.back} {
		if tcp, ok := c.(*net.TCPConn); ok && f.Kind == Reset {
			_ = tcp.SetLinger(0)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}
