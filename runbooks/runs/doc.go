// Package runs is the state machine of a run: pure functions from a record and events to the next record.
//
// [Fold] applies events to a record; the [Table] says in which states an event may happen. [Next] walks the tree of the
// run's steps and says what is to be done now, once for each branch that is open. Neither reads a clock, calls anybody or keeps anything: all that happens around them is the engine's.
//
// What it promises: the record given is never changed; the same record and events always give the same result; an
// event that can't happen in the record's state is an error, never ignored; a run that has ended stays as it is; no step
// acts inside of one that has ended, and none ends before those inside of it; a run waits for a human exactly while each
// of its open branches does, or while it is held as a whole.
package runs
