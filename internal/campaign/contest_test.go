package campaign

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/linear"
	"github.com/jurymast/jurymast/internal/campaign/netfault"
	"github.com/jurymast/jurymast/internal/campaign/watch"
)

// contest lets clients contend for services through all replicas while trouble is made, with watchers on both streams, and
// judges every answer and every message.
func contest(t *testing.T, c *cluster.Cluster, seed uint64, clients int, trouble func(ctx context.Context)) (answered map[linear.Kind]int) {
	t.Helper()
	services := linear.Services(5)
	begin, err := linear.Install(within(t, time.Minute), c.Replicas[0].Conn, services)
	if err != nil {
		t.Fatal(err)
	}
	watchers := watch.Begin(c.Conns(), seed, 6)
	k := &linear.Clients{
		Conns: c.Conns(), Services: services, Count: clients, Seed: seed, Pause: 60 * time.Millisecond, History: linear.NewHistory(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var contending sync.WaitGroup
	contending.Go(func() { k.Contend(ctx) })
	trouble(ctx)
	if err := c.Heal(within(t, 3*time.Minute)); err != nil {
		t.Fatal(err)
	}
	cancel()
	contending.Wait()

	answered, unknown := k.History.Count()
	t.Logf("%v answered, %d unknown, %d refused", answered, unknown, k.Refused())
	verdict := k.History.Check(begin, 5*time.Minute)
	t.Logf("%d operations checked: %s", verdict.Operations, verdict.Result)
	if verdict.Result != porcupine.Ok {
		path := artifact(t, "history.html")
		if err := verdict.Draw(path); err != nil {
			t.Error(err)
		}
		t.Errorf("no order of the operations explains the answers (%s); see %s", verdict.Result, path)
	}
	for request, runs := range k.Started() {
		for _, run := range runs {
			if run != runs[0] {
				t.Errorf("%s was answered with %s and %s", request, runs[0], run)
			}
		}
	}
	report := watchers.Finish(within(t, time.Minute), c.Replicas[0].Conn)
	t.Log(report)
	for i, finding := range report.Findings {
		if i < 20 {
			t.Error(finding)
		}
	}
	return answered
}

// badLinks makes the network bad, one link at a time, until ctx ends.
func badLinks(ctx context.Context, c *cluster.Cluster, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 5))
	kinds := []netfault.Fault{
		{Kind: netfault.Drop},
		{Kind: netfault.Slow, Delay: 50 * time.Millisecond},
		{Kind: netfault.Hole},
		{Kind: netfault.Deaf},
		{Kind: netfault.Mute},
		{Kind: netfault.Reset},
		{Kind: netfault.Cut, Bytes: 3000},
	}
	for ctx.Err() == nil {
		all := c.Proxies()
		p := all[random.IntN(len(all))]
		p.Set(kinds[random.IntN(len(kinds))])
		rest(ctx, time.Duration(500+random.IntN(3500))*time.Millisecond)
		p.Lift()
		rest(ctx, time.Duration(200+random.IntN(1000))*time.Millisecond)
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
