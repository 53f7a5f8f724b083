package campaign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/sink"
	"github.com/jurymast/jurymast/internal/campaign/traffic"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// field is an installation with traffic, in which one kind of fault is raised after the other.
type field struct {
	t        *testing.T
	c        *cluster.Cluster
	s        *sink.Sink
	seed     uint64
	random   *rand.Rand
	services int
	ledger   []traffic.Request

	// Of the present kind: the replica that is hit, and the traffic.
	victim int
	d      *traffic.Driver
}

// kind is how one kind of fault is raised on processes.
type kind struct {
	// bystander says that the replica that is hit owns no run: all traffic goes to the others.
	bystander bool
	// raise makes the fault, checks what must hold while it lasts, and lifts it.
	raise func(f *field) error
}

const fieldServices = 24

func newField(t *testing.T, o cluster.Options) *field {
	t.Helper()
	n := seed(t)
	f := &field{t: t, seed: n, random: rand.New(rand.NewPCG(n, 4)), c: startCluster(t, o), s: startSink(t), services: fieldServices}
	if err := traffic.Install(within(t, 2*time.Minute), f.c.Replicas[0].Conn, f.services, f.s.URL()); err != nil {
		t.Fatal(err)
	}
	return f
}

// run raises one kind during traffic, heals, and judges: before, meanwhile and after there must have been enough traffic,
// everything recovers, and nothing is lost, done twice or unknown that may be repeated.
func (f *field) run(name string, k kind) {
	t := f.t
	t.Helper()
	began := time.Now()
	f.victim = f.random.IntN(len(f.c.Replicas))
	conns := f.c.Conns()
	if k.bystander {
		conns = append(conns[:f.victim:f.victim], conns[f.victim+1:]...)
	}
	f.d = traffic.Drive(traffic.Options{
		Conns: conns, Services: f.services, Every: 70 * time.Millisecond, Seed: f.random.Uint64(), Prefix: name + ":",
	})
	if err := f.progress(8, time.Minute); err != nil {
		t.Errorf("%s: before it: %v", name, err)
	}
	if err := k.raise(f); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if err := f.c.Heal(within(t, 3*time.Minute)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	lifted := time.Now()
	if err := f.progress(8, time.Minute); err != nil {
		t.Errorf("%s: after it: %v", name, err)
	}
	recovered := time.Since(lifted)
	f.judge(name, began, recovered)
}

func (f *field) judge(name string, began time.Time, recovered time.Duration) {
	t := f.t
	t.Helper()
	ledger := f.d.Finish()
	f.ledger = append(f.ledger, ledger...)
	ctx := within(t, 3*time.Minute)
	if err := traffic.Settle(ctx, f.c.Replicas[f.victim].Conn); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	report, err := traffic.Judge(ctx, traffic.Case{
		Conn: f.c.Replicas[f.victim].Conn, Ledger: ledger, Shown: f.s.Shown(), Prefix: name + ":",
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for i, finding := range report.Findings {
		if i < 5 {
			t.Errorf("%s: %s", name, finding)
		}
	}
	if report.Accepted < 16 {
		t.Errorf("%s: %d runs accepted: too little traffic to prove anything", name, report.Accepted)
	}
	t.Logf("%-22s %3d runs, %d taken over, %d unknown, %d repeated; going on %v after it was lifted, %v in all", name, report.Accepted,
		report.Claims, report.Unknown, report.Repeated, recovered.Round(10*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
}

// finish judges everything together, with routes and keys.
func (f *field) finish() {
	f.t.Helper()
	report, err := traffic.Judge(within(f.t, 5*time.Minute), traffic.Case{
		Conn: f.c.Replicas[0].Conn, Ledger: f.ledger, Shown: f.s.Shown(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Log(report)
	for i, finding := range report.Findings {
		if i < 20 {
			f.t.Error(finding)
		}
	}
}

// progress waits until n more runs were accepted.
func (f *field) progress(n int, within time.Duration) error {
	from, deadline := f.d.Accepted(), time.Now().Add(within)
	for f.d.Accepted() < from+n {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d runs accepted in %v, want %d", f.d.Accepted()-from, within, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// standstill checks that nothing is accepted for a while; what is under way may still end in the first seconds.
func (f *field) standstill(first, then time.Duration) error {
	time.Sleep(first)
	from := f.d.Accepted()
	time.Sleep(then)
	if n := f.d.Accepted() - from; n > 0 {
		return fmt.Errorf("%d runs were accepted although nothing can be stored", n)
	}
	return nil
}

// stale checks that a replica that is cut off answers with the last state it knows, says that it is not live, and refuses
// to change anything.
func (f *field) stale(conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	c := jv1.NewContinuityServiceClient(conn)
	for {
		got, err := c.ListContinuity(ctx, &jv1.ListContinuityRequest{})
		if err != nil {
			return fmt.Errorf("a replica without etcd does not answer: %w", err)
		}
		if len(got.GetStates()) != f.services {
			return fmt.Errorf("a replica without etcd knows %d services of %d", len(got.GetStates()), f.services)
		}
		if !got.GetFreshness().GetLive() {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	state, err := c.SwitchProvider(ctx, &jv1.SwitchProviderRequest{Service: "service-00", Provider: "beta", Reason: "stale", ValidateOnly: false, BreakGlass: true, RequestId: "stale"})
	if err == nil {
		return fmt.Errorf("a replica without etcd switched to %s", state.GetActiveProvider())
	}
	return nil
}

// owner waits until the replica that is to be hit owns a run.
func (f *field) owner() error {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
		page, err := jv1.NewRunServiceClient(f.c.Replicas[f.victim].Conn).ListRuns(ctx, &jv1.ListRunsRequest{Live: true, PageSize: 1000})
		cancel()
		if err != nil {
			return fmt.Errorf("whose runs are they: %w", err)
		}
		for _, r := range page.GetRuns() {
			if r.GetState() == jv1.RunState_RUN_STATE_RUNNING && strings.Contains(r.GetOwner().GetSession(), "/"+f.c.Replicas[f.victim].Name+"/") {
				return nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("the replica never owned a run")
}
