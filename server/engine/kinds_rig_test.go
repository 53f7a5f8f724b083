package engine_test

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

const (
	identified = jv1.IncidentStatus_INCIDENT_STATUS_IDENTIFIED
	monitoring = jv1.IncidentStatus_INCIDENT_STATUS_MONITORING
	resolved   = jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED
)

func weigh(id, provider string, percent int32) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_SetWeight{SetWeight: &jv1.SetWeightStep{Provider: provider, Percent: percent}}}
}

func machinesOff(id string) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_AutomationOff{AutomationOff: &jv1.AutomationOffStep{Reason: "two at once"}}}
}

func say(id string, status jv1.IncidentStatus) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_UpdateIncident{UpdateIncident: &jv1.UpdateIncidentStep{Status: status}}}
}

func drain(id string) *jv1.Step {
	return &jv1.Step{Id: id, Action: &jv1.Step_DrainQueue{DrainQueue: &jv1.DrainQueueStep{StartRate: "2/s"}}}
}

func drainWithin(id string, d time.Duration) *jv1.Step {
	s := drain(id)
	s.GetDrainQueue().Timeout = durationpb.New(d)
	return s
}

func unqueue() *jv1.Step {
	return &jv1.Step{Id: "unqueue", Action: &jv1.Step_DisableQueueing{DisableQueueing: &jv1.DisableQueueingStep{}}}
}

// gateway holds requests for service chat and sends one at every look while it is asked to drain.
type gateway struct {
	*rig
	name           string
	queued, parked int64
	rate           float64
	epoch          int64
}

// work looks at the state as a follower does, and reports. One that holds nothing from the beginning is not there.
func (g *gateway) work() {
	if g.epoch == 0 {
		return
	}
	st := g.state()
	g.epoch = st.GetEpoch()
	if st.GetDrain() != nil && g.queued > 0 {
		g.queued--
	}
	g.report()
}

// remember goes on from what was reported last.
func (g *gateway) remember() {
	if last := get[*recordv1.InForceReport](g.rig, store.InForceKey(g.name)); last != nil {
		g.queued, g.epoch = last.GetQueues()["chat"].GetQueued(), last.GetEpochs()["chat"]
	}
}

func (g *gateway) report() {
	g.t.Helper()
	if g.queued == 0 && g.parked == 0 && g.epoch == 0 {
		return
	}
	g.epoch = max(g.epoch, 1)
	g.commit(store.Put(store.InForceKey(g.name), &recordv1.InForceReport{
		Subscriber: g.name, Epochs: map[string]int64{"chat": g.epoch}, ReportTime: timestamppb.Now(),
		ValidUntil: timestamppb.New(time.Now().Add(90 * time.Second)), RestoreEpoch: g.first.store.RestoreEpoch(),
		Queues: map[string]*jv1.QueueStatus{"chat": {Queued: g.queued, Parked: g.parked, Rate: g.rate}},
	}))
}

// machines says how automation stands for service chat, and whether the run set it so.
func (r *rig) machines(run *jv1.Run) string {
	a := get[*jv1.Automation](r, store.AutomationKey("chat"))
	if a == nil {
		return ""
	}
	return fmt.Sprintf("on %v by the run %v: %s", a.GetOn(), a.GetRun() == run.GetName(), a.GetReason())
}

// incidents returns all there are.
func (r *rig) incidents() []*jv1.Incident {
	r.t.Helper()
	recs, _, err := store.Scan[*jv1.Incident](r.ctx, r.first.store, store.Incidents, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*jv1.Incident
	for _, rec := range recs {
		out = append(out, rec.Msg)
	}
	return out
}

// incident says where the incidents stand.
func (r *rig) incident() string {
	var out []string
	for _, i := range r.incidents() {
		out = append(out, fmt.Sprintf("%v %v %d", i.GetStatus(), i.GetServices(), len(i.GetUpdates())))
	}
	return strings.Join(out, "; ")
}

// audited counts the audit events about automation.
func (r *rig) audited() (n int) {
	r.t.Helper()
	recs, _, err := store.Scan[*jv1.AuditEvent](r.ctx, r.first.store, store.Audit, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, rec := range recs {
		if rec.Msg.GetTarget() == "automation/chat" {
			n++
		}
	}
	return n
}
