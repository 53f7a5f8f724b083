package etcdnode

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// firstKeepAlive is how long a lease is waited for when it is kept alive for the first time, as in v3client.
const firstKeepAlive = time.Second

// newClient returns etcd's in-process client with a gate before keys, leases and maintenance. Watches need none: they
// end with the client. Members and users are left as they are.
func newClient(server *etcdserver.EtcdServer, g *gate) *clientv3.Client {
	client := v3client.New(server)
	_ = client.Lease.Close() // has not begun anything yet

	kv := &kvServer{KVServer: v3rpc.NewQuotaKVServer(server), gate: g}
	client.KV = clientv3.NewKVFromKVClient(adapter.KvServerToKvClient(kv), client)
	lease := &leaseServer{LeaseServer: v3rpc.NewQuotaLeaseServer(server), gate: g}
	client.Lease = clientv3.NewLeaseFromLeaseClient(adapter.LeaseServerToLeaseClient(lease), client, firstKeepAlive)
	maintenance := &maintenanceServer{MaintenanceServer: v3rpc.NewMaintenanceServer(server, nil), gate: g, etcd: server}
	client.Maintenance = clientv3.NewMaintenanceFromMaintenanceClient(
		adapter.MaintenanceServerToMaintenanceClient(maintenance), client)
	return client
}

type kvServer struct {
	pb.KVServer
	gate *gate
}

func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return pass(ctx, s.gate, r, s.KVServer.Range)
}

func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	return pass(ctx, s.gate, r, s.KVServer.Put)
}

func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	return pass(ctx, s.gate, r, s.KVServer.DeleteRange)
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	return pass(ctx, s.gate, r, s.KVServer.Txn)
}

func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	return pass(ctx, s.gate, r, s.KVServer.Compact)
}

type leaseServer struct {
	pb.LeaseServer
	gate *gate
}

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return pass(ctx, s.gate, r, s.LeaseServer.LeaseGrant)
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return pass(ctx, s.gate, r, s.LeaseServer.LeaseRevoke)
}

func (s *leaseServer) LeaseTimeToLive(
	ctx context.Context, r *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	return pass(ctx, s.gate, r, s.LeaseServer.LeaseTimeToLive)
}

func (s *leaseServer) LeaseLeases(ctx context.Context, r *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	return pass(ctx, s.gate, r, s.LeaseServer.LeaseLeases)
}

func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	return s.LeaseServer.LeaseKeepAlive(&keepAliveStream{BidiStreamingServer: stream, gate: s.gate})
}

// keepAliveStream stops renewing when the gate is shut.
type keepAliveStream struct {
	grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]
	gate *gate
}

// Recv receives the next renewal.
func (s *keepAliveStream) Recv() (*pb.LeaseKeepAliveRequest, error) {
	request, err := s.BidiStreamingServer.Recv()
	if err != nil {
		return nil, err
	}
	if gone := s.gate.gone(); gone != nil {
		// The client renews for ever while the answer is Unavailable.
		return nil, &goneError{cause: gone.cause, code: codes.FailedPrecondition}
	}
	return request, nil
}

type maintenanceServer struct {
	pb.MaintenanceServer
	gate *gate
	etcd *etcdserver.EtcdServer
}

func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.Alarm)
}

func (s *maintenanceServer) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.Status)
}

// Defragment doesn't go through etcd's maintenance server: that one informs a health server, which there is none of in
// process, and crashes.
func (s *maintenanceServer) Defragment(ctx context.Context, r *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	return pass(ctx, s.gate, r, func(context.Context, *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
		if err := s.etcd.Defragment(); err != nil {
			return nil, err
		}
		return &pb.DefragmentResponse{}, nil
	})
}

func (s *maintenanceServer) Hash(ctx context.Context, r *pb.HashRequest) (*pb.HashResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.Hash)
}

func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.HashKV)
}

func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.MoveLeader)
}

func (s *maintenanceServer) Downgrade(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	return pass(ctx, s.gate, r, s.MaintenanceServer.Downgrade)
}

func (s *maintenanceServer) Snapshot(r *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	err := s.MaintenanceServer.Snapshot(r, &snapshotStream{ServerStreamingServer: stream, gate: s.gate})
	if gone := s.gate.gone(); err != nil && gone != nil {
		return gone
	}
	return err
}

// snapshotStream breaks a snapshot off when the gate is shut: while it is being read, etcd can't close its database.
type snapshotStream struct {
	grpc.ServerStreamingServer[pb.SnapshotResponse]
	gate *gate
}

// Send sends the next piece.
func (s *snapshotStream) Send(piece *pb.SnapshotResponse) error {
	if err := s.gate.check(); err != nil {
		return err
	}
	return s.ServerStreamingServer.Send(piece)
}
