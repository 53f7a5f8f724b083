// Package detect turns what observers see into the health of providers, and health into triggers.
//
// It has four parts. Probes call the providers of a service and keep what they say as this replica's votes. The intake
// takes signals, alerts and an operator's word from outside and keeps them as reports. [Judge] turns votes and reports
// into [jv1.Health]; it is a pure function. The bench, one on every replica, judges whatever changed and commits a
// changed health together with its trigger.
//
// What it promises: a signal is durable before its sender gets an answer; a changed health and its trigger are one
// transaction that compares everything that was counted, so that several replicas judging at once make one trigger;
// evidence that ran out neither triggers nor clears anything; a provider's own status page alone never does; a probe
// that hangs or panics takes nothing else down.
//
// What it never does: it starts no run and changes no route, stores no single probe result and no secret, and decides
// nothing from a picture that the transaction does not compare.
package detect
