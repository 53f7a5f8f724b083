// Package store keeps all durable state of Jurymast on etcd, and is the only package that imports etcd's client.
//
// It has three layers. A [Backend] is what etcd gives: transactions with compares, ranges, leases and one watch over
// the keyspace; there are two of them, [Etcd] and its twin [Memory], and both pass the same conformance suite in
// storetest. The mirror, seen through a [View], is a decoded copy of the keyspace, fed by a single watch of the
// process, with a hub behind it that serves any number of subscribers. The [Store] puts both together: reads come from
// the mirror, decisions name the revisions they read, and [Store.Commit] compares them in the transaction that acts on
// them. A [Session] is the replica's fencing token, kept by a [Keeper].
//
// What it promises: a transaction is committed as a whole or not at all; one whose outcome is not known is resubmitted
// unchanged until it is known, or reported as [ErrUnknown], never guessed; a subscriber sees every revision once, in
// order, or is told to start again; what a newer version wrote is left untouched.
//
// What it never does: it never takes a lease for a proof of ownership, never treats a watch as more than a hint, and
// never retries a transaction with other compares than the caller's.
package store
