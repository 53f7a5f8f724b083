package campaign

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/traffic"
)

// clock is a server's clock that can be wrong.
type clock struct{ wrong atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.wrong.Load())) }

func (c *clock) set(wrong time.Duration) { c.wrong.Store(int64(wrong)) }

// swing lets the clock be wrong by turns for a while.
func (c *clock) swing(by, every, lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		c.set(by)
		time.Sleep(every)
		c.set(-by)
		time.Sleep(every)
	}
}

// clockKind makes the clock wrong for a while, and says where it ends. What is written while a clock is ahead holds by
// what it said: a wait that began then ends when the clock has got there.
type clockKind struct {
	raise func(*clock)
	ends  time.Duration
}

// clockKinds are the kinds of the table.
func clockKinds() map[string]clockKind {
	stand := func(wrong time.Duration) func(*clock) {
		return func(c *clock) {
			c.set(wrong)
			time.Sleep(2 * time.Second)
		}
	}
	swing := func(by, every time.Duration) func(*clock) {
		return func(c *clock) { c.swing(by, every, 2*time.Second) }
	}
	return map[string]clockKind{
		"clock-forward": {stand(time.Hour), time.Hour},
		"clock-back":    {stand(-time.Hour), 0},
		"clock-step":    {swing(15*time.Second, 300*time.Millisecond), 15 * time.Second},
		"clock-strobe":  {swing(30*time.Minute, 10*time.Millisecond), 30 * time.Minute},
	}
}

// Campaign C4, clocks: whatever the clock of the server does while runs are started and under way, once it has passed every
// time that was written every run comes to its end, and each of its steps was done once.
func TestKindsOfFaultsOfClocks(t *testing.T) {
	for name, kind := range clockKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := seed(t)
			c, s := &clock{}, startSink(t)
			conn := startServer(t, c.now)
			const services = 8
			if err := traffic.Install(within(t, time.Minute), conn, services, s.URL()); err != nil {
				t.Fatal(err)
			}
			d := traffic.Drive(traffic.Options{Conns: conns(conn), Services: services, Every: 40 * time.Millisecond, Seed: seed})
			waitFor(t, "traffic", func() bool { return d.Accepted() >= 5 })
			before := d.Accepted()
			kind.raise(c)
			if d.Accepted() == before {
				t.Error("nothing was accepted while the clock was wrong")
			}
			c.set(kind.ends)
			after := d.Accepted()
			waitFor(t, "traffic after it", func() bool { return d.Accepted() > after })
			ledger := d.Finish()
			// What slept for too long is woken by any fact about its service, e.g. an operator's word, or by the sweep.
			if err := traffic.Install(within(t, time.Minute), conn, services, s.URL()); err != nil {
				t.Fatal(err)
			}
			if err := traffic.Settle(within(t, time.Minute), conn); err != nil {
				t.Error(err)
			}
			report, err := traffic.Judge(within(t, time.Minute), traffic.Case{Conn: conn, Ledger: ledger, Shown: s.Shown()})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(report)
			for _, finding := range report.Findings {
				t.Error(finding)
			}
			if report.Succeeded < 8 {
				t.Errorf("%d runs succeeded: too little to prove anything", report.Succeeded)
			}
		})
	}
}
