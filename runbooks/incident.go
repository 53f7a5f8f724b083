package runbooks

import (
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/expr"
	"github.com/jurymast/jurymast/runbooks/message"
)

func checkIncident(s *stepCheck) {
	spec := s.step.GetUpdateIncident()
	if spec.GetStatus() == jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED && spec.GetNextUpdateIn() != nil {
		s.problem(s.field("next_update_in"), "what is resolved promises no further update")
	}
	if err := message.CheckIncident(spec); err != nil {
		s.template(s.field(""), err)
		return
	}
	t, err := message.ForIncident(spec)
	if err != nil {
		return
	}
	for _, text := range t.Texts() {
		s.references(s.field(text.Field()), text, s.earlier())
	}
}

// incidentOutputs are the incident and its status; `none` where there was none to resolve.
func incidentOutputs(*jv1.Step) map[string]expr.Type {
	return map[string]expr.Type{"incident": expr.String, "status": expr.String}
}

func incidentSummary(step *jv1.Step) string {
	spec := step.GetUpdateIncident()
	status := strings.ToLower(strings.TrimPrefix(spec.GetStatus().String(), "INCIDENT_STATUS_"))
	if spec.GetStatus() == jv1.IncidentStatus_INCIDENT_STATUS_RESOLVED {
		return "resolve the incident of the service, if one is open"
	}
	text := "open an incident, or update the one that is open: " + status
	if spec.GetImpact() != jv1.IncidentImpact_INCIDENT_IMPACT_UNSPECIFIED {
		text += ", impact " + strings.ToLower(strings.TrimPrefix(spec.GetImpact().String(), "INCIDENT_IMPACT_"))
	}
	return text
}
