// Package mutants plants bugs in the product and demands that its tests find each of them within a minute.
//
// A mutant is a small change of one file: a compare that is dropped, an intent that is not stored, a guard that always
// agrees. It is compiled in place of the file by the go command's -overlay flag, so that the tree is not touched. A
// mutant that no test finds is a gap in the tests, and fails this one.
//
//	go test -tags campaign ./internal/mutants
package mutants
