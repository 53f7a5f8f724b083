package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jurymast/jurymast/internal/campaign/traffic"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// The providers of every service.
var providers = []string{"alpha", "beta", "gamma"}

// Runbook is what clients start: it waits, so that its run holds its service until somebody ends it.
const Runbook = "hold"

// Services names the services of a contest.
func Services(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("contest-%d", i))
	}
	return all
}

// Install applies the services, their providers and the runbook, and returns the route that all begin with.
func Install(ctx context.Context, conn *grpc.ClientConn, services []string) (Begin, error) {
	var resources []*jv1.Resource
	var routes []*jv1.ServiceProvider
	for _, p := range providers {
		resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: p, BaseUrl: "http://127.0.0.1"}}})
		routes = append(routes, &jv1.ServiceProvider{Name: p})
	}
	for _, s := range services {
		resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Service{Service: &jv1.Service{
			Name: s, Providers: routes, Health: &jv1.HealthRule{Failing: &jv1.FailingRule{Agree: 1}, RecoveredAfter: durationpb.New(time.Second)},
		}}})
	}
	resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: &jv1.Runbook{
		Name: Runbook, Services: services,
		Steps: []*jv1.Step{{Id: "rest", Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(10 * time.Hour)}}}},
	}}})
	if _, err := jv1.NewCatalogServiceClient(conn).Apply(ctx, &jv1.ApplyRequest{Resources: resources}); err != nil {
		return Begin{}, fmt.Errorf("apply the contest: %w", err)
	}
	// An undo passes the guards, and they ask for health.
	if err := traffic.Vouch(ctx, conn, services, providers); err != nil {
		return Begin{}, err
	}
	got, err := jv1.NewContinuityServiceClient(conn).GetContinuity(ctx, &jv1.GetContinuityRequest{Service: services[0]})
	if err != nil {
		return Begin{}, fmt.Errorf("how the contest begins: %w", err)
	}
	return Begin{Active: got.GetState().GetActiveProvider(), Epoch: got.GetState().GetEpoch()}, nil
}

// Clients ask for things against each other, through all replicas.
type Clients struct {
	// Conns are connections to the replicas.
	Conns []*grpc.ClientConn
	// Services they contend for.
	Services []string
	// Count of clients.
	Count int
	// Seed of their choices.
	Seed uint64
	// Pause between two operations of a client, at most; it waits by chance.
	Pause time.Duration
	// History they write into.
	History *History

	mu      sync.Mutex
	epochs  map[string]int64    // by service, the highest that anybody has seen
	runs    map[string]string   // by service, the run that was started last
	started map[string][]string // runs by request id
	refused int
}

// Contend lets the clients work until ctx ends; what is under way then is brought to its end.
func (c *Clients) Contend(ctx context.Context) {
	c.epochs, c.runs, c.started = map[string]int64{}, map[string]string{}, map[string][]string{}
	var wait sync.WaitGroup
	for i := range c.Count {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(c.Seed, uint64(i)+100))
			for n := 0; ctx.Err() == nil; n++ {
				c.act(client{c: c, random: random, id: i, service: c.Services[random.IntN(len(c.Services))]}, n)
				time.Sleep(time.Duration(random.Int64N(int64(c.Pause) + 1)))
			}
		})
	}
	wait.Wait()
}

// Refused is how many operations were refused: they say nothing.
func (c *Clients) Refused() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// Started are the runs that each request id was answered with.
func (c *Clients) Started() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

// client is one client during one operation.
type client struct {
	c       *Clients
	random  *rand.Rand
	id      int
	service string
}

func (c *Clients) act(x client, n int) {
	request := fmt.Sprintf("contest-%d-%d", x.id, n)
	c.mu.Lock()
	op := Op{Service: x.service, Epoch: c.epochs[x.service], Run: c.runs[x.service], Provider: providers[x.random.IntN(len(providers))], On: x.random.IntN(2) == 0}
	c.mu.Unlock()
	switch p := x.random.IntN(100); {
	case p < 25 || op.Epoch == 0:
		x.read(op)
	case p < 45:
		op.Kind = Switch
		x.change(op, request)
	case p < 53:
		op.Kind = Queue
		x.change(op, request)
	case p < 58:
		op.Kind = Undo
		x.change(op, request)
	case p < 75 || op.Run == "":
		x.start(op, request)
	default:
		op.Kind = []Kind{Pause, Resume, Cancel, Cancel}[x.random.IntN(4)]
		x.steer(op)
	}
}

func (x client) conn() *grpc.ClientConn { return x.c.Conns[x.random.IntN(len(x.c.Conns))] }

// call makes one try.
func call[T any](f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return f(ctx)
}

// done notes an operation that was answered, or whose answer nobody heard; a refusal is only counted.
func (x client) done(begun time.Time, op Op, err error) {
	op.Unknown = unknown(err)
	if err != nil && !op.Unknown {
		x.c.mu.Lock()
		x.c.refused++
		x.c.mu.Unlock()
		return
	}
	x.c.History.Add(x.id, begun, op)
}

// unknown tells whether an error leaves open what became of a call. A replica that says that it is not available has done
// nothing; a connection that breaks says the same of what may have been done.
func unknown(err error) bool {
	switch status.Code(err) {
	case codes.OK, codes.FailedPrecondition, codes.NotFound, codes.InvalidArgument, codes.AlreadyExists, codes.ResourceExhausted:
		return false
	case codes.Aborted:
		return reason(err) == "OUTCOME_UNKNOWN"
	default:
		return true
	}
}

func (x client) saw(state *jv1.ContinuityState) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.epochs[x.service] = max(x.c.epochs[x.service], state.GetEpoch())
}

func (x client) read(op Op) {
	begun := time.Now()
	got, err := call(func(ctx context.Context) (*jv1.GetContinuityResponse, error) {
		return jv1.NewContinuityServiceClient(x.conn()).GetContinuity(ctx, &jv1.GetContinuityRequest{Service: x.service})
	})
	if err != nil || !got.GetFreshness().GetLive() {
		return // an old state says nothing
	}
	st := got.GetState()
	x.saw(st)
	x.c.History.Add(x.id, begun, Op{Kind: Read, Service: op.Service, Provider: st.GetActiveProvider(), Epoch: st.GetEpoch(), On: st.GetQueueing()})
}

// change asks for another route. One whose outcome is unknown stays so: nothing is asked again.
func (x client) change(op Op, request string) {
	begun := time.Now()
	c := jv1.NewContinuityServiceClient(x.conn())
	st, err := call(func(ctx context.Context) (*jv1.ContinuityState, error) {
		switch op.Kind {
		case Queue:
			return c.SetQueueing(ctx, &jv1.SetQueueingRequest{Service: x.service, On: op.On, Reason: request, ExpectedEpoch: op.Epoch, RequestId: request})
		case Undo:
			return c.Undo(ctx, &jv1.UndoRequest{Service: x.service, Reason: request, ExpectedEpoch: op.Epoch})
		default:
			return c.SwitchProvider(ctx, &jv1.SwitchProviderRequest{
				Service: x.service, Provider: op.Provider, Reason: request, BreakGlass: true, ExpectedEpoch: op.Epoch, RequestId: request,
			})
		}
	})
	if err == nil {
		x.saw(st)
	}
	x.done(begun, op, err)
}

// start asks for a run until it knows, with the same request id at one replica after the other: all of that is one
// operation.
func (x client) start(op Op, request string) {
	begun := time.Now()
	op.Kind, op.Run = Start, ""
	var last, doubt error
	for time.Since(begun) < time.Minute {
		run, err := call(func(ctx context.Context) (*jv1.Run, error) {
			return jv1.NewRunServiceClient(x.conn()).StartRun(ctx, &jv1.StartRunRequest{
				Runbook: Runbook, Service: x.service, Reason: request, RequestId: request,
			})
		})
		last = err
		if err == nil {
			op.Run = run.GetName()
			x.c.mu.Lock()
			x.c.runs[x.service] = op.Run
			x.c.started[request] = append(x.c.started[request], op.Run)
			x.c.mu.Unlock()
			break
		}
		if !unknown(err) {
			break
		}
		doubt = err
		time.Sleep(50 * time.Millisecond)
	}
	if last != nil && doubt != nil {
		// One replica refuses, and what was sent to another one before may still be on its way.
		op.Run, last = "?"+request, doubt
	}
	x.done(begun, op, last)
}

func (x client) steer(op Op) {
	begun := time.Now()
	c := jv1.NewRunServiceClient(x.conn())
	_, err := call(func(ctx context.Context) (*jv1.Run, error) {
		switch op.Kind {
		case Pause:
			return c.PauseRun(ctx, &jv1.PauseRunRequest{Name: op.Run, Reason: "contest"})
		case Resume:
			return c.ResumeRun(ctx, &jv1.ResumeRunRequest{Name: op.Run, Reason: "contest"})
		default:
			return c.CancelRun(ctx, &jv1.CancelRunRequest{Name: op.Run, Reason: "contest"})
		}
	})
	x.done(begun, op, err)
}

// reason is that of an error's ErrorInfo.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
