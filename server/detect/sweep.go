package detect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// How often expired reports are removed, and how long they are kept for de-duplication.
const (
	sweepEvery    = 10 * time.Minute
	keepExpired   = 24 * time.Hour
	sweepsAtOnce  = 40
	sweepDeadline = 10 * time.Second
)

// sweep removes reports that expired long ago, until ctx ends.
func (d *Detect) sweep(ctx context.Context) error {
	for wait(ctx, sweepEvery/2+rand.N(sweepEvery)) {
		err := d.sweepOnce(ctx)
		switch {
		case errors.Is(err, store.ErrClosed) && ctx.Err() == nil:
			return fmt.Errorf("sweep reports: %w", err)
		case err != nil && ctx.Err() == nil:
			d.log.Warn("expired reports stay for now", telemetry.KeyError, err)
		}
	}
	return nil
}

func (d *Detect) sweepOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepDeadline)
	defer cancel()
	before := d.opts.Now().Add(-keepExpired)
	var old []store.Record[*recordv1.Report]
	d.opts.Store.Read(func(v store.View) {
		for _, r := range store.List[*recordv1.Report](v, store.Reports) {
			if !unexpired(r.Msg.GetSignal(), before) {
				old = append(old, r)
			}
		}
	})
	for some := range slices.Chunk(old, sweepsAtOnce) {
		var txn store.Txn
		for _, r := range some {
			txn.If = append(txn.If, store.Unchanged(r.Key, r.Mod))
			txn.Then = append(txn.Then, store.Delete(r.Key))
		}
		if _, err := d.opts.Store.Commit(ctx, txn); err != nil {
			return err
		}
	}
	return nil
}
