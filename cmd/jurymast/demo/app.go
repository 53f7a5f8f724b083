package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jurymast/jurymast/client"
)

const (
	// rate of the application's requests.
	rate = 20
	// patience of the application with one request.
	patience = time.Second
)

// app is an application as ours are: it asks the SDK where to send each request, holds requests while queueing is on,
// and sends them when it is off again.
type app struct {
	route func() (client.State, bool)
	bases map[string]string // provider to base URL
	http  *http.Client

	mu       sync.Mutex
	total    int
	failed   int
	held     []time.Time
	answered int
	late     int // held, then answered
	longest  time.Duration
	firstBad time.Time // begin of the first failed request since the last look
	backAt   time.Time // first answer after it
	byName   map[string]int
	wg       sync.WaitGroup
}

func newApp(route func() (client.State, bool), providers ...*provider) *app {
	a := &app{
		route: route, bases: map[string]string{}, byName: map[string]int{},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	for _, p := range providers {
		a.bases[p.name] = p.baseURL()
	}
	return a
}

// run sends requests until ctx ends, then waits for the last answers.
func (a *app) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.wg.Wait()
			return
		case now := <-tick.C:
			a.mu.Lock()
			a.total++
			a.mu.Unlock()
			a.begin(now, false)
			a.release(now)
		}
	}
}

// begin sends a request, or holds it.
func (a *app) begin(now time.Time, wasHeld bool) {
	s, ok := a.route()
	if ok && s.GetQueueing() {
		a.mu.Lock()
		a.held = append(a.held, now)
		a.mu.Unlock()
		return
	}
	a.wg.Go(func() {
		start := time.Now()
		err := fmt.Errorf("no route is known")
		if ok {
			err = a.send(s.GetActiveProvider())
		}
		a.record(s.GetActiveProvider(), start, err, wasHeld)
	})
}

// release sends a few held requests with every new one: the drain must not be a burst.
func (a *app) release(now time.Time) {
	const share = 3
	for range share {
		a.mu.Lock()
		s, ok := a.route()
		if !ok || s.GetQueueing() || len(a.held) == 0 {
			a.mu.Unlock()
			return
		}
		a.held = a.held[1:]
		a.mu.Unlock()
		a.begin(now, true)
	}
}

func (a *app) send(to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body := strings.NewReader(`{"model":"demo","messages":[]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.bases[to]+"/chat/completions", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", to, resp.StatusCode)
	}
	return err
}

func (a *app) record(to string, start time.Time, err error, wasHeld bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.longest = max(a.longest, now.Sub(start))
	if err != nil {
		a.failed++
		if a.firstBad.IsZero() || start.Before(a.firstBad) {
			a.firstBad = start
		}
		return
	}
	a.answered++
	a.byName[to]++
	if wasHeld {
		a.late++
	}
	if !a.firstBad.IsZero() && a.backAt.IsZero() && start.After(a.firstBad) {
		a.backAt = now
	}
}

// counts is what the application saw so far.
type counts struct {
	total, answered, failed, held, late int
	longest                             time.Duration
	outage                              time.Duration // first failed request's begin to the next answer; 0: none
	byName                              map[string]int
}

func (a *app) counts() counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := counts{
		total: a.total, answered: a.answered, failed: a.failed, held: len(a.held), late: a.late, longest: a.longest,
		byName: map[string]int{},
	}
	for k, v := range a.byName {
		c.byName[k] = v
	}
	if !a.backAt.IsZero() {
		c.outage = a.backAt.Sub(a.firstBad)
	}
	return c
}
