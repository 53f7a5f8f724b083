// Package nemesis makes trouble in a cluster of processes, at random but from a seed: replicas and members of etcd are
// killed, paused for longer than a session lives, and stopped in order, alone or two at a time.
//
// It promises to bring back everything that it took away, never to take the last replica, never to keep etcd without a
// quorum for longer than a few seconds, and to remember when it did what, so that what followed can be measured.
package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Act is what is done to a process.
type Act int

// The acts.
const (
	// Kill is SIGKILL.
	Kill Act = iota
	// Pause is SIGSTOP, until SIGCONT.
	Pause
	// Stop is SIGTERM.
	Stop
)

// String names the act.
func (a Act) String() string { return [...]string{"kill", "pause", "stop"}[a] }

// Trouble is one act, from when it was done until everything was back.
type Trouble struct {
	Act        Act
	Process    string
	Begin, End time.Time
	// Owned are the live runs that a replica owned just before.
	Owned []string
}

// Options say how much trouble there is.
type Options struct {
	// Cluster it is made in.
	Cluster *cluster.Cluster
	// Seed of all choices.
	Seed uint64
	// Back is how long a process may take to come back before that is an error. 0: 2 min.
	Back time.Duration
	// Logf tells what is done; nil: nobody is told.
	Logf func(format string, args ...any)
}

// Nemesis makes trouble. Its methods are safe for concurrent use.
type Nemesis struct {
	o Options

	mu       sync.Mutex
	troubles []Trouble
}

// New returns a nemesis.
func New(o Options) *Nemesis {
	if o.Back == 0 {
		o.Back = 2 * time.Minute
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return &Nemesis{o: o}
}

// Troubles are all that were made.
func (n *Nemesis) Troubles() []Trouble {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.troubles)
}

// Rage makes trouble among replicas and among members, independently, until ctx ends, and returns when everything is back.
// An error says that something did not come back.
func (n *Nemesis) Rage(ctx context.Context) error {
	var wait sync.WaitGroup
	var errs [2]error
	wait.Go(func() { errs[0] = n.replicas(ctx, rand.New(rand.NewPCG(n.o.Seed, 2))) })
	wait.Go(func() { errs[1] = n.members(ctx, rand.New(rand.NewPCG(n.o.Seed, 3))) })
	wait.Wait()
	return errors.Join(errs[:]...)
}

func (n *Nemesis) replicas(ctx context.Context, random *rand.Rand) error {
	c, ttl := n.o.Cluster, n.o.Cluster.SessionTTL()
	for breathe(ctx, random, time.Second, 5*time.Second) {
		order := random.Perm(len(c.Replicas))
		count := 1 + random.IntN(10)/8
		var wait sync.WaitGroup
		errs := make([]error, count)
		for i, at := range order[:min(count, len(order)-1)] {
			act, hold := Act(random.IntN(3)), between(random, ttl/10, ttl*3/2)
			if act == Pause {
				hold = ttl + between(random, time.Second, 4*time.Second)
			}
			witness := c.Replicas[order[len(order)-1]]
			wait.Go(func() { errs[i] = n.Strike(c.Replicas[at], witness.Conn, act, hold) })
		}
		wait.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// Strike does something to a replica and brings it back after a while. What it owned is asked of a witness, if there is
// one.
func (n *Nemesis) Strike(r *cluster.Replica, witness *grpc.ClientConn, act Act, hold time.Duration) error {
	t := Trouble{Act: act, Process: r.Name}
	if witness != nil {
		t.Owned = ownedBy(witness, r.Name)
	}
	t.Begin = time.Now()
	return n.strike(t, r.Process, hold, func(ctx context.Context) error {
		if act == Pause {
			return errors.Join(r.Continue(), r.Wait(ctx))
		}
		return r.Start(ctx)
	})
}

// Hit does something to a member and brings it back after a while.
func (n *Nemesis) Hit(m *cluster.Member, act Act, hold time.Duration) error {
	return n.strike(Trouble{Act: act, Process: m.Name, Begin: time.Now()}, m.Process, hold, func(ctx context.Context) error {
		if act == Pause {
			return errors.Join(m.Continue(), m.Wait(ctx))
		}
		return errors.Join(m.Start(), m.Wait(ctx))
	})
}

func (n *Nemesis) strike(t Trouble, p *cluster.Process, hold time.Duration, back func(context.Context) error) error {
	n.o.Logf("%v %s for %v", t.Act, t.Process, hold.Round(time.Millisecond))
	var err error
	switch t.Act {
	case Kill:
		err = p.Kill()
	case Pause:
		err = p.Pause()
	case Stop:
		err = p.Stop(30 * time.Second)
	}
	if err != nil {
		return fmt.Errorf("%v %s: %w\n%s", t.Act, t.Process, err, p.Tail(10))
	}
	time.Sleep(hold) // the length of the fault itself
	ctx, cancel := context.WithTimeout(context.Background(), n.o.Back)
	defer cancel()
	err = back(ctx)
	t.End = time.Now()
	n.mu.Lock()
	n.troubles = append(n.troubles, t)
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s does not come back after %v: %w", t.Process, t.Act, err)
	}
	return nil
}

func (n *Nemesis) members(ctx context.Context, random *rand.Rand) error {
	c := n.o.Cluster
	for breathe(ctx, random, 3*time.Second, 25*time.Second) {
		count := 1 + random.IntN(10)/8 // two of three: no quorum until they are back
		hold := between(random, 2*time.Second, 8*time.Second)
		var wait sync.WaitGroup
		errs := make([]error, count)
		for i, at := range random.Perm(len(c.Members))[:min(count, len(c.Members))] {
			act := Act(random.IntN(3))
			wait.Go(func() { errs[i] = n.Hit(c.Members[at], act, hold) })
		}
		wait.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(random.Int64N(int64(to-from)))
}

// breathe waits a random time; false when ctx ended.
func breathe(ctx context.Context, random *rand.Rand, from, to time.Duration) bool {
	t := time.NewTimer(between(random, from, to))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ownedBy are the live runs of a replica that are not about to end: what is listed and ends before the blow is nobody's to
// take over.
func ownedBy(conn *grpc.ClientConn, replica string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	page, err := jv1.NewRunServiceClient(conn).ListRuns(ctx, &jv1.ListRunsRequest{Live: true, PageSize: 1000})
	if err != nil {
		return nil // there is no measurement this time
	}
	var names []string
	for _, r := range page.GetRuns() {
		if strings.Contains(r.GetOwner().GetSession(), "/"+replica+"/") {
			names = append(names, r.GetName())
		}
	}
	return names
}
