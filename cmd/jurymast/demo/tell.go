package demo

import (
	"fmt"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// tellHealth prints a change of health with the evidence it rests on.
func (p *picture) tellHealth(h *jv1.Health) {
	state := word(h.GetState(), "HEALTH_STATE_")
	if !p.once(fmt.Sprintf("health/%s/%d/%s/%d", h.GetProvider(), h.GetGeneration(), state, h.GetSince().AsTime().UnixNano())) {
		return
	}
	why := ""
	for _, s := range h.GetEvidence() {
		if s.GetSummary() != "" {
			why = ": " + s.GetSummary()
			break
		}
	}
	if len(why) > 100 {
		why = why[:97] + "..."
	}
	p.line.say("health", "%-7s %s%s", h.GetProvider(), state, why)
}

// tellRun prints the steps of a run as they end, and its end.
func (p *picture) tellRun(r *jv1.Run) {
	if p.once("run/" + r.GetName()) {
		p.line.say("run", "%s %s begins: %s", r.GetRunbook(), short(r.GetName()), r.GetReason())
	}
	for _, s := range r.GetSteps() {
		state := word(s.GetState(), "STEP_STATE_")
		switch s.GetState() {
		case jv1.StepState_STEP_STATE_SUCCEEDED, jv1.StepState_STEP_STATE_FAILED, jv1.StepState_STEP_STATE_SKIPPED:
		default:
			if s.GetKind() == "switch_provider" && s.GetOutput()["to"] != "" && p.once("prov/"+r.GetName()+s.GetId()+s.GetOutput()["to"]) {
				p.line.say("run", "  %-16s %s, provisional until probes confirm it", s.GetId(), s.GetOutput()["to"])
			}
			continue
		}
		if p.once("step/" + r.GetName() + "/" + s.GetId() + "/" + state) {
			text := strings.ToLower(state)
			if s.GetError() != "" {
				text += ": " + s.GetError()
			} else if to := s.GetOutput()["to"]; to != "" {
				text += ": " + to
			}
			p.line.say("run", "  %-16s %s", s.GetId(), text)
			if s.GetKind() == "notify" && s.GetState() == jv1.StepState_STEP_STATE_SUCCEEDED {
				p.line.say("notify", "%s: the message of step %s is in the outbox", r.GetRunbook(), s.GetId())
			}
		}
	}
	if r.GetEndTime() != nil && p.once("end/"+r.GetName()) {
		p.line.say("run", "%s %s ends %s", r.GetRunbook(), short(r.GetName()), word(r.GetState(), "RUN_STATE_"))
	}
}

// tellState prints phase and route when they change.
func (p *picture) tellState(s *jv1.ContinuityState) {
	phase := word(s.GetPhase(), "PHASE_")
	key := fmt.Sprintf("state/%d/%s/%v", s.GetEpoch(), phase, s.GetProvisional())
	if p.once(key) {
		queue := ""
		if s.GetQueueing() {
			queue = ", queueing on"
		}
		p.line.say("chat", "%-12s route %s, epoch %d%s", phase, s.GetActiveProvider(), s.GetEpoch(), queue)
	}
}

// short is the end of an id, which is enough to tell runs apart and for the CLI to find them.
func short(name string) string {
	if len(name) > 6 {
		return "…" + name[len(name)-6:]
	}
	return name
}
