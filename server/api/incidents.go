package api

import (
	"context"
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// incidentService serves jurymast.v1.IncidentService.
type incidentService struct {
	jv1.UnsafeIncidentServiceServer
	*common
}

// GetIncident implements [jv1.IncidentServiceServer].
func (s *incidentService) GetIncident(_ context.Context, req *jv1.GetIncidentRequest) (*jv1.Incident, error) {
	return lookUp[*jv1.Incident](s.common, "incident", store.IncidentKey(req.GetName()), req.GetName())
}

// ListIncidents implements [jv1.IncidentServiceServer].
func (s *incidentService) ListIncidents(_ context.Context, req *jv1.ListIncidentsRequest) (*jv1.ListIncidentsResponse, error) {
	p, err := newPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &jv1.ListIncidentsResponse{}
	s.store.Read(func(v store.View) {
		l := descending(v, store.Incidents, p, func(i *jv1.Incident) bool {
			return (req.GetService() == "" || slices.Contains(i.GetServices(), req.GetService())) &&
				(!req.GetOpen() || i.GetResolveTime() == nil)
		})
		out.Incidents, out.NextPageToken = shownAll(l.records), l.next
	})
	return out, nil
}
