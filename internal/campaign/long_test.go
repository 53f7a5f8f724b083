//go:build campaign

package campaign

import (
	"context"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/nemesis"
	"github.com/jurymast/jurymast/internal/campaign/traffic"
)

// Campaign C3: replicas and members of etcd are killed, paused and stopped at random while runs are started at a steady
// rate. Two minutes, or as long as JURYMAST_FOR says; with -short 12 seconds.
func TestProcessesDie(t *testing.T) {
	seed, lasts := seed(t), length(t, 2*time.Minute)
	if testing.Short() {
		lasts = 12 * time.Second
	}
	c := startCluster(t, cluster.Options{SessionTTL: 5 * time.Second, Fsync: true})
	s := startSink(t)
	const services = 30
	if err := traffic.Install(within(t, 2*time.Minute), c.Replicas[0].Conn, services, s.URL()); err != nil {
		t.Fatal(err)
	}
	d := traffic.Drive(traffic.Options{Conns: c.Conns(), Services: services, Every: 80 * time.Millisecond, Seed: seed})
	waitFor(t, "traffic", func() bool { return d.Accepted() >= 20 })
	n := nemesis.New(nemesis.Options{Cluster: c, Seed: seed, Logf: t.Logf})
	raging, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	if err := n.Rage(raging); err != nil {
		t.Fatal(err)
	}
	report := judgeTraffic(t, c, d, s)
	took := judgeTakeovers(t, c, n, report)
	count := map[nemesis.Act]int{}
	for _, trouble := range n.Troubles() {
		count[trouble.Act]++
	}
	t.Logf("%v: %d kills, %d pauses, %d stops", lasts, count[nemesis.Kill], count[nemesis.Pause], count[nemesis.Stop])
	if least := int(lasts.Seconds()); report.Accepted < least || len(n.Troubles()) < 1+int(lasts/(20*time.Second)) {
		t.Errorf("%d runs accepted in %v and %d troubles: too little to prove anything", report.Accepted, lasts, len(n.Troubles()))
	}
	if lasts > time.Minute && len(took.Calm)+len(took.Rough) == 0 {
		t.Error("no run was taken over")
	}
}
