// Package schedule fires what stands in schedules: it stores a trigger when a time has come, and leaves the rest to the
// engine, which passes it through the guards like any other.
//
// What it promises: a time of a schedule fires at most once, whatever number of replicas look at it, restart, or are
// killed in the middle, and however their clocks step: the trigger and the state of the schedule are one transaction,
// which compares both, and the name of the trigger says schedule and time. A time that nobody could fire is handled as
// the schedule says and counted, not forgotten. Nobody leads: every replica sleeps until the next time, and one of them
// wins.
//
// What it never does: it starts no run itself, and never trusts a watch: what it sleeps through is looked at every 30 s.
package schedule
