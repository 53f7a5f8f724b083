package store_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jurymast/jurymast/server/etcdnode"
)

// proxy forwards connections on loopback to a unix socket, until they are cut.
type proxy struct {
	listener net.Listener

	mu     sync.Mutex
	socket string
	conns  map[net.Conn]struct{}
}

// startProxy starts a proxy that speaks TLS when it is given a configuration.
func startProxy(t *testing.T, socket string, config *tls.Config) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	p := &proxy{listener: l, socket: socket, conns: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		serving.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve(client net.Conn) {
	p.mu.Lock()
	socket := p.socket
	p.mu.Unlock()
	server, err := net.Dial("unix", socket)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var copying sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		copying.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	copying.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// redirect makes new connections go to another socket.
func (p *proxy) redirect(socket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = socket
}

// socketOf is the path of a member's client socket.
func socketOf(node *etcdnode.Node) string { return strings.TrimPrefix(node.Endpoint(), "unix://") }

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}
