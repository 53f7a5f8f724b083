package etcdnode

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

const (
	// singlePeer is what a single member calls itself. Nobody listens there and nobody calls: etcd wants a name.
	singlePeer = "http://127.0.0.1:2380"

	// snapshotEvery is the number of transactions after which a single member writes a snapshot and may forget its log;
	// what is younger is replayed at the next start, so it bounds the log that is kept and the time to be ready.
	snapshotEvery = 2500
	// singleCatchUp is the number of log entries a single member keeps in memory. They are meant for followers that lag
	// behind, of which there are none, but raft itself reads what it has replayed and not yet ticked off, and panics
	// when etcd has forgotten it already: it must exceed whatever a start may replay.
	singleCatchUp = 2 * snapshotEvery

	// keptSnapshots and keptLogs are the numbers of old files etcd keeps. A log file holds 64 MB.
	keptSnapshots = 3
	keptLogs      = 3

	// defragAtStartMB lets etcd rewrite its database before it serves anybody when that many megabytes would be won.
	// The quota counts the file, not its contents, and at any later time rewriting would block the member.
	defragAtStartMB = 512

	// slowRequest is when etcd warns about a request.
	slowRequest = 500 * time.Millisecond
)

// config translates the options into etcd's words. Without a socket the member serves nobody but its own process.
func config(o Options, socket string, logger *zap.Logger) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name = o.Name
	c.Dir = o.DataDir
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	c.LogLevel = zap.WarnLevel.String()

	c.QuotaBackendBytes = o.QuotaBytes
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = o.Compaction.String()
	c.MaxSnapFiles = keptSnapshots
	c.MaxWalFiles = keptLogs
	c.BootstrapDefragThresholdMegabytes = defragAtStartMB
	c.UnsafeNoFsync = o.UnsafeNoFsync
	c.WarningApplyDuration = slowRequest
	c.WarningUnaryRequestDuration = slowRequest

	// The client socket serves etcdctl and in-process members of tests; JSON over it is nobody's need.
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil
	if socket != "" {
		clients := url.URL{Scheme: "unix", Path: socket}
		c.ListenClientUrls = []url.URL{clients}
		c.AdvertiseClientUrls = []url.URL{clients}
	}
	c.EnableGRPCGateway = false

	gate, ok := c.ServerFeatureGate.(featuregate.MutableFeatureGate)
	if !ok {
		return nil, fmt.Errorf("etcd's feature gate is a %T, which can't be set", c.ServerFeatureGate)
	}
	if err := gate.SetFromMap(map[string]bool{
		string(features.InitialCorruptCheck): true,
		string(features.CompactHashCheck):    true,
	}); err != nil {
		return nil, fmt.Errorf("switching on etcd's corruption checks: %w", err)
	}

	if o.Cluster == nil {
		return c, single(c)
	}
	return c, member(c, o)
}

func single(c *embed.Config) error {
	advertised, err := peerURL(singlePeer)
	if err != nil {
		return err
	}
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{*advertised}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// Read only when the directory is new. A random token gives each installation its own cluster id, by which a
	// cursor or a backup of another one is recognised.
	c.InitialClusterToken = "jurymast-" + rand.Text()
	c.SnapshotCount = snapshotEvery
	c.SnapshotCatchUpEntries = singleCatchUp
	setTicks(c, singleTick, singleElection)
	return nil
}

func member(c *embed.Config, o Options) error {
	advertised, err := peerURL(o.Cluster.Members[o.Name])
	if err != nil {
		return err
	}
	listen, err := peerURL(o.Cluster.listenPeer(o.Name))
	if err != nil {
		return err
	}
	c.ListenPeerUrls = []url.URL{*listen}
	c.AdvertisePeerUrls = []url.URL{*advertised}
	members := make([]string, 0, len(o.Cluster.Members))
	for name, address := range o.Cluster.Members {
		members = append(members, name+"="+address)
	}
	sort.Strings(members)
	c.InitialCluster = strings.Join(members, ",")
	c.InitialClusterToken = o.Cluster.Token
	setTicks(c, clusterTick, clusterElection)
	return nil
}

func setTicks(c *embed.Config, tick, election time.Duration) {
	c.TickMs = uint(tick.Milliseconds())
	c.ElectionMs = uint(election.Milliseconds())
}

// initialised reports whether a data directory holds a member already.
func initialised(dataDir string) bool {
	return wal.Exist(filepath.Join(dataDir, memberDir, "wal"))
}
