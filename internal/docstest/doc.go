// Package docstest holds the tests that keep documents and deployment files true: every flag, command, metric, test and
// example that they name exists, lists of them are complete, and the container, compose and systemd files fit the
// programs they start.
//
// It promises that what it compares with is the thing itself: the built programs, a running server, the registries.
// Every rule is proven able to fail, over small fixtures.
//
// It never holds code that a program runs; nothing may import it.
package docstest
