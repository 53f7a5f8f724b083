//go:build campaign

package campaign

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/linear"
	"github.com/jurymast/jurymast/internal/campaign/nemesis"
)

// Campaigns C5 and C6: clients contend for services through three replicas while processes die, links are bad, and the
// history of etcd is dropped every second. One order explains all answers, and no stream goes back or leaves anything out.
// One minute, or as long as JURYMAST_FOR says, in rounds of one minute; with -short 10 seconds.
func TestOneOrderExplainsAllAnswers(t *testing.T) {
	seed, lasts, round := seed(t), length(t, time.Minute), time.Minute
	if testing.Short() {
		lasts, round = 10*time.Second, 10*time.Second
	}
	for at := uint64(0); lasts > 0; at, lasts = at+1, lasts-round {
		t.Logf("round %d", at)
		c := startCluster(t, cluster.Options{SessionTTL: 5 * time.Second})
		n := nemesis.New(nemesis.Options{Cluster: c, Seed: seed + at, Logf: t.Logf})
		answered := contest(t, c, seed+at, 9, func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, min(lasts, round))
			defer cancel()
			var trouble sync.WaitGroup
			trouble.Go(func() { badLinks(ctx, c, seed+at) })
			trouble.Go(func() { compactEverySecond(ctx, t, c) })
			if err := n.Rage(ctx); err != nil {
				t.Error(err)
			}
			trouble.Wait()
		})
		enough(t, answered, int(min(lasts, round)/time.Second))
		if t.Failed() {
			return
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// enough fails a contest with too few successes a second.
func enough(t *testing.T, answered map[linear.Kind]int, seconds int) {
	t.Helper()
	for kind, least := range map[linear.Kind]int{
		linear.Read: seconds, linear.Switch: seconds / 2, linear.Queue: seconds / 4, linear.Undo: seconds / 30, linear.Start: seconds / 3,
		linear.Pause: seconds / 30, linear.Resume: seconds / 60, linear.Cancel: seconds / 4,
	} {
		if answered[kind] < least {
			t.Errorf("%d times %v, want %d: too few to prove anything", answered[kind], kind, least)
		}
	}
}

func compactEverySecond(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	for ctx.Err() == nil {
		rest(ctx, time.Second)
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		if err := c.Compact(asking); err != nil {
			t.Logf("compaction has to wait: %v", err)
		}
		cancel()
	}
}
