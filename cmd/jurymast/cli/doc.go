// Package cli is the command line of jurymast.
//
// It promises that data goes to standard output and everything else to standard error; that the exit status says what
// happened (see [ExitCode]); that with `-o json` the output is the JSON of the API and nothing else; that no change is
// asked of a server without a reason; and that what it shows of a server which lost its store is marked as old.
//
// It never keeps state between two calls but the contexts the operator stored, never shows a secret, and never decides
// what a server should decide: files are checked offline by the same code that the server uses.
package cli
