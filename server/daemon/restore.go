package daemon

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/etcdnode"
)

// newRestoreCommand makes the command that makes a data directory from a backup, instead of serving one.
func newRestoreCommand(f *flags, dataDir string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore --from FILE",
		Short: "Makes a data directory from a backup",
		Long: `restore makes a data directory from a backup, for a server with an etcd of its own. The server that is started on it
shows everything and changes nothing until a human says "jurymast restore confirm".

The directory must be empty or missing. The backup's hash and all its pages are checked first.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.restore.From == "" {
				return errors.New("which backup? give --from")
			}
			return f.run(cmd, f)
		},
	}
	cmd.Flags().StringVar(&f.restore.From, "from", "", "the backup, as `jurymast backup` or etcdctl saved it")
	cmd.Flags().StringVar(&f.restore.DataDir, "data-dir", dataDir, "where to; must be empty or missing")
	return cmd
}

// makeRestored carries the command out. An error comes with the code to exit with.
func (f *flags) makeRestored(stdout io.Writer) (int, error) {
	found, err := server.Restore(f.restore)
	switch {
	case errors.Is(err, server.ErrOptions) || errors.Is(err, etcdnode.ErrSnapshot):
		return ExitUsage, err
	case err != nil:
		return ExitFailed, err
	}
	_, err = fmt.Fprintf(stdout, "restored %s into %s: %d keys, revision %d\n"+
		"start jurymastd on it, look at `jurymast status`, then: jurymast restore confirm --reason ...\n",
		f.restore.From, f.restore.DataDir, found.Keys, found.Revision)
	if err != nil {
		return ExitFailed, err
	}
	return ExitOK, nil
}
