package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/message"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
)

const (
	// incidentUpdate is by when people hear of an open incident again when its step does not say.
	incidentUpdate = 30 * time.Minute
	// Bounds of an incident's record; what is oldest goes.
	maxUpdates       = 50
	maxIncidentRuns  = 50
	maxIncidentBytes = 60 << 10
)

// What the step gives.
const (
	outIncident, outStatus = "incident", "status"
	none                   = "none"
)

const resolved = jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED

// updateIncident changes the incident people are told about: the open one of the run's service, else one of another
// service that the same vendor's outage is about, else a new one. What was said is not undone.
type updateIncident struct{ nothingToUndo }

func (k updateIncident) Advance(in *Input) Move {
	spec, w := in.Step.GetUpdateIncident(), in.Desk
	status := incidentWord(spec.GetStatus())
	if in.DryRun() {
		return in.done("would say of the incident of %s: %s", w.Name(), status)
	}
	t, err := message.ForIncident(spec)
	if err != nil {
		return in.fail("text: %v", err)
	}
	inc := k.open(in)
	switch {
	case inc == nil && spec.GetStatus() == resolved:
		m := in.done("no incident is open for %s", w.Name())
		m.Event.Output = map[string]string{outIncident: none, outStatus: none}
		return m
	case inc == nil:
		inc = k.begin(in)
	default:
		inc = proto.CloneOf(inc)
	}
	k.update(in, inc, t)
	w.Write(store.IncidentKey(inc.GetName()), inc)
	m := in.done("incident %s: %s", inc.GetName(), incidentWord(inc.GetStatus()))
	m.Event.Output = map[string]string{outIncident: inc.GetName(), outStatus: incidentWord(inc.GetStatus())}
	return m
}

// open returns the incident that is open for the service, or for another service and of the same vendor; nil when there
// is none.
func (k updateIncident) open(in *Input) *jv1.Incident {
	w := in.Desk
	if inc := openOf(w, w.Name()); inc != nil {
		return inc
	}
	vendor := vendorOf(in)
	if vendor == "" || in.Step.GetUpdateIncident().GetStatus() == resolved {
		return nil
	}
	// Of two services whose incidents open at the same moment, one must find that of the other.
	w.ReadNewest(store.OpenIncidents)
	var found *jv1.Incident
	w.View().Each(store.OpenIncidents, func(_ string, msg proto.Message, _, _ int64) bool {
		tie, ok := msg.(*recordv1.OpenIncident)
		if !ok || store.Get[*jv1.Incident](w.View(), store.IncidentKey(tie.GetIncident())).Msg.GetVendor() != vendor {
			return true
		}
		if inc := continuity.Latest[*jv1.Incident](w, store.IncidentKey(tie.GetIncident())); inc.GetResolveTime() == nil {
			found = inc
		}
		return found == nil
	})
	return found
}

// openOf returns the incident that a service is tied to, while it is open.
func openOf(w *continuity.Workspace, service string) *jv1.Incident {
	tie := continuity.Latest[*recordv1.OpenIncident](w, store.OpenIncidentKey(service))
	if tie == nil {
		return nil
	}
	inc := continuity.Latest[*jv1.Incident](w, store.IncidentKey(tie.GetIncident()))
	if inc.GetResolveTime() != nil {
		return nil
	}
	return inc
}

// vendorOf is the vendor of the provider whose health caused the run; empty when that is not known.
func vendorOf(in *Input) string {
	if in.Run.GetProvider() == "" {
		return ""
	}
	return continuity.Read[*jv1.Provider](in.Desk, store.ProviderKey(in.Run.GetProvider())).Msg.GetVendor()
}

func (updateIncident) begin(in *Input) *jv1.Incident {
	now := in.Desk.Now
	inc := &jv1.Incident{
		Name: store.NewID("i", now), Impact: jv1.IncidentImpact_INCIDENT_IMPACT_MAJOR, Vendor: vendorOf(in),
		CreateTime: timestamppb.New(now), Onset: in.Run.GetOnset(),
	}
	if inc.Onset == nil {
		inc.Onset = inc.GetCreateTime()
	}
	return inc
}

// update says what the step says, and ties the service to the incident or frees it.
func (k updateIncident) update(in *Input, inc *jv1.Incident, t *message.Template) {
	w, spec := in.Desk, in.Step.GetUpdateIncident()
	now := timestamppb.New(w.Now)
	if !slices.Contains(inc.GetServices(), w.Name()) {
		inc.Services = append(inc.Services, w.Name())
	}
	status := spec.GetStatus()
	if status == resolved {
		w.Write(store.OpenIncidentKey(w.Name()), nil)
		if stillOpen(w, inc) {
			status = inc.GetStatus() // it is over for this service, and not for the others
		}
	} else {
		w.Write(store.OpenIncidentKey(w.Name()), &recordv1.OpenIncident{Incident: inc.GetName()})
	}
	inc.Status = status
	if spec.GetImpact() != jv1.IncidentImpact_INCIDENT_IMPACT_UNSPECIFIED {
		inc.Impact = spec.GetImpact()
	}
	inc.NextUpdateTime, inc.ResolveTime = nil, nil
	if status == resolved {
		inc.ResolveTime = now
	} else {
		next := incidentUpdate
		if d := spec.GetNextUpdateIn(); d != nil {
			next = d.AsDuration()
		}
		inc.NextUpdateTime = timestamppb.New(w.Now.Add(next))
	}
	title, text := incidentText(in, inc, t)
	if inc.GetTitle() == "" {
		inc.Title = title
	}
	inc.Updates = append(inc.Updates, &jv1.IncidentUpdate{
		Time: now, Status: status, Text: text, Actor: in.Run.GetActor(), Run: in.Run.GetName(),
	})
	if !slices.Contains(inc.GetRuns(), in.Run.GetName()) {
		inc.Runs = append(inc.Runs, in.Run.GetName())
	}
	boundIncident(inc)
}

// stillOpen tells whether another service is tied to the incident. One that was removed is not. The ties are not compared
// one by one, an incident may have more services than a transaction has room for: whoever makes or ends one writes the
// incident too, which is compared.
func stillOpen(w *continuity.Workspace, inc *jv1.Incident) bool {
	v := w.View()
	for _, service := range inc.GetServices() {
		if service == w.Name() || store.Get[*jv1.Service](v, store.ServiceKey(service)).Msg == nil {
			continue
		}
		if store.Get[*recordv1.OpenIncident](v, store.OpenIncidentKey(service)).Msg.GetIncident() == inc.GetName() {
			return true
		}
	}
	return false
}

// incidentText fills in what people read; a plain text when the template fails.
func incidentText(in *Input, inc *jv1.Incident, t *message.Template) (title, text string) {
	data := messageData(in)
	data.Onset, data.NextUpdate = at(inc.GetOnset()), at(inc.GetNextUpdateTime())
	title, text, err := t.Render(data)
	if err != nil {
		return message.Plain(data)
	}
	return title, text
}

// boundIncident drops what is oldest, so that the record stays small whatever the templates say.
func boundIncident(inc *jv1.Incident) {
	inc.Updates = inc.Updates[max(0, len(inc.GetUpdates())-maxUpdates):]
	inc.Runs = inc.Runs[max(0, len(inc.GetRuns())-maxIncidentRuns):]
	for len(inc.GetUpdates()) > 1 && proto.Size(inc) > maxIncidentBytes {
		inc.Updates = inc.Updates[1:]
	}
}

// incidentWord is a status as files write it.
func incidentWord(s jv1.IncidentStatus) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprint(s), "INCIDENT_STATUS_"))
}
