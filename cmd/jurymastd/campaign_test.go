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
