package runbooks

import (
	"fmt"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/expr"
)

const (
	// DefaultStartRate is the rate a drain begins with when its step doesn't say.
	DefaultStartRate = "1/s"
	// DefaultDrain is the time to drain in when neither the step nor its timeout says.
	DefaultDrain = 2 * time.Hour
)

func checkWeight(s *stepCheck) {
	switch p := s.step.GetSetWeight().GetProvider(); p {
	case "active":
		s.problem(s.field("provider"), "the active provider has what the others leave: name preferred, or a provider")
	case "preferred":
	default:
		s.provider(s.field("provider"), p)
		s.capable(s.field("provider"), p)
	}
	for _, service := range s.services {
		if len(service.GetProviders()) == 1 {
			s.warn("%s: %s has one provider, there is nobody to give a share to", s.path, service.GetName())
		}
	}
}

func weightSummary(step *jv1.Step) string {
	w := step.GetSetWeight()
	who := w.GetProvider()
	if who == "preferred" {
		who = "the preferred provider"
	}
	if w.GetPercent() == 0 {
		return "take back the share of the traffic that goes to " + who
	}
	return fmt.Sprintf("send %d %% of the traffic to %s, if it passes the guards of a switch", w.GetPercent(), who)
}

func checkDrain(s *stepCheck) {
	own := s.step.GetDrainQueue().GetTimeout()
	s.within(s.field("timeout"), own, "a drain")
	if own != nil && s.step.GetTimeout() != nil {
		s.problem(s.field("timeout"), "the step has a timeout too: give one of them")
	}
}

func drainSummary(step *jv1.Step) string {
	d, most := step.GetDrainQueue(), DefaultDrain
	if t := step.GetTimeout(); t != nil {
		most = t.AsDuration()
	}
	if t := d.GetTimeout(); t != nil {
		most = t.AsDuration()
	}
	rate := d.GetStartRate()
	if rate == "" {
		rate = DefaultStartRate
	}
	return fmt.Sprintf("have what is queued sent, from %s on, until nobody reports any more, at most %s", rate, words(most))
}

// drainOutputs are what was left, and how fast it went.
func drainOutputs(*jv1.Step) map[string]expr.Type {
	return map[string]expr.Type{"queued": expr.Int, "parked": expr.Int, "rate": expr.String}
}

func automationOffSummary(step *jv1.Step) string {
	text := "stop the machines for the service; this run goes on"
	if r := step.GetAutomationOff().GetReason(); r != "" {
		text += ": " + r
	}
	return text
}
