package etcdnode

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jurymast/jurymast/server/telemetry"
)

// revisionBump is how far the revision of a restored store is moved on: further than the lost one can have come since the
// backup, so that no revision is given out twice. It is what etcd's documentation suggests.
const revisionBump = 1_000_000_000

// ErrSnapshot says that a file is no snapshot, or a damaged one.
var ErrSnapshot = errors.New("not a sound snapshot")

// Snapshot is what a snapshot file holds, as found when it was verified.
type Snapshot struct {
	// Revision is the newest one in it.
	Revision int64
	// Keys is how many keys it holds.
	Keys int
	// Bytes is the size of the file.
	Bytes int64
	// SHA256 of the database in it, in hexadecimal: the hash that etcd wrote behind it.
	SHA256 string
	// Version of the storage, e.g. `3.6.0`.
	Version string
}

// VerifySnapshot reads a snapshot as etcd's API gives it: the hash that is appended must match, and every page of the
// database must be sound. Errors wrap ErrSnapshot, or are those of reading the file.
func VerifySnapshot(path string) (Snapshot, error) {
	sum, size, err := verifyHash(path)
	if err != nil {
		return Snapshot{}, fmt.Errorf("verify %s: %w", path, err)
	}
	status, err := snapshot.NewV3(zap.NewNop()).Status(path)
	if err != nil {
		return Snapshot{}, fmt.Errorf("verify %s: %w: %w", path, ErrSnapshot, err)
	}
	return Snapshot{
		Revision: status.Revision, Keys: status.TotalKey, Bytes: size, SHA256: sum, Version: status.Version,
	}, nil
}

// verifyHash compares the hash at the end of the file with the rest of it.
func verifyHash(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	// A database consists of whole pages, so the hash behind it shows in the size.
	if size = info.Size(); !info.Mode().IsRegular() || size <= sha256.Size || size%512 != sha256.Size {
		return "", 0, fmt.Errorf("%w: it carries no hash", ErrSnapshot)
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, f, size-sha256.Size); err != nil {
		return "", 0, err
	}
	said := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, said); err != nil {
		return "", 0, err
	}
	sum = hex.EncodeToString(hash.Sum(nil))
	if want := hex.EncodeToString(said); want != sum {
		return "", 0, fmt.Errorf("%w: its SHA-256 is %s, and %s stands in it", ErrSnapshot, sum, want)
	}
	return sum, size, nil
}

// RestoreOptions say what is restored and where to. From and DataDir are required.
type RestoreOptions struct {
	// From is the snapshot file.
	From string
	// DataDir is the node's data directory to be, which must be empty or missing.
	DataDir string
	// Name is the member's name; empty: [DefaultName].
	Name string
	// KeepRevision leaves the revision as it was, instead of moving it on past anything the lost store can have given out.
	// It is for tests: a restored store that goes back in time is what others make with etcd's own tools.
	KeepRevision bool
	// Logger; nil drops what etcd says.
	Logger hclog.Logger
}

// Restore makes the data directory of a single member from a snapshot, in a cluster of its own: the cluster id is new, so
// that everybody who knew the old one notices. Nothing is left behind when it fails. The directory is locked meanwhile; one
// in use is a *LockedError, and a file that is damaged wraps ErrSnapshot.
func Restore(o RestoreOptions) (Snapshot, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	found, err := VerifySnapshot(o.From)
	if err != nil {
		return found, err
	}
	lock, err := LockDir(o.DataDir)
	if err != nil {
		return found, err
	}
	defer func() { _ = lock.Release() }()
	if err := onlyLock(lock.Dir()); err != nil {
		return found, err
	}
	// etcd wants a directory of its own; and a directory that is half restored must not look like one that is done.
	scratch := filepath.Join(lock.Dir(), "restoring")
	if err := restoreTo(scratch, o); err != nil {
		return found, errors.Join(fmt.Errorf("restore %s: %w", o.From, err), os.RemoveAll(scratch))
	}
	if err := os.Rename(filepath.Join(scratch, memberDir), filepath.Join(lock.Dir(), memberDir)); err != nil {
		return found, errors.Join(fmt.Errorf("restore %s: %w", o.From, err), os.RemoveAll(scratch))
	}
	if err := errors.Join(os.RemoveAll(scratch), syncDir(lock.Dir())); err != nil {
		return found, fmt.Errorf("restore %s: %w", o.From, err)
	}
	return found, nil
}

func restoreTo(dir string, o RestoreOptions) error {
	config := snapshot.RestoreConfig{
		SnapshotPath: o.From, Name: o.Name, OutputDataDir: dir,
		PeerURLs: []string{singlePeer}, InitialCluster: o.Name + "=" + singlePeer,
		InitialClusterToken: "jurymast-" + rand.Text(),
		RevisionBump:        revisionBump, MarkCompacted: true,
	}
	if o.KeepRevision {
		config.RevisionBump, config.MarkCompacted = 0, false
	}
	log := zap.New(telemetry.NewZapCore(telemetry.ZapOptions{Logger: o.Logger, Level: zapcore.WarnLevel}))
	return snapshot.NewV3(log).Restore(config)
}

// onlyLock refuses a directory that holds anything but the lock.
func onlyLock(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			return fmt.Errorf("%w: %s is not empty: it holds %s; restore into a new directory, and keep the old one until all is well",
				ErrOptions, dir, e.Name())
		}
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
