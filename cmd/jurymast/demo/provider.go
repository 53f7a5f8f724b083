package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// condition is how a provider behaves.
type condition int32

const (
	well       condition = iota
	hangs                // accepts, then sends nothing
	answers500           // refuses every request
)

// provider is a local OpenAI-compatible endpoint that can be broken.
type provider struct {
	name string
	addr string

	state  atomic.Int32
	server *http.Server

	mu    sync.Mutex
	mends chan struct{} // closed when a hanging provider is mended
}

func startProvider(name string) (*provider, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start provider %s: %w", name, err)
	}
	p := &provider{name: name, addr: ln.Addr().String(), mends: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", p.serve(`{"object":"list","data":[{"id":"demo","object":"model"}]}`))
	mux.HandleFunc("POST /v1/chat/completions", p.serve(
		`{"object":"chat.completion","model":"demo","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hello from `+name+`"}}]}`,
	))
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = p.server.Serve(ln) }()
	return p, nil
}

func (p *provider) baseURL() string { return "http://" + p.addr + "/v1" }

// become changes how the provider behaves from now on; requests that hang are let go when it is mended.
func (p *provider) become(c condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Store(int32(c))
	close(p.mends)
	p.mends = make(chan struct{})
}

func (p *provider) serve(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		mends := p.mends
		p.mu.Unlock()
		switch condition(p.state.Load()) {
		case hangs:
			select {
			case <-r.Context().Done():
			case <-mends:
			}
			http.Error(w, `{"error":{"message":"gave up","type":"server_error"}}`, http.StatusServiceUnavailable)
		case answers500:
			http.Error(w, `{"error":{"message":"internal error","type":"server_error"}}`, http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
}

func (p *provider) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.become(answers500)
	if p.server.Shutdown(ctx) != nil {
		_ = p.server.Close()
	}
}
