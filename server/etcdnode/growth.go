package etcdnode

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// growthShare is the part of the quota by which live data may grow before old revisions are dropped early.
	growthShare = 64
	// compactTime bounds one early compaction.
	compactTime = 30 * time.Second
)

// growth decides when old revisions are dropped before Options.Compaction has passed: a burst of writes would else fill
// the quota with history within the hour. What a watcher needs that is one check behind is kept.
type growth struct {
	step  int64 // bytes of growth that are too much
	floor int64 // least bytes in use that were seen since the last compaction
	past  int64 // revision at the last check
	last  int64 // revision of the last compaction
}

// due takes what a check saw and returns the revision to compact at, or 0.
func (g *growth) due(inUse, revision int64) int64 {
	past := g.past
	g.past = revision
	if g.floor == 0 || inUse < g.floor {
		g.floor = inUse
	}
	if inUse-g.floor < g.step || past <= g.last {
		return 0
	}
	// Pages come free some time after the compaction; until they do, what is in use now is the measure.
	g.floor, g.last = inUse, past
	return past
}

// watchGrowth compacts early whenever it is due, until the node ends.
func (n *Node) watchGrowth() {
	g := growth{step: n.options.QuotaBytes / growthShare}
	tick := time.NewTicker(n.options.GrowthCheck)
	defer tick.Stop()
	for {
		select {
		case <-n.closing:
			return
		case <-n.done:
			return
		case <-tick.C:
		}
		revision := g.due(n.etcd.Server.Backend().SizeInUse(), n.etcd.Server.KV().Rev())
		if revision == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), compactTime)
		_, err := n.client.Compact(ctx, revision)
		cancel()
		switch {
		case err == nil:
			n.log.Info("old revisions dropped early, because much was written", telemetry.KeyRevision, revision)
		case !errors.Is(err, rpctypes.ErrCompacted) && !closed(n.closing) && !closed(n.done):
			n.log.Warn("can't drop old revisions", telemetry.KeyRevision, revision, telemetry.KeyError, err)
		}
	}
}
