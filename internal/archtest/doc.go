// Package archtest holds the tests that keep the repository's shape: which
// package may import which, how long a file and a function may grow, that every
// exported name is documented, and that the documents name only paths that
// exist.
//
// It promises that a rule speaks of what exists: a package that is not written
// yet breaks nothing, and a new one under server has to be given its layer
// here. Every rule is proven able to fail, over small fixtures.
//
// It never holds code that a program runs; nothing may import it.
package archtest
