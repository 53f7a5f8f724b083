package etcdnode

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gate stands before every call of the in-process client. etcd itself doesn't guard against calls that come late: after it has
// stopped, a serializable read crashes the process and a lease is still renewed, though nobody keeps it.
type gate struct {
	mu     sync.Mutex
	why    *goneError // set once the gate is shut
	inside int
	empty  chan struct{} // closed when the gate is shut and nobody is inside

	// open is cancelled when the gate is shut.
	open  context.Context //nolint:containedctx // it stands for the life of etcd, not of a call
	close context.CancelFunc
}

func newGate() *gate {
	g := &gate{empty: make(chan struct{})}
	g.open, g.close = context.WithCancel(context.Background())
	return g
}

// check returns why the gate is shut, or nil.
func (g *gate) check() error {
	if why := g.gone(); why != nil {
		return why
	}
	return nil
}

func (g *gate) gone() *goneError {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why
}

// enter lets a call in, which then must leave.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why != nil {
		return g.why
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.why != nil && g.inside == 0 {
		close(g.empty)
	}
}

// shut refuses all further calls with an error that wraps ErrClosed and the cause, cancels those inside, and returns a
// channel that is closed when the last one has left. Only the first cause counts.
func (g *gate) shut(cause error) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == nil {
		g.why = &goneError{cause: cause, code: codes.Unavailable}
		g.close()
		if g.inside == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

// pass makes a call through the gate. When the gate is shut meanwhile, the outcome of the call is unknown.
func pass[Q, A any](ctx context.Context, g *gate, request *Q, call func(context.Context, *Q) (*A, error)) (*A, error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.open, cancel)()
	answer, err := call(ctx, request)
	if err != nil {
		if gone := g.gone(); gone != nil {
			return nil, gone
		}
	}
	return answer, err
}

// goneError is what a call gets when etcd is not there any more.
type goneError struct {
	cause error
	code  codes.Code
}

// Error says why etcd is gone.
func (e *goneError) Error() string {
	if e.cause == nil {
		return ErrClosed.Error()
	}
	return fmt.Sprintf("%v: %v", ErrClosed, e.cause)
}

// Unwrap returns ErrClosed and the cause.
func (e *goneError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrClosed}
	}
	return []error{ErrClosed, e.cause}
}

// GRPCStatus makes it Unavailable, as it would be for a client over the network, unless that would be tried again.
func (e *goneError) GRPCStatus() *status.Status { return status.New(e.code, e.Error()) }
