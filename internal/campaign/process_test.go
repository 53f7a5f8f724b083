package campaign

import (
	"context"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
	"github.com/jurymast/jurymast/internal/campaign/nemesis"
	"github.com/jurymast/jurymast/internal/campaign/sink"
	"github.com/jurymast/jurymast/internal/campaign/traffic"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// judgeTraffic heals and settles everything, and judges what came of the traffic.
func judgeTraffic(t *testing.T, c *cluster.Cluster, d *traffic.Driver, s *sink.Sink) *traffic.Report {
	t.Helper()
	if err := c.Heal(within(t, 3*time.Minute)); err != nil {
		t.Fatal(err)
	}
	ledger := d.Finish()
	ctx := within(t, 5*time.Minute)
	if err := traffic.Settle(ctx, c.Replicas[0].Conn); err != nil {
		t.Error(err)
	}
	report, err := traffic.Judge(ctx, traffic.Case{Conn: c.Replicas[0].Conn, Ledger: ledger, Shown: s.Shown()})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for i, f := range report.Findings {
		if i == 20 {
			t.Errorf("and %d more", len(report.Findings)-i)
			break
		}
		t.Error(f)
	}
	return report
}

// judgeTakeovers compares how long runs stood still with the bound: session TTL + 1 s. Twice that is a failure, so that a
// loaded machine is none; the figures are printed beside it.
func judgeTakeovers(t *testing.T, c *cluster.Cluster, n *nemesis.Nemesis, report *traffic.Report) nemesis.Takeovers {
	t.Helper()
	took := nemesis.Measure(n.Troubles(), func(run string) []*jv1.RunEvent { return report.Runs[run].Events })
	bound := c.SessionTTL() + time.Second
	t.Logf("take-over with nothing else wrong: %s; bound %v", nemesis.Summary(took.Calm), bound)
	t.Logf("take-over in other trouble: %s; bound %v, an election and a TTL for each change of etcd's leader", nemesis.Summary(took.Rough), bound)
	if worst := nemesis.Quantile(took.Calm, 0.99); worst > 2*bound {
		t.Errorf("p99 of the take-over is %v, the bound %v", worst, bound)
	}
	return took
}

// Campaign C3, the share of every test run: one replica is killed while runs come in through all of them, and everything
// that was accepted comes to its end exactly once, soon.
func TestAReplicaIsKilled(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	c, s := startCluster(t, cluster.Options{SessionTTL: 3 * time.Second}), startSink(t)
	const services = 12
	if err := traffic.Install(within(t, time.Minute), c.Replicas[0].Conn, services, s.URL()); err != nil {
		t.Fatal(err)
	}
	d := traffic.Drive(traffic.Options{Conns: c.Conns(), Services: services, Every: 60 * time.Millisecond, Seed: seed})
	waitFor(t, "traffic", func() bool { return d.Accepted() >= 15 })
	n := nemesis.New(nemesis.Options{Cluster: c, Seed: seed, Logf: t.Logf})
	victim := int(seed % 3)
	if err := n.Strike(c.Replicas[victim], c.Replicas[(victim+1)%3].Conn, nemesis.Kill, c.SessionTTL()+time.Second); err != nil {
		t.Fatal(err)
	}
	report := judgeTraffic(t, c, d, s)
	took := judgeTakeovers(t, c, n, report)
	if report.Accepted < 30 || len(took.Calm) == 0 {
		t.Errorf("%d runs accepted and %d taken over: too little traffic to prove anything", report.Accepted, len(took.Calm))
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
