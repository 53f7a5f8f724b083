package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Options say how much traffic there is.
type Options struct {
	// Conns are connections to the replicas.
	Conns []*grpc.ClientConn
	// Services as given to Install.
	Services int
	// Every is the time between two starts.
	Every time.Duration
	// Seed of the order of services, runbooks and replicas.
	Seed uint64
	// Call is how long one try may take. 0: 3 s.
	Call time.Duration
	// Prefix of the request ids, to tell the traffic of several drivers apart.
	Prefix string
}

// Request is one start that was asked for.
type Request struct {
	// ID is the request id, and the reason of the run.
	ID string
	// Runbook and Service that were asked for.
	Runbook, Service string
	// Begin is when it was first sent, End when the answer came.
	Begin, End time.Time
	// Tries is how often it was sent.
	Tries int
	// Run that was accepted. Empty: it was refused, or nobody knows.
	Run string
	// Refused is why it was refused for good. Empty with no Run: nobody knows.
	Refused string
	// Doubt says that the outcome of an earlier try was unknown when another replica refused it: it may have started a run
	// all the same.
	Doubt bool
}

// Driver starts runs. Its methods are safe for concurrent use.
type Driver struct {
	o      Options
	random *rand.Rand
	stop   context.CancelFunc
	loop   sync.WaitGroup
	asking sync.WaitGroup

	mu       sync.Mutex
	requests []*Request
	busy     map[string]bool // services with a request under way
}

// Drive begins to start runs; Finish ends that.
func Drive(o Options) *Driver {
	if o.Call == 0 {
		o.Call = 3 * time.Second
	}
	if o.Prefix == "" {
		o.Prefix = "request-"
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Driver{o: o, random: rand.New(rand.NewPCG(o.Seed, 1)), stop: stop, busy: map[string]bool{}}
	d.loop.Go(func() { d.drive(ctx) })
	return d
}

func (d *Driver) drive(ctx context.Context) {
	tick := time.NewTicker(d.o.Every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := &Request{
			ID: fmt.Sprintf("%s%d", d.o.Prefix, n), Runbook: []string{toA, toB}[d.random.IntN(2)],
			Service: serviceName(d.random.IntN(d.o.Services)), Begin: time.Now(),
		}
		first := d.random.IntN(len(d.o.Conns))
		d.mu.Lock()
		if d.busy[r.Service] {
			d.mu.Unlock()
			continue
		}
		d.busy[r.Service] = true
		d.requests = append(d.requests, r)
		d.mu.Unlock()
		d.asking.Go(func() { d.ask(r, first) })
	}
}

// patience is how long a request is repeated before its outcome counts as unknown for ever, which the judge calls a
// failure: by then everything was healed.
const patience = 10 * time.Minute

// ask sends a request, to one replica after the other, until it knows what became of it.
func (d *Driver) ask(r *Request, first int) {
	run, refused, doubt := "", "", false
	for tries := 0; time.Since(r.Begin) < patience; tries++ {
		conn := d.o.Conns[(first+tries)%len(d.o.Conns)]
		ctx, cancel := context.WithTimeout(context.Background(), d.o.Call)
		got, err := jv1.NewRunServiceClient(conn).StartRun(ctx, &jv1.StartRunRequest{
			Runbook: r.Runbook, Service: r.Service, Reason: r.ID, RequestId: r.ID,
		})
		cancel()
		d.mu.Lock()
		r.Tries++
		d.mu.Unlock()
		if err == nil {
			run = got.GetName()
			break
		}
		if !mayTryAgain(err) {
			refused = status.Convert(err).Message()
			break
		}
		doubt = true
		time.Sleep(50 * time.Millisecond)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Run, r.Refused, r.Doubt, r.End = run, refused, doubt, time.Now()
	delete(d.busy, r.Service)
}

// mayTryAgain tells whether an error leaves open what became of a request, or may pass.
func mayTryAgain(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Canceled, codes.ResourceExhausted:
		return true
	default:
		return false
	}
}

// Finish stops asking for further runs and waits until the outcome of every request is known, so everything should be
// healed before. It returns the ledger.
func (d *Driver) Finish() []Request {
	d.stop()
	d.loop.Wait()
	d.asking.Wait()
	return d.Ledger()
}

// Ledger is a copy of all requests up to now.
func (d *Driver) Ledger() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Request, len(d.requests))
	for i, r := range d.requests {
		out[i] = *r
	}
	return out
}

// Accepted is how many requests were accepted up to now.
func (d *Driver) Accepted() int {
	n := 0
	for _, r := range d.Ledger() {
		if r.Run != "" {
			n++
		}
	}
	return n
}
