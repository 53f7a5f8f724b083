//go:build campaign

package engine_test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

var (
	days    = flag.Int("days", 1000, "virtual time campaign: how many simulated days")
	crashes = flag.Int("crashes", 10_000, "random crash campaign: how many runs")

	seed = flag.Uint64("seed", 1, "first seed of the random campaigns")
)

// Campaign C1, single crashes: every boundary of every ordered pair of ways to use a step kind, as they are and undone,
// and of every runbook we ship, in every mode.
func TestEveryCrashBoundaryOfEveryPairOfKinds(t *testing.T) {
	if testing.Short() {
		t.Skip("its share is TestCrashBoundariesOfPairsOfKinds")
	}
	begin, all := time.Now(), combinations(t)
	visited := crashEach(t, all)
	if visited < 5000 {
		t.Errorf("only %d boundaries were visited", visited)
	}
	t.Logf("%d boundaries of %d runbooks visited in %v", visited, len(all), time.Since(begin).Round(time.Second))
}

// Campaign C2: random runbooks, random crashes, zombies among them. With -short a share of it.
func TestManyRandomCrashes(t *testing.T) {
	count := *crashes
	if testing.Short() {
		count = min(count, 2000)
	}
	begin := time.Now()
	resumed := inParallel(t, count, 500, randomCrashes)
	t.Logf("%d runs, %d resumptions, seeds from %d, %v", count, resumed, *seed, time.Since(begin).Round(time.Second))
}

// Campaign C7: days in virtual time. With -short a share of them.
func TestManyDays(t *testing.T) {
	count := *days
	if testing.Short() {
		count = min(count, 100)
	}
	begin := time.Now()
	inParallel(t, count, 20, func(t *testing.T, first uint64, n int) int {
		for i := 0; i < n && !t.Failed(); i++ {
			aDay(t, first*1000+uint64(i))
		}
		return n
	})
	t.Logf("%d days, seeds from %d, %v", count, *seed, time.Since(begin).Round(time.Second))
}

// inParallel parts count into portions, each a test of its own with a seed, which run side by side, and adds up what they
// return.
func inParallel(t *testing.T, count, portion int, do func(t *testing.T, seed uint64, n int) int) int {
	t.Helper()
	var sum atomic.Int64
	t.Run("portions", func(t *testing.T) {
		for i := 0; i*portion < count; i++ {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				sum.Add(int64(do(t, *seed+uint64(i), min(portion, count-i*portion))))
			})
		}
	})
	return int(sum.Load())
}

// Campaign C1, pairs: the replica that takes over dies as well, at every boundary it has. With -short a share of the
// scenarios is visited.
func TestEveryPairOfCrashBoundaries(t *testing.T) {
	visited := 0
	for i, s := range scenarios() {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			clean, n := s.clean(t)
			for first := 1; first <= n; first++ {
				for second := 1; second <= n+1; second++ {
					for _, a := range []crashMode{before, unacked, zombie} {
						for _, b := range []crashMode{before, unacked, zombie} {
							s.crash(t, clean, boundary{first, a}, boundary{second, b})
							visited++
						}
					}
				}
			}
		})
	}
	t.Logf("%d pairs visited", visited)
}

// Many storms; with -short a share of them.
func TestManyStorms(t *testing.T) {
	last := uint64(600)
	if testing.Short() {
		last = 60
	}
	for seed := uint64(10); seed < last && !t.Failed(); seed++ {
		weather(t, seed)
	}
}
