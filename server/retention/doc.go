// Package retention keeps the store and the memory of every replica small, whatever number of runs there were.
//
// Ended runs and triggers beyond the newest ones move from the mirrored families into archived ones, which are read
// from the store when somebody asks. What is past its time, or more than may be kept, is deleted: archived runs with
// their events, triggers, audit events, remembered requests, old revisions of runbooks, and marks that hold nothing any
// more.
//
// What it promises: what has not ended is never touched; what may still decide something stays where decisions find it,
// however old it is: the episode that keeps a runbook to one run, the trigger of a provider's present episode, the
// revision a live run was created from. A run moves whole, in one transaction. Any number of replicas may do the work:
// every transaction compares what was read.
//
// What it never does: it never changes a record, and never hurries: when the store refuses, it tries again later.
package retention
