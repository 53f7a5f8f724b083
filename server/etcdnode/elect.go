package etcdnode

import (
	"context"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3/raftpb"
)

// electEvery is how often a member is told to stand for election until it leads.
const electEvery = 2 * time.Millisecond

// elect tells a single member to stand for election now instead of waiting for a leader that can't exist. It sends the
// message with which a leader hands over, which raft answers with an ordinary election, so nothing rests on it: were
// it ignored, the election timeout would do the same a little later.
func elect(ctx context.Context, server *etcdserver.EtcdServer) {
	self := uint64(server.MemberID())
	again := time.NewTicker(electEvery)
	defer again.Stop()
	for server.Leader() == 0 {
		// raft refuses to stand while it may yet replay a change of its membership.
		if server.AppliedIndex() >= server.CommittedIndex() {
			if err := server.Process(ctx, &raftpb.Message{
				Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self,
			}); err != nil {
				return
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		case <-server.StoppingNotify():
			return
		}
	}
}
