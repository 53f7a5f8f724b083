package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jurymast/jurymast/internal/campaign/netfault"
)

// Member is a member of etcd.
type Member struct {
	*Process
	// Peers is what the other members' connections to this one pass through. A fault for one source takes the other
	// member's name.
	Peers *netfault.Proxy
	// DataDir is the member's directory.
	DataDir string

	cluster      *Cluster
	client, peer string // addresses that it listens on itself
	state        string // of the cluster when it is first started: new, or existing
}

// newMember places a member without starting it: its proxy is there, so that the others can be told of it.
func (c *Cluster) newMember(name string) (*Member, error) {
	m := &Member{cluster: c, DataDir: filepath.Join(c.o.Dir, name), state: "new"}
	var err error
	for _, addr := range []*string{&m.client, &m.peer} {
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	m.Peers, err = netfault.Listen(netfault.Options{Target: m.peer, Source: c.memberOf})
	if err != nil {
		return nil, err
	}
	m.Process = &Process{Name: name, path: c.o.Binaries.Member, log: filepath.Join(c.o.Dir, name+".log")}
	return m, nil
}

// memberOf names the member that dialled.
func (c *Cluster) memberOf(dialler net.Addr) string {
	members := c.members()
	pids := make([]int, len(members))
	for i, m := range members {
		pids[i] = m.PID()
	}
	if i := ownerOf(dialler, pids); i >= 0 {
		return members[i].Name
	}
	return ""
}

// Start starts the member on its data, without waiting for it: it is ready only with a quorum.
func (m *Member) Start() error {
	var initial []string
	for _, other := range m.cluster.members() {
		initial = append(initial, other.Name+"=http://"+other.Peers.Addr())
	}
	o := m.cluster.o
	m.args = []string{
		"--name", m.Name, "--data-dir", m.DataDir, "--log-level", "warn",
		"--listen-client-urls", "http://" + m.client, "--advertise-client-urls", "http://" + m.client,
		"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.Peers.Addr(),
		"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-token", filepath.Base(o.Dir),
		"--initial-cluster-state", m.state, "--enable-grpc-gateway=false",
	}
	if o.QuotaBytes > 0 {
		m.args = append(m.args, "--quota-backend-bytes", strconv.FormatInt(o.QuotaBytes, 10))
	}
	if !o.Fsync {
		m.args = append(m.args, "--unsafe-no-fsync")
	}
	return m.begin(nil)
}

// Endpoint is where its clients reach it without a proxy between.
func (m *Member) Endpoint() string { return "http://" + m.client }

// Wait waits until the member serves, which needs a quorum.
func (m *Member) Wait(ctx context.Context) error {
	return poll(ctx, "member "+m.Name+" serves", func(ctx context.Context) error {
		if !m.Running() {
			return fmt.Errorf("%s ended: %s", m.Name, m.Tail(5))
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint()}, DialTimeout: 2 * time.Second})
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.Get(ctx, "health")
		return err
	})
}

// Isolate cuts the member from the others and the others from it, by holes that keep connections; its clients still reach
// it. With false it is lifted.
func (m *Member) Isolate(isolate bool) {
	f := netfault.Fault{}
	if isolate {
		f.Kind = netfault.Hole
	}
	m.Peers.Set(f)
	for _, other := range m.cluster.members() {
		if other != m {
			other.Peers.SetFor(m.Name, f)
		}
	}
}

// Replace removes the member from the cluster for good, wipes its data, and adds a new one under the same name and
// addresses, as an operator does whose machine is gone. It returns when the new one serves.
func (m *Member) Replace(ctx context.Context) error {
	if m.Running() {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	client, err := m.cluster.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	list, err := client.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("replace %s: %w", m.Name, err)
	}
	for _, known := range list.Members {
		if known.Name != m.Name {
			continue
		}
		if err := poll(ctx, "remove member "+m.Name, func(ctx context.Context) error {
			_, err := client.MemberRemove(ctx, known.ID)
			if errors.Is(err, rpctypes.ErrMemberNotFound) {
				return nil // an earlier try was carried out
			}
			return err
		}); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(m.DataDir); err != nil {
		return fmt.Errorf("replace %s: %w", m.Name, err)
	}
	if err := poll(ctx, "add member "+m.Name, func(ctx context.Context) error {
		_, err := client.MemberAdd(ctx, []string{"http://" + m.Peers.Addr()})
		if errors.Is(err, rpctypes.ErrPeerURLExist) {
			return nil // an earlier try was carried out
		}
		return err
	}); err != nil {
		return err
	}
	m.state = "existing"
	if err := m.Start(); err != nil {
		return err
	}
	return m.Wait(ctx)
}
