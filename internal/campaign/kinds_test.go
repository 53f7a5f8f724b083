package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/netfault"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// processKinds are the kinds of faults that are raised on processes and the links between them, by their names in the
// table. The order in which they are raised is that of the table.
func processKinds() map[string]kind {
	all := map[string]kind{
		"replica-kill-owner":      {raise: func(f *field) error { return f.strike((*cluster.Process).Kill, true) }},
		"replica-abort-owner":     {raise: func(f *field) error { return f.strike((*cluster.Process).Abort, true) }},
		"replica-stop-owner":      {raise: func(f *field) error { return f.strike(stopInOrder, true) }},
		"replica-pause-owner":     {raise: func(f *field) error { return f.pause(true) }},
		"replica-kill-bystander":  {bystander: true, raise: func(f *field) error { return f.strike((*cluster.Process).Kill, false) }},
		"replica-abort-bystander": {bystander: true, raise: func(f *field) error { return f.strike((*cluster.Process).Abort, false) }},
		"replica-stop-bystander":  {bystander: true, raise: func(f *field) error { return f.strike(stopInOrder, false) }},
		"replica-pause-bystander": {bystander: true, raise: func(f *field) error { return f.pause(false) }},
		"etcd-leader-kill":        {raise: func(f *field) error { return f.member(f.leader, (*cluster.Process).Kill) }},
		"etcd-follower-kill":      {raise: func(f *field) error { return f.member(f.follower, (*cluster.Process).Kill) }},
		"etcd-leader-pause":       {raise: func(f *field) error { return f.member(f.leader, (*cluster.Process).Pause) }},
		"etcd-leader-stop":        {raise: func(f *field) error { return f.member(f.leader, stopInOrder) }},
		"etcd-quorum-loss":        {raise: (*field).quorumLoss},
		"etcd-leader-move":        {raise: (*field).moveLeader},
		"etcd-member-replace":     {raise: (*field).replaceMember},
		"etcd-slow-disk":          {raise: (*field).stutter},
		"etcd-compaction":         {raise: (*field).compact},
		"etcd-defrag":             {raise: (*field).defragment},
		"etcd-nospace":            {raise: (*field).noSpace},
	}
	for name, fault := range map[string]netfault.Fault{
		"drop":      {Kind: netfault.Drop},
		"delay":     {Kind: netfault.Slow, Delay: 60 * time.Millisecond},
		"blackhole": {Kind: netfault.Hole},
		"deaf":      {Kind: netfault.Deaf},
		"mute":      {Kind: netfault.Mute},
		"reset":     {Kind: netfault.Reset},
		"trickle":   {Kind: netfault.Trickle, Rate: 2000},
		"truncate":  {Kind: netfault.Cut, Bytes: 4000},
	} {
		all["client-"+name] = kind{raise: func(f *field) error { return f.clientLink(fault) }}
		all["store-"+name] = kind{raise: func(f *field) error { return f.storeLink(fault) }}
		all["peer-"+name] = kind{raise: func(f *field) error { return f.peerLinks(fault) }}
	}
	return all
}

func stopInOrder(p *cluster.Process) error { return p.Stop(30 * time.Second) }

// strike ends the victim; the others take over what it owned while it is away.
func (f *field) strike(end func(*cluster.Process) error, owner bool) error {
	if owner {
		if err := f.owner(); err != nil {
			return err
		}
	}
	if err := end(f.c.Replicas[f.victim].Process); err != nil {
		return err
	}
	err := f.progress(8, time.Minute)
	time.Sleep(f.c.SessionTTL()) // away for longer than its session
	return err
}

// pause holds the victim for longer than its session lives: what it does when it goes on must not count.
func (f *field) pause(owner bool) error {
	if owner {
		if err := f.owner(); err != nil {
			return err
		}
	}
	r := f.c.Replicas[f.victim]
	if err := r.Pause(); err != nil {
		return err
	}
	time.Sleep(f.c.SessionTTL() + time.Second)
	return errors.Join(f.progress(4, time.Minute), r.Continue())
}

func (f *field) leader() (int, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	return f.c.Leader(ctx)
}

func (f *field) follower() (int, error) {
	leader, err := f.leader()
	return (leader + 1 + f.random.IntN(len(f.c.Members)-1)) % len(f.c.Members), err
}

// member does something to a member; the others go on.
func (f *field) member(which func() (int, error), what func(*cluster.Process) error) error {
	at, err := which()
	if err != nil {
		return err
	}
	if err := what(f.c.Members[at].Process); err != nil {
		return err
	}
	return f.progress(8, time.Minute)
}

// quorumLoss kills two of three members: nothing is accepted, replicas answer from what they know and say so.
func (f *field) quorumLoss() error {
	for _, m := range f.c.Members[:len(f.c.Members)/2+1] {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	return errors.Join(f.standstill(2*time.Second, 3*time.Second), f.stale(f.c.Replicas[f.victim].Conn))
}

func (f *field) moveLeader() error {
	for range 3 {
		leader, err := f.leader()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
		err = f.c.MoveLeader(ctx, leader, (leader+1)%len(f.c.Members))
		cancel()
		if err != nil {
			return err
		}
		if err := f.progress(4, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) replaceMember() error {
	at, err := f.follower()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	return errors.Join(f.c.Members[at].Replace(ctx), f.progress(8, time.Minute))
}

// stutter stops the leader for 300 ms of every 400 ms: what a disk does to it that takes that long to sync.
func (f *field) stutter() error {
	leader, err := f.leader()
	if err != nil {
		return err
	}
	m := f.c.Members[leader]
	for range 15 {
		if err := m.Pause(); err != nil {
			return err
		}
		time.Sleep(300 * time.Millisecond)
		if err := m.Continue(); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return f.progress(4, time.Minute)
}

// compact drops the whole history every 100 ms, under every watch.
func (f *field) compact() error {
	for range 40 {
		ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
		err := f.c.Compact(ctx)
		cancel()
		if err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return f.progress(8, time.Minute)
}

// defragment rewrites the database of one member after the other.
func (f *field) defragment() error {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	return errors.Join(f.c.Defragment(ctx), f.progress(8, time.Minute))
}

// noSpace fills the database until etcd raises its alarm: changes are refused with RESOURCE_EXHAUSTED, nothing accepted is
// lost, and after an operator has made room it goes on.
func (f *field) noSpace() error {
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	if err := f.c.Fill(ctx); err != nil {
		return err
	}
	var refused error
	for range 50 {
		calling, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, refused = jv1.NewAdminServiceClient(f.c.Replicas[f.victim].Conn).SetAutomation(calling, &jv1.SetAutomationRequest{
			Service: "service-00", On: true, Reason: "no space",
		})
		cancel()
		if status.Code(refused) == codes.ResourceExhausted {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var err error
	if status.Code(refused) != codes.ResourceExhausted {
		err = fmt.Errorf("a change without space is answered with %w", refused)
	}
	return errors.Join(err, f.standstill(time.Second, 2*time.Second), f.c.Reclaim(ctx), f.progress(8, time.Minute))
}

// clientLink makes the link between the victim and its clients bad: the others accept what it can't.
func (f *field) clientLink(fault netfault.Fault) error {
	f.c.Replicas[f.victim].Clients.Set(fault)
	defer f.c.Replicas[f.victim].Clients.Lift()
	time.Sleep(3 * time.Second)
	return f.progress(8, time.Minute)
}

// storeLink makes the links between the victim and all members bad: the others go on. Where nothing passes, the victim
// answers from what it knows and says so, and what it owned is taken over.
func (f *field) storeLink(fault netfault.Fault) error {
	r := f.c.Replicas[f.victim]
	for _, p := range r.Etcd {
		p.Set(fault) // until everything is healed
	}
	if fault.Kind == netfault.Slow || fault.Kind == netfault.Trickle || fault.Kind == netfault.Cut {
		time.Sleep(3 * time.Second)
		return f.progress(8, time.Minute)
	}
	err := errors.Join(f.stale(r.Conn), f.progress(8, time.Minute))
	time.Sleep(f.c.SessionTTL() / 2)
	return err
}

// peerLinks makes the links between etcd's leader and the other members bad. Where nothing passes, another one leads soon;
// where a little passes, the old one may go on to lead for as long as that lasts, and store nothing.
func (f *field) peerLinks(fault netfault.Fault) error {
	leader, err := f.leader()
	if err != nil {
		return err
	}
	m := f.c.Members[leader]
	m.Peers.Set(fault)
	for _, other := range f.c.Members {
		if other != m {
			other.Peers.SetFor(m.Name, fault)
		}
	}
	if fault.Kind == netfault.Trickle || fault.Kind == netfault.Cut {
		time.Sleep(8 * time.Second)
		return nil
	}
	time.Sleep(3 * time.Second)
	return f.progress(8, time.Minute)
}
