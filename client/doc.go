// Package client is the Go SDK: an application follows the continuity state of its services through it and asks it,
// before every call, which provider to use.
//
// A [Client] holds one watch stream to one of several servers, keeps the last state of every service in memory and on
// disk, and answers [Client.State] from memory. What it promises: an answer once known is never lost, neither to the
// death of every server nor to a restart of the application (with Options.CacheDir), and every answer says how old it
// is; it never steps back to an older epoch or revision within one life of the store, nor to an earlier life of it;
// an epoch is reported as in force only after the application was told; it reconnects by itself, from server to
// server.
//
// What it never does: it never calls a provider, never decides where to route, never blocks in State, and never takes
// the silence of a server for news.
package client
