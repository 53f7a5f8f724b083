package client

import (
	"context"
	"maps"
	"slices"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	reportTimeout  = 5 * time.Second
	reportRetry    = 2 * time.Second
	reportFallback = 30 * time.Second // when the server doesn't say how long a report counts
	reportAtMost   = 256              // of ReportInForceRequest.epochs
)

// report says what is in force: at once when the application was told of another epoch, and again before the server
// forgets it, until ctx ends.
func (c *Client) report(ctx context.Context, api jv1.ContinuityServiceClient) {
	var reported map[string]int64
	again := time.NewTimer(0)
	defer again.Stop()
	quiet := false
	for due := false; ; due = false {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			due = true
		case <-c.teller.fresh:
		}
		epochs := c.teller.epochs()
		if len(epochs) == 0 || !due && maps.Equal(epochs, reported) {
			if due {
				again.Reset(reportFallback)
			}
			continue
		}
		validFor, err := c.reportOnce(ctx, api, epochs)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !quiet {
				c.log.Warn("can't report what is in force", "error", err)
			}
			quiet, reported = true, nil
			again.Reset(reportRetry)
		default:
			quiet, reported = false, epochs
			again.Reset(validFor / 2)
		}
	}
}

// reportOnce sends one report, in as many calls as it needs, and returns how long it counts.
func (c *Client) reportOnce(ctx context.Context, api jv1.ContinuityServiceClient, epochs map[string]int64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	validFor, subscriber := reportFallback, c.o.Subscriber
	for services := range slices.Chunk(slices.Sorted(maps.Keys(epochs)), reportAtMost) {
		part := make(map[string]int64, len(services))
		for _, s := range services {
			part[s] = epochs[s]
		}
		res, err := api.ReportInForce(ctx, &jv1.ReportInForceRequest{Subscriber: subscriber, Epochs: part})
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
