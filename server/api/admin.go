package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// Identity says which process this is.
type Identity struct {
	// Version of the binary.
	Version string
	// Replica is its name in the cluster.
	Replica string
	// EmbeddedStore tells whether it runs its own etcd.
	EmbeddedStore bool
	// StartTime is when the process began.
	StartTime time.Time
}

// adminService serves jurymast.v1.AdminService.
type adminService struct {
	jv1.UnsafeAdminServiceServer
	*common
	identity   Identity
	automation Automation
	backups    Backups
	restores   Restores
}

// GetInfo implements [jv1.AdminServiceServer].
func (s *adminService) GetInfo(ctx context.Context, _ *jv1.GetInfoRequest) (*jv1.Info, error) {
	who := audit.From(ctx)
	out := &jv1.Info{
		Version: s.identity.Version, Replica: s.identity.Replica, EmbeddedStore: s.identity.EmbeddedStore,
		StartTime: stamp(s.identity.StartTime), RestoreEpoch: s.store.RestoreEpoch(), Freshness: s.freshness(),
		Principal: who.Principal, Role: who.Role,
	}
	s.store.Read(func(v store.View) {
		out.Revision = v.Revision()
		for _, r := range store.List[*recordv1.Session](v, store.Sessions) {
			out.Replicas = append(out.Replicas, r.Msg.GetReplica())
		}
	})
	s.addRestore(out)
	slices.Sort(out.Replicas)
	out.Replicas = slices.Compact(out.Replicas)
	return out, nil
}

// GetAutomation implements [jv1.AdminServiceServer]. The global switch is on until somebody sets it.
func (s *adminService) GetAutomation(context.Context, *jv1.GetAutomationRequest) (*jv1.GetAutomationResponse, error) {
	out := &jv1.GetAutomationResponse{}
	s.store.Read(func(v store.View) {
		out.Automation = shownAll(store.List[*jv1.Automation](v, store.AutomationPrefix))
		if store.Get[*jv1.Automation](v, store.AutomationKey("")).Mod == 0 {
			out.Automation = slices.Insert(out.Automation, 0, &jv1.Automation{On: true, Reason: "never set"})
		}
	})
	return out, nil
}

// SetAutomation implements [jv1.AdminServiceServer].
func (s *adminService) SetAutomation(ctx context.Context, req *jv1.SetAutomationRequest) (*jv1.Automation, error) {
	if req.GetService() != "" && !isName(req.GetService()) {
		return nil, notFound("service", req.GetService())
	}
	return s.automation.SetAutomation(ctx, req)
}

// ListAuditEvents implements [jv1.AdminServiceServer]. Events are read from the store itself; they are not mirrored.
func (s *adminService) ListAuditEvents(ctx context.Context, req *jv1.ListAuditEventsRequest) (*jv1.ListAuditEventsResponse, error) {
	p, err := newPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	before := ""
	if p.after != "" {
		before = store.Audit + p.after
	}
	records, more, err := store.ScanDescending[*jv1.AuditEvent](ctx, s.store, store.Audit, before, p.size)
	if err != nil {
		return nil, err
	}
	out := &jv1.ListAuditEventsResponse{}
	for _, r := range records {
		out.Events = append(out.Events, r.Msg)
	}
	if more && len(records) > 0 {
		out.NextPageToken = pageToken(records[len(records)-1].Key[len(store.Audit):])
	}
	return out, nil
}

// ListNotifications implements [jv1.AdminServiceServer].
func (s *adminService) ListNotifications(_ context.Context, req *jv1.ListNotificationsRequest) (*jv1.ListNotificationsResponse, error) {
	p, err := newPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &jv1.ListNotificationsResponse{}
	s.store.Read(func(v store.View) {
		l := descending(v, store.Outbox, p, func(n *jv1.Notification) bool { return req.GetRun() == "" || n.GetRun() == req.GetRun() })
		out.Notifications, out.NextPageToken = shownAll(l.records), l.next
	})
	return out, nil
}

// stamp gives a time its form in the API; absent stays absent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
