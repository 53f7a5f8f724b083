package store

import (
	"context"
	"fmt"
	"io"
)

// Snapshot returns the database of a member with its hash behind it, consistent at one revision. Of a cluster any member
// may answer, also one that lags behind. The reader is to be closed; it breaks with ctx.
func (e *Etcd) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	resp, err := e.opts.Client.SnapshotWithVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", readError(ctx, err))
	}
	return resp.Snapshot, nil
}
