package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/store"
)

// Files of the data directory that are about the life of the store.
const (
	// etcdDir holds the embedded etcd.
	etcdDir = "etcd"
	// seenFile keeps the highest place in the store's life that this replica has seen.
	seenFile = "seen.json"
	// restoredFile stands from a restore until the store itself says that it was restored.
	restoredFile = "restored.json"
	// backupDir holds the automatic backups.
	backupDir = "backups"
)

// RestoreOptions say which backup becomes which data directory.
type RestoreOptions struct {
	// From is the backup: a file that this server, or etcd's own tool, has made.
	From string
	// DataDir must be empty or missing.
	DataDir string
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// restoredNote is what stands in restoredFile.
type restoredNote struct {
	From     string    `json:"from"`
	SHA256   string    `json:"sha256"`
	Revision int64     `json:"revision"`
	Time     time.Time `json:"time"`
}

// Restore makes a data directory for a server with a store of its own from a backup. The server that is started on it
// only observes until a human confirms. Nothing is left in the directory but its lock when it fails.
func Restore(o RestoreOptions) (etcdnode.Snapshot, error) {
	if o.From == "" || o.DataDir == "" {
		return etcdnode.Snapshot{}, fmt.Errorf("%w: a restore needs a backup (--from) and a data directory (--data-dir)", ErrOptions)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	found, err := etcdnode.VerifySnapshot(o.From)
	if err != nil {
		return found, err
	}
	lock, err := etcdnode.LockDir(o.DataDir)
	if err != nil {
		return found, err
	}
	defer func() { _ = lock.Release() }()
	if err := wantEmpty(lock.Dir()); err != nil {
		return found, err
	}
	// The note goes first: a directory that was made from a backup must not be taken for one that was not.
	note := filepath.Join(lock.Dir(), restoredFile)
	text, err := json.Marshal(restoredNote{From: o.From, SHA256: found.SHA256, Revision: found.Revision, Time: o.Now().UTC()})
	if err != nil {
		return found, err
	}
	if err := writeFile(note, string(text)+"\n"); err != nil {
		return found, fmt.Errorf("note the restore: %w", err)
	}
	etcd := filepath.Join(lock.Dir(), etcdDir)
	found, err = etcdnode.Restore(etcdnode.RestoreOptions{From: o.From, DataDir: etcd, Logger: o.Logger})
	if err != nil {
		return found, errors.Join(err, os.RemoveAll(etcd), os.Remove(note))
	}
	return found, nil
}

// wantEmpty refuses a data directory that holds anything but its lock.
func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			return fmt.Errorf("%w: the data directory %s is not empty (%s): restore into a new one, and keep the old one until all is well",
				ErrOptions, dir, e.Name())
		}
	}
	return nil
}

// knownRestore tells whether the data directory was made from a backup, and the store does not say so yet.
func knownRestore(dir string) (*store.Restored, error) {
	text, err := os.ReadFile(filepath.Join(dir, restoredFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var note restoredNote
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		return nil, fmt.Errorf("read the note of the restore: %w", err)
	}
	return &store.Restored{Detail: fmt.Sprintf("the data directory was made from the backup %s, revision %d, at %s",
		note.From, note.Revision, note.Time.UTC().Format("2006-01-02 15:04:05 UTC"))}, nil
}

// forgetRestore removes the note once the store itself says that it was restored: a fact in the store is known to all,
// and goes when a human confirms.
func forgetRestore(st *store.Store, dir string) error {
	marked := false
	st.Read(func(v store.View) { _, _, _, marked = v.Lookup(store.ObserveOnlyKey()) })
	if !marked {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, restoredFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the note of the restore: %w", err)
	}
	return nil
}

// backupEvery is how often backups are taken: of an etcd that is somebody else's never.
func (o Options) backupEvery() time.Duration {
	if o.Etcd.external() {
		return 0
	}
	return o.BackupEvery
}
