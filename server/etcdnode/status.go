package etcdnode

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/server/telemetry"
)

// Status is what a member knows about itself, read from memory.
type Status struct {
	// Member is this member's id.
	Member uint64
	// ClusterID tells installations apart.
	ClusterID uint64
	// Leader is the id of the member that leads, 0 when none is known: then nothing can be written.
	Leader uint64
	// Size is the size of the database file, in bytes. It is what the quota counts.
	Size int64
	// InUse is the size of its live pages, in bytes.
	InUse int64
	// Quota is the size at which the database refuses to grow, in bytes.
	Quota int64
	// NoSpace says that the NOSPACE alarm is raised.
	NoSpace bool
	// Corrupt says that the CORRUPT alarm is raised.
	Corrupt bool
}

// Status never waits for the cluster.
func (n *Node) Status() Status {
	server := n.etcd.Server
	s := Status{
		Member:    uint64(server.MemberID()),
		ClusterID: uint64(server.Cluster().ID()),
		Leader:    uint64(server.Leader()),
		Size:      server.Backend().Size(),
		InUse:     server.Backend().SizeInUse(),
		Quota:     n.options.QuotaBytes,
	}
	for _, alarm := range server.Alarms() {
		switch alarm.Alarm {
		case etcdserverpb.AlarmType_NOSPACE:
			s.NoSpace = true
		case etcdserverpb.AlarmType_CORRUPT:
			s.Corrupt = true
		case etcdserverpb.AlarmType_NONE:
		}
	}
	return s
}

// Space measures what decides about further writes. It is cheap enough to be called every second, not for every write.
// After the end of the node it returns ErrClosed.
func (n *Node) Space() (Space, error) {
	if err := n.gate.check(); err != nil {
		return Space{}, err
	}
	free, err := FreeDisk(n.options.DataDir)
	if err != nil {
		return Space{}, err
	}
	s := n.Status()
	return Space{DiskFree: free, InUse: s.InUse, Quota: s.Quota, NoSpace: s.NoSpace, Corrupt: s.Corrupt}, nil
}

// Reclaim gives unused space back and ends a NOSPACE alarm: it drops all old revisions, so that watchers that lag behind must list
// again, rewrites the database, during which this member serves nobody, and disarms the alarm if the database is then
// below its quota. It is an operator's decision, for after something has been deleted. It returns the bytes won.
func (n *Node) Reclaim(ctx context.Context) (int64, error) {
	before := n.Status().Size
	answer, err := n.client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("reading the newest revision: %w", err)
	}
	revision := answer.Header.Revision
	if _, err := n.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, fmt.Errorf("dropping revisions before %d: %w", revision, err)
	}
	if _, err := n.client.Defragment(ctx, n.Endpoint()); err != nil {
		return 0, fmt.Errorf("rewriting the database: %w", err)
	}
	after := n.Status()
	won := before - after.Size
	if after.NoSpace && after.Size < after.Quota {
		if _, err := n.client.AlarmDisarm(ctx, &clientv3.AlarmMember{
			MemberID: after.Member,
			Alarm:    etcdserverpb.AlarmType_NOSPACE,
		}); err != nil {
			return won, fmt.Errorf("disarming the NOSPACE alarm: %w", err)
		}
	}
	n.log.Info("database rewritten", telemetry.KeyRevision, revision, telemetry.KeyBytes, won)
	return won, nil
}
