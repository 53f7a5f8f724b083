package etcdnode

import (
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// DefaultName is the name of a single member.
	DefaultName = "jurymast"
	// DefaultQuotaBytes is the size at which etcd refuses to grow: 2 GiB, etcd's own suggestion.
	DefaultQuotaBytes int64 = 2 << 30
	// DefaultCompaction is how long old revisions are kept for watchers that lag behind.
	DefaultCompaction = time.Hour
	// DefaultGrowthCheck is how often the growth of the database is looked at.
	DefaultGrowthCheck = 10 * time.Second
	// DefaultCloseTimeout bounds Close. A single member closes in milliseconds; a member that leads hands over first.
	DefaultCloseTimeout = 10 * time.Second

	// singleTick and singleElection suit a member that has nobody to disagree with: it is told to stand for election at
	// once, see elect, so that the ticks decide nothing but the shortest lease (one and a half election timeouts,
	// rounded up to a second). Faster ticks would cost processor time all day: 1 to 2.5 % of a core at 10 ms, 0.5 %
	// at 100 ms.
	singleTick     = 100 * time.Millisecond
	singleElection = 500 * time.Millisecond
	// clusterTick and clusterElection are etcd's defaults.
	clusterTick     = 100 * time.Millisecond
	clusterElection = time.Second
)

// Options says how a node is started. Only DataDir is required; see Defaults for the rest.
type Options struct {
	// DataDir holds etcd's log and database, the lock file and the client socket. It is created with mode 0700.
	DataDir string
	// Name is the member's name. A data directory keeps the name it was created with.
	Name string
	// QuotaBytes is the size of the database at which writes are refused with "database space exceeded".
	QuotaBytes int64
	// Compaction is how long old revisions are kept, unless so much is written that they would fill the database.
	Compaction time.Duration
	// GrowthCheck is how often it is looked whether that is so.
	GrowthCheck time.Duration
	// CloseTimeout bounds Close.
	CloseTimeout time.Duration
	// Logger receives etcd's log from level warn upwards. Nil drops it.
	Logger hclog.Logger
	// Cluster is set when the node is one of several members. Nil means a single member, which elects itself at once and
	// listens on no TCP port.
	Cluster *Cluster
	// UnsafeNoFsync lets etcd skip fsync. It is much faster and loses acknowledged writes when the machine, not
	// merely the process, goes down: for tests and throw-away data only.
	UnsafeNoFsync bool
}

// Cluster describes the static members of a cluster, the same for each of them.
type Cluster struct {
	// Members maps each member's name to the http URL on which its peers reach it.
	Members map[string]string
	// Token tells clusters with equal addresses apart.
	Token string
	// ListenPeer is the http URL this member listens on for its peers. Empty means its URL in Members. It must be a
	// loopback address: traffic between members carries no authentication.
	ListenPeer string
}

// Defaults returns the options of a single member with every default filled in.
func Defaults(dataDir string) Options {
	return Options{DataDir: dataDir}.withDefaults()
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.QuotaBytes == 0 {
		o.QuotaBytes = DefaultQuotaBytes
	}
	if o.Compaction == 0 {
		o.Compaction = DefaultCompaction
	}
	if o.GrowthCheck == 0 {
		o.GrowthCheck = DefaultGrowthCheck
	}
	if o.CloseTimeout == 0 {
		o.CloseTimeout = DefaultCloseTimeout
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

// validate refuses what etcd would accept and suffer from later.
func (o Options) validate() error {
	switch {
	case o.DataDir == "":
		return fmt.Errorf("%w: no data directory", ErrOptions)
	case o.QuotaBytes < 0:
		return fmt.Errorf("%w: a quota of %d bytes switches the quota off", ErrOptions, o.QuotaBytes)
	case o.Compaction < time.Second:
		return fmt.Errorf("%w: compaction after %v, want at least 1s", ErrOptions, o.Compaction)
	case o.GrowthCheck < 0:
		return fmt.Errorf("%w: a check of the growth every %v", ErrOptions, o.GrowthCheck)
	case o.CloseTimeout < 0:
		return fmt.Errorf("%w: close timeout %v", ErrOptions, o.CloseTimeout)
	}
	if o.Cluster == nil {
		return nil
	}
	return o.Cluster.validate(o.Name)
}

func (c *Cluster) validate(name string) error {
	if _, ok := c.Members[name]; !ok {
		return fmt.Errorf("%w: member %q is not among the members of its cluster", ErrOptions, name)
	}
	for member, address := range c.Members {
		if _, err := peerURL(address); err != nil {
			return fmt.Errorf("%w: peer address of member %q: %w", ErrOptions, member, err)
		}
	}
	listen, err := peerURL(c.listenPeer(name))
	if err != nil {
		return fmt.Errorf("%w: peer listener: %w", ErrOptions, err)
	}
	if ip := net.ParseIP(listen.Hostname()); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%w: peer listener %s is not on a loopback address", ErrOptions, listen.Host)
	}
	return nil
}

func (c *Cluster) listenPeer(name string) string {
	if c.ListenPeer != "" {
		return c.ListenPeer
	}
	return c.Members[name]
}

func peerURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" || u.Port() == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not of the form http://host:port", raw)
	}
	return u, nil
}
