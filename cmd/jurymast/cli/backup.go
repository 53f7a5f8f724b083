package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) backupCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save a verified backup of the server's store",
		Long: "Save a verified backup of everything the server keeps, while it runs: a snapshot as etcd's own tools know it. The file\n" +
			"appears under its name only when it is whole and its hash is right. It holds all that is declared and done, and no\n" +
			"secrets but those somebody wrote into a text. `jurymastd restore` makes a data directory of it.",
		Example: examples(
			"jurymast backup dr.db", "into a file that does not exist yet",
			"jurymast backup --force dr.db", "replace the last one",
		),
		GroupID: GroupTools,
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			header, err := a.saveBackup(cmd.Context(), args[0], force)
			if err != nil {
				return err
			}
			return a.did(header, named{"backup", args[0]},
				fmt.Sprintf("saved: %d bytes, revision %d of %s", header.GetBytes(), header.GetRevision(), a.moment(header.GetTime())))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	return cmd
}

func (a *App) saveBackup(ctx context.Context, path string, force bool) (header *jv1.BackupHeader, err error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return nil, usage("%s exists; --force replaces it", path)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	stream, err := api.Backup(ctx, &jv1.BackupRequest{})
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	header, err = receiveBackup(stream.Recv, f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return nil, err
	}
	if force {
		return header, os.Rename(f.Name(), path)
	}
	// A link is refused when somebody has made the file meanwhile; a rename is not.
	if err := os.Link(f.Name(), path); err != nil {
		return nil, fmt.Errorf("name the file: %w", err)
	}
	return header, os.Remove(f.Name())
}

// receiveBackup writes what comes and compares it with what was announced.
func receiveBackup(next func() (*jv1.BackupResponse, error), to io.Writer) (header *jv1.BackupHeader, err error) {
	sum := sha256.New()
	var size int64
	var trailer *jv1.BackupTrailer
	for {
		part, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch p := part.GetPart().(type) {
		case *jv1.BackupResponse_Header:
			header = p.Header
		case *jv1.BackupResponse_Trailer:
			trailer = p.Trailer
		case *jv1.BackupResponse_Data:
			n, err := io.MultiWriter(to, sum).Write(p.Data)
			size += int64(n)
			if err != nil {
				return nil, fmt.Errorf("write the backup: %w", err)
			}
		}
	}
	got := hex.EncodeToString(sum.Sum(nil))
	switch {
	case header == nil || trailer == nil:
		return nil, errors.New("the backup was cut off; nothing was saved")
	case trailer.GetBytes() != size || trailer.GetSha256() != got:
		return nil, fmt.Errorf("the backup was damaged on its way: %d bytes with SHA-256 %s came, %d with %s were sent; nothing was saved",
			size, got, trailer.GetBytes(), trailer.GetSha256())
	}
	return header, nil
}

func (a *App) restoreCommand() *cobra.Command {
	cmd := a.group(&cobra.Command{
		Use:   "restore",
		Short: "Let the replicas act again after a restore",
		Long: "After a restore, or when the store went back in time by itself, the replicas only observe: they start, execute and\n" +
			"send nothing until a human has looked. A data directory is made from a backup with `jurymastd restore`.",
		GroupID: GroupSteer,
	})
	req := &jv1.ConfirmRestoreRequest{}
	confirm := &cobra.Command{
		Use:   "confirm --reason TEXT",
		Short: "Say that you have looked: runs that were live wait for you, and everything else goes on",
		Long: "Say that you have looked at `jurymast status` and at what is true outside. Every run that was live when the backup\n" +
			"was taken waits to be resumed or canceled; what was to be sent then is given up, because it may have been sent.",
		Example: examples("jurymast restore confirm --reason 'routes are right, backup of 10:00'", "let the replicas act again"),
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.ConfirmRestore(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.show(result{
				message: res, names: []named{{"restore", res.GetRestoreEpoch()}},
				text: func() error { return a.showConfirmed(res) },
			})
		},
	}
	reasonFlag(confirm, &req.Reason)
	cmd.AddCommand(confirm)
	return cmd
}

func (a *App) showConfirmed(res *jv1.ConfirmRestoreResponse) error {
	if err := a.printf("restore/%s confirmed: the replicas act again\n", res.GetRestoreEpoch()); err != nil {
		return err
	}
	for _, r := range res.GetRuns() {
		if err := a.printf("run/%s waits for you: `jurymast describe run %s`, then `jurymast run resume` or `jurymast run cancel`\n", r, r); err != nil {
			return err
		}
	}
	for _, n := range res.GetNotifications() {
		if err := a.printf("notification/%s is not sent: it may have been sent before the restore\n", n); err != nil {
			return err
		}
	}
	return nil
}
