package detect

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// network knows whether this replica's own network works: a probe that can't get out says nothing about its provider.
// Proof is a canary that answers, or another host that was reached at its last probe. Safe for concurrent use.
type network struct {
	canaries  []string
	transport http.RoundTripper
	now       func() time.Time

	mu    sync.Mutex
	hosts map[string]contact
	asked time.Time // when the canaries answered, or did not
	alive bool
	busy  chan struct{} // closed when the question under way is answered
}

// contact is how the last call to a host went.
type contact struct {
	at      time.Time
	reached bool
	since   time.Time // when it was first not reached, if it was not
}

// canaryTimeout bounds one question to a canary, and canaryFresh says how long its answer holds: many probes fail at
// once when the network does.
const (
	canaryTimeout = 3 * time.Second
	canaryFresh   = 5 * time.Second
	// contactFresh is how long a host that was reached proves anything.
	contactFresh = 2 * time.Minute
)

// reach is what is known of our own network.
type reach uint8

const (
	unsure reach = iota
	up
	down
)

func newNetwork(canaries []string, transport http.RoundTripper, now func() time.Time) *network {
	return &network{canaries: canaries, transport: transport, now: now, hosts: map[string]contact{}}
}

// note takes down how a call to a host went.
func (n *network) note(host string, reached bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := contact{at: n.now(), reached: reached}
	if before, known := n.hosts[host]; !reached {
		c.since = c.at
		if known && !before.reached {
			c.since = before.since
		}
	}
	n.hosts[host] = c
}

// forget drops what is known of a host nobody probes any more.
func (n *network) forget(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, host)
}

// beyond tells whether the network works, as far as it can be told without the host that was not reached. A canary's
// answer decides; without canaries the other hosts do, loopback excepted: one that was reached after this one first was not.
// What was reached before proves nothing, for all of them may have gone at once.
func (n *network) beyond(ctx context.Context, host string) reach {
	if len(n.canaries) > 0 {
		if n.canary(ctx) {
			return up
		}
		return down
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now, others, earlier := n.now(), 0, false
	since := n.hosts[host].since
	for other, c := range n.hosts {
		if other == host || isLoopback(other) || now.Sub(c.at) > contactFresh {
			continue
		}
		switch {
		case c.reached && c.at.After(since):
			return up
		case c.reached:
			earlier = true
		}
		others++
	}
	if others == 0 || earlier {
		return unsure
	}
	return down
}

// canary asks the canaries, unless somebody just did.
func (n *network) canary(ctx context.Context) bool {
	for {
		n.mu.Lock()
		if !n.asked.IsZero() && n.now().Sub(n.asked) < canaryFresh {
			alive := n.alive
			n.mu.Unlock()
			return alive
		}
		if n.busy == nil {
			n.busy = make(chan struct{})
			n.mu.Unlock()
			break
		}
		busy := n.busy
		n.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return false
		}
	}
	alive := n.ask(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked, n.alive = n.now(), alive
	close(n.busy)
	n.busy = nil
	return alive
}

// ask tells whether any canary answers, in whatever way: a refusal comes from somewhere, too.
func (n *network) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), canaryTimeout)
	defer cancel()
	answers := make(chan bool, len(n.canaries))
	for _, url := range n.canaries {
		go func() { answers <- n.askOne(ctx, url) }()
	}
	for range n.canaries {
		select {
		case answer := <-answers:
			if answer {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func (n *network) askOne(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return false
	}
	resp, err := n.transport.RoundTrip(req)
	if err != nil {
		return ctx.Err() == nil && classifyError(err).origin == remote
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10)
	_ = resp.Body.Close()
	return true
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
