// Package continuity decides about the state of a service: what phase it is in, whether a switch passes the guards, and
// what is written when it does.
//
// A [Workspace] is the facts of one service as one view of the store shows them. Decisions read it and change it;
// [Workspace.Txn] then gives one write per key and the compares of every fact that was read, so that what is committed
// was decided on what is true. Nothing here waits, calls or commits, except [Desk], which carries humans' commands out.
//
// What it promises: no switch to a provider without unexpired evidence of health, none away from the last healthy
// provider, epochs that only grow; a human may overrule the guards with a reason, and the state is marked.
//
// What it never does: it never guesses a fact it could not read; a missing record is refused, not assumed to be well.
package continuity
