// Package runbooks says what a runbook, and everything it refers to, means before anything runs: its normal form, its
// hash, what is wrong with it, and the outline of what a run would do.
//
// It promises that what Validate lets pass can be executed by this version: names lead somewhere, expressions compile,
// templates render, nothing waits without an end, and what a later version brings is refused instead of ignored. All of
// it is pure: the package does no I/O, reads no clock, and never changes what it is given.
package runbooks
