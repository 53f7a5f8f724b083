// Package demo shows the main job on a real server: a provider hangs, the outage is noticed, the shipped runbook runs,
// the route switches, the server is killed and comes back, the standby breaks too, requests are queued, and everything
// is brought back when the provider is well again.
//
// Only what is measured is printed, and what is not shown is said. It promises to leave nothing behind: the server's
// data is in a temporary directory, everything listens on loopback, and all of it is stopped at the end unless it is
// asked to stay.
package demo
