package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

const (
	// creatingFile stands in a data directory from before etcd is started in it for the first time until it is prepared.
	creatingFile = "creating"
	// preparedFile stands in a data directory that prepare is done with.
	preparedFile = "prepared"
	// memberDir is where etcd keeps its log and its database.
	memberDir = "member"
)

// creation is how far the creation of a data directory has come.
type creation string

const (
	// creationNew is a directory without data.
	creationNew creation = "new"
	// creationBroken is a directory whose creator died before it handed the node out: it holds nobody's data, and
	// etcd may never get ready in it.
	creationBroken creation = "broken"
	// creationForeign is a directory with data that etcd's own tools made, e.g. from a snapshot.
	creationForeign creation = "foreign"
	// creationDone is a directory that may be used.
	creationDone creation = "done"
)

// creationOf judges by what stands in the directory.
func creationOf(creating, prepared, initialised bool) creation {
	switch {
	case prepared:
		return creationDone
	case creating:
		return creationBroken
	case initialised:
		return creationForeign
	default:
		return creationNew
	}
}

// prepare makes a data directory of a single member safe to be restarted in. It does so once in the directory's life,
// by starting etcd, letting it write a snapshot of its log, and stopping it again. That heals two things:
//
// Without a snapshot a restart replays the member's own membership. For a moment after that, etcd has dropped the first
// entry of its log while raft has not ticked it off yet, and an election in that moment makes raft panic over the
// missing entry. Told to stand at once, one of ten starts met it; an election by timeout may meet it as well. With a
// snapshot, everything that raft could ask for is younger than what etcd drops, see singleCatchUp.
//
// A member that is killed after it has created its log and before it has written its own membership into it has no
// voters ever after. Such a directory is recognised by creatingFile, and created anew.
func (n *Node) prepare(ctx context.Context, logger *zap.Logger) error {
	dir := n.options.DataDir
	creating, prepared := filepath.Join(dir, creatingFile), filepath.Join(dir, preparedFile)
	state := creationOf(exists(creating), exists(prepared), initialised(dir))
	switch state {
	case creationDone:
		return nil
	case creationBroken:
		if err := os.RemoveAll(filepath.Join(dir, memberDir)); err != nil {
			return fmt.Errorf("removing an unfinished member: %w", err)
		}
	case creationNew:
		if err := mark(creating); err != nil {
			return err
		}
	case creationForeign:
	}
	n.phase.fresh = state != creationForeign
	if err := n.writeSnapshot(ctx, logger); err != nil {
		return err
	}
	if err := mark(prepared); err != nil {
		return err
	}
	if err := os.Remove(creating); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeSnapshot starts etcd, which writes a snapshot with its second transaction at the latest, and stops it.
func (n *Node) writeSnapshot(ctx context.Context, logger *zap.Logger) error {
	config, err := config(n.options, "", logger)
	if err != nil {
		return err
	}
	config.SnapshotCount = 1
	// A foreign directory waits for its election timeout, which is long after the replay.
	if err := n.run(ctx, config, n.phase.fresh); err != nil {
		return err
	}
	if err := n.stop(); err != nil {
		return err
	}
	n.phase.stopping.Store(false)
	return nil
}

// mark creates an empty file that survives a loss of power.
func mark(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
