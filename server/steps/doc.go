// Package steps holds the kinds of steps a runbook is made of, one file each, and the registry that names them.
//
// A [Kind] decides: given the run, the step and the facts of the service it says what happens next as a [Move], and
// changes the workspace when the step changes the state. It is called again whenever the facts change or the time it
// asked for has come, by whichever replica owns the run, so it keeps nothing: all it knows stands in the record.
//
// What it promises: a state step's effect is in the workspace of the very move that reports it; an outside call is
// only described, with a key that is the same for every attempt, so that its intent can be stored first; nothing is
// guessed about a call whose outcome is not known.
//
// What it never does: it never commits, waits or calls by itself, and never changes anything in a dry run.
package steps
