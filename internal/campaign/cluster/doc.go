// Package cluster runs a whole installation as processes of their own, for campaigns: members of stock etcd, replicas of
// the real jurymastd on them, and a fault proxy on every link between them and to their clients.
//
// It promises that every process can be killed, paused, stopped in order and started again on its own data at any
// moment; that readiness is waited for by asking, not by time; that every process's log is kept in the directory; and
// that Close ends exactly the processes that it started. It uses loopback alone.
//
// It never looks into the store behind the API's back, except to steer etcd itself as its operator would.
package cluster
