// Command jurymastd runs the Jurymast server.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/jurymast/jurymast/server/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(daemon.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
