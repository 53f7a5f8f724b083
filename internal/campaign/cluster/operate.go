package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// MoveLeader has the leader hand over to another member.
func (c *Cluster) MoveLeader(ctx context.Context, leader, to int) error {
	status, err := c.Members[to].status(ctx)
	if err != nil {
		return fmt.Errorf("move the leader: ask the next one: %w", err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.Members[leader].Endpoint()}, DialTimeout: 5 * time.Second})
	if err != nil {
		return fmt.Errorf("move the leader: %w", err)
	}
	defer client.Close()
	_, err = client.MoveLeader(ctx, status.Header.GetMemberId())
	if err != nil && !errors.Is(err, rpctypes.ErrNotLeader) { // another one leads by now: moved already
		return fmt.Errorf("move the leader: %w", err)
	}
	return nil
}

// Compact drops all revisions before the newest one.
func (c *Cluster) Compact(ctx context.Context) error {
	client, err := c.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	got, err := client.Get(ctx, "newest")
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if _, err := client.Compact(ctx, got.Header.Revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

// Defragment rewrites the database of every member, one after the other; each serves nobody meanwhile.
func (c *Cluster) Defragment(ctx context.Context) error {
	client, err := c.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	for _, m := range c.Members {
		if _, err := client.Defragment(ctx, m.Endpoint()); err != nil {
			return fmt.Errorf("defragment %s: %w", m.Name, err)
		}
	}
	return nil
}

// junk is where Fill puts what nobody needs, outside of what the product keeps.
const junk = "junk/"

// Fill puts junk until etcd raises its NOSPACE alarm. The quota should be small.
func (c *Cluster) Fill(ctx context.Context) error {
	client, err := c.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	value := strings.Repeat("x", 1<<20)
	for i := 0; ; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("%s%d", junk, i), value)
		switch {
		case errors.Is(err, rpctypes.ErrNoSpace):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fill the database: %d MiB are not enough: %w", i, err)
		}
	}
}

// Reclaim removes the junk, gives its space back and ends the alarm, as an operator does.
func (c *Cluster) Reclaim(ctx context.Context) error {
	client, err := c.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Delete(ctx, junk, clientv3.WithPrefix()); err != nil {
		return fmt.Errorf("reclaim: delete: %w", err)
	}
	if err := errors.Join(c.Compact(ctx), c.Defragment(ctx)); err != nil {
		return fmt.Errorf("reclaim: %w", err)
	}
	alarms, err := client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("reclaim: %w", err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			return fmt.Errorf("reclaim: disarm: %w", err)
		}
	}
	return nil
}
