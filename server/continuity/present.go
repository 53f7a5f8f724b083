package continuity

import (
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Present returns the state of a service as people see it, with what is derived filled in: phase, in force, providers,
// revision. It returns nil when there is no such service. RestoreEpoch is left to the caller.
func Present(view store.View, service string, now time.Time) *jv1.ContinuityState {
	out := PresentRoute(view, service)
	if out == nil {
		return nil
	}
	for _, r := range store.List[*recordv1.InForceReport](view, store.InForce) {
		epoch, ok := r.Msg.GetEpochs()[service]
		if ok && now.Before(r.Msg.GetValidUntil().AsTime()) {
			out.InForce = append(out.InForce, &jv1.InForce{
				Subscriber: r.Msg.GetSubscriber(), Epoch: epoch, ReportTime: r.Msg.GetReportTime(),
				Queue: r.Msg.GetQueues()[service], RestoreEpoch: r.Msg.GetRestoreEpoch(),
			})
		}
	}
	return out
}

// PresentRoute is [Present] without who has it in force: what those who follow the route need, whatever their number.
func PresentRoute(view store.View, service string) *jv1.ContinuityState {
	rec := store.Get[*jv1.ContinuityState](view, store.ContinuityKey(service))
	if rec.Msg == nil {
		return nil
	}
	out := proto.CloneOf(rec.Msg)
	out.Revision = rec.Mod
	svc := store.Get[*jv1.Service](view, store.ServiceKey(service)).Msg
	health := store.Get[*jv1.Health](view, store.HealthKey(service, out.GetActiveProvider())).Msg
	out.Phase = PhaseOf(svc, out, health)
	for _, p := range svc.GetProviders() {
		out.Providers = append(out.Providers, p.GetName())
	}
	return out
}

// Initial returns the state a new service begins with: its preferred provider, nothing queued.
func Initial(service *jv1.Service, a Author, now time.Time) *jv1.ContinuityState {
	return &jv1.ContinuityState{
		Service: service.GetName(), ActiveProvider: Preferred(service), Epoch: 1,
		Since: stamp(now), Reason: a.Reason, Actor: a.Actor,
	}
}
