//go:build campaign

package engine_test

import "testing"

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
