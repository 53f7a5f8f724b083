// Package sink is the outside world of campaigns: an HTTP server that receives what steps send, remembers every request
// with its idempotency key, and can misbehave.
//
// It promises to honour keys as a good receiver does: a key takes effect once, however often it is shown, and only when
// the sink behaved. It never forgets a request, also one that it answered badly.
package sink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Manner is how the sink answers.
type Manner int

// The manners.
const (
	// Good answers 200 at once.
	Good Manner = iota
	// Busy answers 429.
	Busy
	// Broken answers 500.
	Broken
	// Hanging receives and never answers.
	Hanging
	// Dripping sends a header and then a byte at a time.
	Dripping
	// Truncated promises a longer body than it sends.
	Truncated
	// Garbage answers 200 with what is no JSON.
	Garbage
	// Reset ends the connection with RST after the request has arrived.
	Reset
	// Flood answers 200 with a body without end.
	Flood
	// Astray redirects to another host.
	Astray
)

// Request is one request as it came.
type Request struct {
	// Key is its Idempotency-Key.
	Key string
	// Path of the URL.
	Path string
	// At is when it came.
	At time.Time
	// Manner it was answered in.
	Manner Manner
}

// Sink is a running server. Its methods are safe for concurrent use.
type Sink struct {
	server *http.Server
	addr   string
	scheme string
	ended  chan struct{}

	mu       sync.Mutex
	manner   Manner
	requests []Request
	effects  map[string]int
}

// Start starts a sink on a free port of loopback. With a configuration it speaks TLS. Close it when done.
func Start(config *tls.Config) (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the sink: %w", err)
	}
	s := &Sink{addr: l.Addr().String(), scheme: "http", ended: make(chan struct{}), effects: map[string]int{}}
	if config != nil {
		l, s.scheme = tls.NewListener(l, config), "https"
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: hclog.NewNullLogger().StandardLogger(nil)}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

// URL is where it listens, without a slash at its end.
func (s *Sink) URL() string { return s.scheme + "://" + s.addr }

// Close ends the sink and every answer under way.
func (s *Sink) Close() error {
	close(s.ended)
	if err := s.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("close the sink: %w", err)
	}
	return nil
}

// Behave makes it answer in a manner from now on.
func (s *Sink) Behave(m Manner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manner = m
}

// Requests are all that came, in order.
func (s *Sink) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Shown is how often each key came.
func (s *Sink) Shown() map[string]int {
	shown := map[string]int{}
	for _, r := range s.Requests() {
		shown[r.Key]++
	}
	return shown
}

// Effects is how often each key took effect: once, unless the sink itself is at fault.
func (s *Sink) Effects() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int, len(s.effects))
	for k, n := range s.effects {
		out[k] = n
	}
	return out
}

// ServeHTTP implements http.Handler.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	manner := s.manner
	s.requests = append(s.requests, Request{Key: key, Path: r.URL.Path, At: time.Now(), Manner: manner})
	if manner == Good && s.effects[key] == 0 {
		s.effects[key]++
	}
	s.mu.Unlock()
	s.answer(w, r, manner)
}

func (s *Sink) answer(w http.ResponseWriter, r *http.Request, manner Manner) {
	switch manner {
	case Good:
		_, _ = io.WriteString(w, `{"done":true}`)
	case Busy:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case Broken:
		w.WriteHeader(http.StatusInternalServerError)
	case Hanging:
		s.hang(r)
	case Dripping:
		s.drip(w, r, []byte("."), 100*time.Millisecond)
	case Flood:
		s.drip(w, r, []byte(strings.Repeat("flood ", 4096)), 0)
	case Truncated:
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"done":`)
	case Garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "\x00\xff<not json")
	case Reset:
		reset(w)
	case Astray:
		w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func (s *Sink) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.ended:
	}
}

// drip sends a piece again and again, until the other side goes away.
func (s *Sink) drip(w http.ResponseWriter, r *http.Request, piece []byte, every time.Duration) {
	tick := time.NewTicker(max(every, time.Microsecond))
	defer tick.Stop()
	for {
		if _, err := w.Write(piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-s.ended:
			return
		}
	}
}

// reset ends the connection so that the other side sees RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
