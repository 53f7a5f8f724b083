// Package server puts Jurymast together and runs it in one process: the store on an etcd of its own or an external one,
// detection, engine, notifications, and the API in front of them.
//
// It promises that [New] finds every contradiction in the options before anything is touched; that a start which fails
// half-way leaves nothing behind; that a part which ends by itself, the embedded etcd above all, ends the whole server
// loudly ([Server.Done], [Server.Err]); that Stop gives the replica's session back at once, so that others take over
// without waiting.
//
// It holds no logic of its own beyond that, and no globals: any number of servers run in one process, as tests do.
package server
