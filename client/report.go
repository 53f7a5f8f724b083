package client

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	reportTimeout  = 5 * time.Second
	reportRetry    = 2 * time.Second
	reportFallback = 30 * time.Second // when the server doesn't say how long a report counts
	reportAtMost   = 256              // of ReportInForceRequest.epochs
	drainLook      = 2 * time.Second  // how often the application is asked for its queues while they drain
)

// inForce is what a report says.
type inForce struct {
	epochs map[string]taken
	queues map[string]*jv1.QueueStatus
}

func (c *Client) inForce() inForce {
	f := inForce{epochs: c.teller.epochs()}
	if c.o.Queues != nil && len(f.epochs) > 0 {
		f.queues = map[string]*jv1.QueueStatus{}
		for service, q := range c.o.Queues() {
			if q != nil {
				f.queues[service] = proto.CloneOf(q)
			}
		}
	}
	return f
}

func (f inForce) equal(other inForce) bool {
	return maps.Equal(f.epochs, other.epochs) &&
		maps.EqualFunc(f.queues, other.queues, func(a, b *jv1.QueueStatus) bool { return proto.Equal(a, b) })
}

// pace is how long until the application is asked again although nothing was told.
func (c *Client) pace() time.Duration {
	if c.o.Queues != nil {
		for _, e := range c.known() {
			if e.state.GetDrain() != nil {
				return drainLook
			}
		}
	}
	return math.MaxInt64
}

// report says what is in force: at once when the application was told of another epoch, and again before the server
// forgets it, until ctx ends.
func (c *Client) report(ctx context.Context, api jv1.ContinuityServiceClient) {
	var reported inForce
	var next time.Time // when a report is due, whatever it says
	again := time.NewTimer(0)
	defer again.Stop()
	quiet := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-c.teller.fresh:
		}
		now := c.inForce()
		due := !time.Now().Before(next)
		switch {
		case len(now.epochs) == 0:
			again.Reset(reportFallback)
			continue
		case !due && now.equal(reported):
			again.Reset(min(time.Until(next), c.pace()))
			continue
		}
		validFor, err := c.reportOnce(ctx, api, now)
		wait := reportRetry
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !quiet {
				c.log.Warn("can't report what is in force", "error", err)
			}
			quiet, reported = true, inForce{}
		default:
			quiet, reported = false, now
			wait = validFor / 2
		}
		next = time.Now().Add(wait)
		again.Reset(min(wait, c.pace()))
	}
}

// reportOnce sends one report, in as many calls as it needs, and returns how long it counts.
func (c *Client) reportOnce(ctx context.Context, api jv1.ContinuityServiceClient, f inForce) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	validFor, subscriber := reportFallback, c.o.Subscriber
	for _, part := range f.parts() {
		part.Subscriber = subscriber
		res, err := api.ReportInForce(ctx, part)
		if err != nil {
			return 0, err
		}
		if d := res.GetValidFor().AsDuration(); d > 0 {
			validFor = d
		}
		subscriber += "+" // a report replaces the last one of its subscriber
	}
	return validFor, nil
}

// parts splits a report into requests: one speaks of one life of the store, and of so many services at most.
func (f inForce) parts() []*jv1.ReportInForceRequest {
	byLife := map[string][]string{}
	for _, service := range slices.Sorted(maps.Keys(f.epochs)) {
		life := f.epochs[service].life
		byLife[life] = append(byLife[life], service)
	}
	var out []*jv1.ReportInForceRequest
	for _, life := range slices.Sorted(maps.Keys(byLife)) {
		for services := range slices.Chunk(byLife[life], reportAtMost) {
			part := &jv1.ReportInForceRequest{Epochs: map[string]int64{}, RestoreEpoch: life, Queues: map[string]*jv1.QueueStatus{}}
			for _, s := range services {
				part.Epochs[s] = f.epochs[s].epoch
				if q := f.queues[s]; q != nil {
					part.Queues[s] = q
				}
			}
			out = append(out, part)
		}
	}
	return out
}
