// Package notify tells people: it sends what stands in the outbox to the channels it is meant for.
//
// A step writes a notification to the outbox in the transaction of its run, beside it a Delivery that its own session
// owns, and is done. The [Deliverer] claims the entry where its owner is gone, sends it through the [Sender] of its channel's kind, and stores what became of it. What it decides
// is decided by [Next], a pure function. The [Emergency] needs no store at all: it says that the control plane is down,
// through the channels it remembers in a local journal.
//
// What it promises: a notification that was written is sent at least once, always with the same id, or ends DEAD with
// the reason in its record; the messages of one thread reach a channel in the order they were written; a slow or broken
// channel holds up no other; and no secret of a channel is stored, logged or part of an error.
//
// What it never does: it never renders a message, never follows a redirect, and never drops an entry silently. It fails
// open: where a message may or may not have been taken, it is sent again.
package notify
