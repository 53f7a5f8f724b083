package demo

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// picture is what the server says, kept by watch streams that are begun anew whenever the server comes back.
type picture struct {
	line *timeline
	conn *grpc.ClientConn

	mu      sync.Mutex
	changed chan struct{}
	health  map[string]*jv1.Health
	runs    map[string]*jv1.Run
	order   []string // of the runs, by first sight
	state   *jv1.ContinuityState
	told    map[string]bool // what was printed already
}

func newPicture(line *timeline, conn *grpc.ClientConn) *picture {
	return &picture{
		line: line, conn: conn, changed: make(chan struct{}), health: map[string]*jv1.Health{}, runs: map[string]*jv1.Run{}, told: map[string]bool{},
	}
}

// follow keeps the picture until ctx ends.
func (p *picture) follow(ctx context.Context, wg *sync.WaitGroup) {
	for _, stream := range []func(context.Context) error{p.watchHealth, p.watchRuns, p.watchState} {
		wg.Go(func() {
			for ctx.Err() == nil {
				// A stream ends when the server does; that is part of the show.
				_ = stream(ctx)
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
}

func (p *picture) watchHealth(ctx context.Context) error {
	stream, err := jv1.NewDetectorServiceClient(p.conn).WatchHealth(ctx, &jv1.WatchHealthRequest{})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if h := m.GetHealth(); h != nil {
			p.update(func() { p.health[h.GetProvider()] = h })
			p.tellHealth(h)
		}
	}
}

func (p *picture) watchRuns(ctx context.Context) error {
	stream, err := jv1.NewRunServiceClient(p.conn).WatchRuns(ctx, &jv1.WatchRunsRequest{})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if r := m.GetRun(); r != nil {
			p.update(func() {
				if p.runs[r.GetName()] == nil {
					p.order = append(p.order, r.GetName())
				}
				p.runs[r.GetName()] = r
			})
			p.tellRun(r)
		}
	}
}

func (p *picture) watchState(ctx context.Context) error {
	stream, err := jv1.NewContinuityServiceClient(p.conn).WatchContinuity(ctx, &jv1.WatchContinuityRequest{})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if s := m.GetState(); s != nil {
			p.update(func() { p.state = s })
			p.tellState(s)
		}
	}
}

func (p *picture) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits for a condition on the picture.
func (p *picture) until(ctx context.Context, holds func() bool) error {
	for {
		p.mu.Lock()
		ok, changed := holds(), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// once tells whether something is said for the first time: streams repeat what they know when they begin anew.
func (p *picture) once(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told[key] {
		return false
	}
	p.told[key] = true
	return true
}
