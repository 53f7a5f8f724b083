// Command jurymast is the operator's tool: it shows what is true, starts and steers runs, switches by hand, and follows
// a route for applications that don't use the SDK. All it does is in package cli.
package main

import (
	"context"
	"os"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.OperatingSystem()))
}
