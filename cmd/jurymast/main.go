// Command jurymast is the operator's tool: it shows what is true, starts and steers runs, switches by hand, and follows
// a route for applications that don't use the SDK. All that is in package cli; what needs the server in the same program
// is added here.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/jurymast/jurymast/cmd/jurymast/cli"
	"github.com/jurymast/jurymast/cmd/jurymast/demo"
	"github.com/jurymast/jurymast/server/daemon"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.OperatingSystem(daemon.Version()), extensions()...))
}

// extensions are the commands that are written in other packages.
func extensions() []cli.Extension { return []cli.Extension{demoCommand, daemonCommand} }

func demoCommand(a *cli.App) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole of it on this machine, in under a minute",
		Long: "Show the whole of it on this machine, in under a minute: a real server, two local providers and an application. The\n" +
			"primary hangs, the runbook switches, the server is killed and restarted, the standby breaks, requests are held, the\n" +
			"primary recovers. Everything is in a temporary directory that is removed at the end.",
		Example: "  # watch it\n  jurymast demo\n\n  # leave it running to play with\n  jurymast demo --keep\n\n" +
			"  # the measured times as one JSON object\n  jurymast demo -o json",
		GroupID: cli.GroupTools,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := demo.Run(cmd.Context(), demo.Options{Out: a.Stdout, Color: a.Colored(), JSON: a.JSON(), Keep: keep})
			return err
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything running at the end, until Ctrl-C")
	return cmd
}

// daemonCommand is the server, for the demo: that kills a real process, and needs no second program for it.
func daemonCommand(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "daemon", Short: "Run the server (jurymastd)", Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := daemon.Run(cmd.Context(), args, a.Stdout, a.Stderr); code != 0 {
				return cli.Exit(cli.ExitCode(code), nil)
			}
			return nil
		},
	}
}
