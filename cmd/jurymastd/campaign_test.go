//go:build campaign

package main

import "testing"

// Campaign C3 on one node: kill -9 of the real daemon at random moments. With -short a share of it.
func TestKillTheDaemonForLong(t *testing.T) {
	kills := 500
	if testing.Short() {
		kills = 20
	}
	killCampaign(t, kills)
}

// The endurance campaign: a hundred thousand runs of four steps on one node, with the default retention. With -short a
// share of it.
func TestAHundredThousandRuns(t *testing.T) {
	count := int64(100_000)
	if testing.Short() {
		count = 3_000
	}
	most, _ := endure(t, count)
	if most.rss > 250<<20 {
		t.Errorf("%d MiB of memory, at most 250 are promised", most.rss>>20)
	}
	if most.database > 1<<30 {
		t.Errorf("a database of %d MiB, half of its quota", most.database>>20)
	}
}
