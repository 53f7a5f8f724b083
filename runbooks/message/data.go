package message

import "time"

// Data is what a template may use. The zero value renders; times are shown in UTC.
type Data struct {
	// Service that is spoken of.
	Service string
	// Provider whose health caused the run. Empty: none did.
	Provider string
	// Active is the provider that is routed to when the message is written.
	Active string
	// Previous is the provider that was routed to before. Empty: none was.
	Previous string
	// Preferred is the service's first provider.
	Preferred string
	// Phase of the service, e.g. "FAILED_OVER".
	Phase string
	// Onset is when the first sign of trouble was seen. Zero: not known.
	Onset time.Time
	// Since is when the route, or queueing, came to be as it is. Zero: not known.
	Since time.Time
	// Restored is when service was restored. Zero: it isn't yet.
	Restored time.Time
	// Now is when the message is written.
	Now time.Time
	// NextUpdate is when people hear of it next. Zero: not fixed.
	NextUpdate time.Time
	// Reason of the run, in words.
	Reason string
	// Run that writes the message.
	Run string
	// Runbook of that run.
	Runbook string
	// Steps of the run, in order.
	Steps []Step
	// Params are the run's parameters.
	Params map[string]string
	// Queueing tells whether requests are queued.
	Queueing bool
	// Drill marks a rehearsal.
	Drill bool
	// Evidence lists what was seen, one sentence each.
	Evidence []string
	// Error is what went wrong with the run. Empty: nothing did.
	Error string
	// Question that a human has to answer. Empty: none.
	Question string
	// Wait is what the run waits for a human for: `approval`, `resume` or `outcome_unknown`. Empty: for nothing.
	Wait string
	// Answers are the command lines that answer the question.
	Answers []string
	// IdempotencyKey is the key of the call that the template is a part of, or that its check asks about. Empty in
	// messages.
	IdempotencyKey string
}

// Step is what a template may use of a step.
type Step struct {
	// ID of the step.
	ID string
	// Kind, e.g. `switch_provider`.
	Kind string
	// State in lower case, e.g. `succeeded`.
	State string
	// Summary of what it did, in words. Empty: nothing worth telling.
	Summary string
	// Error is what went wrong. Empty: nothing did.
	Error string
	// Output is what it gave.
	Output map[string]string
}

// mostItems bounds the lists that a template may range over.
const mostItems = 64

// bounded cuts the lists, so that the work of a template depends on the template.
func (d Data) bounded() Data {
	d.Steps = d.Steps[:min(len(d.Steps), mostItems)]
	d.Evidence = d.Evidence[:min(len(d.Evidence), mostItems)]
	d.Answers = d.Answers[:min(len(d.Answers), mostItems)]
	return d
}

// samples are data that a template has to render: one with everything that there can be, one with no more than there
// always is.
func samples() []Data {
	now := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	bare := Data{
		Service: "chat", Active: "openai", Preferred: "openai", Phase: "NORMAL", Now: now,
		Reason: "an operator started it", Run: "01jpa6v8x9f2", Runbook: "ai-provider-outage",
	}
	full := bare
	full.Provider, full.Active, full.Previous = "openai", "azure-eu", "openai"
	full.Phase = "FAILED_OVER"
	full.Onset, full.Since = now.Add(-90*time.Second), now.Add(-30*time.Second)
	full.Restored, full.NextUpdate = now, now.Add(20*time.Minute)
	full.Steps = []Step{{
		ID: "switch", Kind: "switch_provider", State: "succeeded", Summary: "switched chat from openai to azure-eu",
		Error: "vllm is not healthy", Output: map[string]string{"provider": "azure-eu"},
	}}
	full.Params = map[string]string{"region": "eu"}
	full.Queueing, full.Drill = true, true
	full.Evidence = []string{"probe chat-probe: 3 of 3 failed"}
	full.IdempotencyKey = "r01jpa6v8x9f2.ticket"
	full.Error, full.Question = "no candidate is healthy", "Switch back to openai?"
	full.Wait = "approval"
	full.Answers = []string{"jurymast approve " + full.Run + " --reason '...'", "jurymast reject " + full.Run + " --reason '...'"}
	return []Data{full, bare}
}
