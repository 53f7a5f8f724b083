// Command jurymastd runs the Jurymast server.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/jurymast/jurymast/server/daemon"
)

// gcPercent trades a little processor time for memory: the heap grows by half before it is collected, not to its double.
// GOGC in the environment outweighs it.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(daemon.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
