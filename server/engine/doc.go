// Package engine executes runs: it turns triggers into runs, drives each to its end, and lets humans steer them.
//
// Everything durable is a record in the store; everything decided is decided by pure functions (package runs, package
// continuity, package steps) on one view of it and committed in one transaction that compares what was read. Around
// that stand three loops: the dispatcher follows the store and wakes whom a change concerns, a worker per service
// evaluates pending triggers, and an executor per owned run takes its turns.
//
// What it promises: a run that was accepted ends or stands in a named wait for a human, whichever replica dies when; a
// state step's effect and its journal record are one transaction; an outside call's intent is stored before it is
// made; every write is fenced by the session's create revision; a trigger that a guard holds back stays and is
// evaluated again; a run of N steps needs at most N+1 transactions when nothing is retried.
//
// What it never does: it never takes a lease, a watch or a silent store for a proof, never guesses the outcome of a
// call, and never acts on a run whose reason is gone.
package engine
