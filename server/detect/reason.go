package detect

// Reason names why a judgement is what it is. It is stored in Health.reason.
type Reason string

// The reasons of judgements.
const (
	// NoEvidence says that nothing unexpired speaks for or against the provider.
	NoEvidence Reason = "no_evidence"
	// EvidenceOK says that what counts is good.
	EvidenceOK Reason = "evidence_ok"
	// OneClassFailing says that some evidence is bad, but not enough of it agrees.
	OneClassFailing Reason = "one_class_failing"
	// VantagesDisagree says that a probe fails at some replicas, but not at most of them.
	VantagesDisagree Reason = "vantages_disagree"
	// ProviderFeedOnly says that the provider's own status page alone speaks, and speaks of trouble.
	ProviderFeedOnly Reason = "provider_feed_only"
	// Throttled says that a suspected provider answers but throttles us, which neither accuses nor clears it.
	Throttled Reason = "throttled"
	// AgreementPending says that enough evidence agrees on an outage, but not yet for long enough.
	AgreementPending Reason = "agreement_pending"
	// ConfigurationPending says that our key, credit or configuration is refused, but not yet for long enough.
	ConfigurationPending Reason = "configuration_pending"
	// QuorumFailing says that enough evidence classes agreed on an outage for long enough.
	QuorumFailing Reason = "quorum_failing"
	// VantagesFailing says that a majority of at least two replicas' probes agreed on an outage for long enough.
	VantagesFailing Reason = "vantages_failing"
	// OperatorFailing says that an operator said so.
	OperatorFailing Reason = "operator_failing"
	// Relapsed says that the outage came back before the recovery was over.
	Relapsed Reason = "relapsed"
	// FailingRemains says that not everything that spoke of an outage is over.
	FailingRemains Reason = "failing_remains"
	// EvidenceExpired says that the evidence ran out while the provider was failing or blocked, which clears nothing.
	EvidenceExpired Reason = "evidence_expired"
	// ConfigurationRefused says that our key, credit or configuration was refused for long enough.
	ConfigurationRefused Reason = "configuration_refused"
	// OkAgain says that nothing speaks of an outage any more and something of ours says that the provider serves.
	OkAgain Reason = "ok_again"
	// RecoveryInterrupted says that something speaks of an outage again, not enough to call it a relapse.
	RecoveryInterrupted Reason = "recovery_interrupted"
	// RecoveryUnproven says that nothing says any more that the provider serves.
	RecoveryUnproven Reason = "recovery_unproven"
	// Recovered says that the provider served without a break for long enough.
	Recovered Reason = "recovered"
	// OperatorOK says that an operator said so.
	OperatorOK Reason = "operator_ok"
)
