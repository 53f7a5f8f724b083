package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// spaceEvery is how often the space that is left is measured.
const spaceEvery = time.Second

// roomy is a backend that refuses writes while there is too little space for them: etcd itself would accept them until
// its log can't be written, and then end (protocol P14). What only deletes, or only asks, passes.
type roomy struct {
	store.Backend
	verdict atomic.Pointer[etcdnode.SpaceVerdict]
}

func newRoomy(b store.Backend) *roomy {
	r := &roomy{Backend: b}
	r.set(etcdnode.SpaceOK)
	return r
}

func (r *roomy) set(v etcdnode.SpaceVerdict) { r.verdict.Store(&v) }

// Commit implements [store.Backend].
func (r *roomy) Commit(ctx context.Context, txn store.Txn) (store.Result, error) {
	v := *r.verdict.Load()
	if grows(txn) && (!v.AllowsState() || declares(txn) && !v.AllowsBulk()) {
		return store.Result{}, fmt.Errorf("refused before it was sent (%s): %w", v, store.ErrNoSpace)
	}
	return r.Backend.Commit(ctx, txn)
}

// RequestProgress passes on what the store asks of a backend that can do it.
func (r *roomy) RequestProgress(ctx context.Context) error {
	if p, ok := r.Backend.(interface {
		RequestProgress(ctx context.Context) error
	}); ok {
		return p.RequestProgress(ctx)
	}
	return nil
}

func grows(txn store.Txn) bool {
	return slices.ContainsFunc(txn.Then, func(op store.Op) bool { return !op.Delete })
}

// declares tells a transaction that stores what an operator declares; when space runs short, the rest of it is kept for
// the state of runs.
func declares(txn store.Txn) bool {
	families := []string{store.Providers, store.Services, store.Detectors, store.Channels, store.Runbooks, store.RunbookRevisions}
	return slices.ContainsFunc(txn.Then, func(op store.Op) bool {
		return !op.Delete && slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(op.Key, f) })
	})
}

// watchSpace keeps the verdict up to date until ctx ends. A measurement that fails leaves the last one in force.
func (r *roomy) watchSpace(ctx context.Context, measure func() (etcdnode.Space, error), log hclog.Logger) error {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		r.look(measure, log)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *roomy) look(measure func() (etcdnode.Space, error), log hclog.Logger) {
	space, err := measure()
	if err != nil {
		log.Warn("can't measure the space that is left", telemetry.KeyError, err)
		return
	}
	before, now := *r.verdict.Load(), space.Judge()
	if before == now {
		return
	}
	r.set(now)
	args := []any{telemetry.KeyReason, now, "disk_free", space.DiskFree, "in_use", space.InUse, "quota", space.Quota}
	switch {
	case !now.AllowsState():
		log.Error("space ran out: nothing more is written until there is some", args...)
	case now == etcdnode.SpaceOK:
		log.Info("there is space again", args...)
	default:
		log.Warn("space runs short", args...)
	}
}
