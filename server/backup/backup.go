// Package backup takes verified backups of the store, and carries out what a human confirms after a restore.
//
// It promises that what it hands out as a backup is a whole one: the hash etcd gave it matches, every page of it is sound,
// and it is not older than what the store held when it was asked for. A backup holds the time it was taken at. A restore
// is confirmed only after every live run was paused for review and everything that was to be sent was given up.
//
// It never restores anything by itself, and it never deletes a backup that it has not taken.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/etcdnode"
	"github.com/jurymast/jurymast/server/store"
)

// ErrStale says that the member that was asked for a snapshot lags behind, whichever was asked.
var ErrStale = errors.New("the snapshot is older than the store")

// Source gives snapshots; *store.Etcd does.
type Source interface {
	// Snapshot returns the database of a member, with its hash behind it.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
}

// Options configure [New]. Store, Source and Dir are required.
type Options struct {
	// Store is started.
	Store *store.Store
	// Source gives the snapshots.
	Source Source
	// Dir is where backups are made and kept. It is created with mode 0700.
	Dir string
	// Replica is this replica's name.
	Replica string
	// Every is the time between two automatic backups. 0: none are taken.
	Every time.Duration
	// Keep is how many automatic backups are kept. 0: 24.
	Keep int
	// Logger; nil: nothing is logged.
	Logger hclog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil: they are not exported.
	Registerer prometheus.Registerer
}

// Backups takes backups, one at a time. Its methods are safe for concurrent use.
type Backups struct {
	o       Options
	one     sync.Mutex
	results *prometheus.CounterVec
}

// New returns a taker of backups.
func New(o Options) (*Backups, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Keep <= 0 {
		o.Keep = 24
	}
	b := &Backups{o: o, results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jurymast_backups_total", Help: "Backups taken by this replica, by result: taken or failed.",
	}, []string{"result"})}
	b.results.WithLabelValues("taken")
	b.results.WithLabelValues("failed")
	last := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "jurymast_backup_last_success_timestamp_seconds",
		Help: "When the last backup of the store was done, whoever took it; 0: never.",
	}, b.lastSuccess)
	if o.Registerer != nil {
		if err := errors.Join(o.Registerer.Register(b.results), o.Registerer.Register(last)); err != nil {
			return nil, fmt.Errorf("register the metrics of backups: %w", err)
		}
	}
	return b, nil
}

func (b *Backups) lastSuccess() float64 {
	var at *timestamppb.Timestamp
	b.o.Store.Read(func(v store.View) { at = store.Get[*recordv1.Backup](v, store.BackupKey()).Msg.GetSuccessTime() })
	if at == nil {
		return 0
	}
	return float64(at.AsTime().UnixMilli()) / 1000
}

// File is a verified backup.
type File struct {
	// Path of the file, which is the caller's to keep or to remove.
	Path string
	// Snapshot is what is in it.
	Snapshot etcdnode.Snapshot
	// Time it was taken at, and RestoreEpoch it is of.
	Time         time.Time
	RestoreEpoch string
	// ClusterID is that of the etcd cluster it was taken from; 0: not known.
	ClusterID uint64
	// SHA256 of the whole file, in hexadecimal.
	SHA256 string
}

// tries is how often a member is asked for a snapshot before all of them are taken to lag behind.
const tries = 3

// Take takes a backup into a file of its own in the directory. While replicas only observe, the store is left as it is, so
// that the backup does not hold its own time.
func (b *Backups) Take(ctx context.Context) (File, error) {
	b.one.Lock()
	defer b.one.Unlock()
	file, err := b.take(ctx)
	if err != nil {
		b.results.WithLabelValues("failed").Inc()
		return File{}, fmt.Errorf("take a backup: %w", err)
	}
	b.results.WithLabelValues("taken").Inc()
	return file, nil
}

func (b *Backups) take(ctx context.Context) (File, error) {
	if err := os.MkdirAll(b.o.Dir, 0o700); err != nil {
		return File{}, err
	}
	began := b.o.Now()
	least, err := b.record(ctx, func(r *recordv1.Backup) {
		r.BeginTime, r.Replica = timestamppb.New(began), b.o.Replica
	})
	if err != nil {
		return File{}, fmt.Errorf("write down that it begins: %w", err)
	}
	for try := 1; ; try++ {
		file, err := b.fetch(ctx)
		if err == nil && file.Snapshot.Revision < least {
			err = errors.Join(fmt.Errorf("revision %d instead of at least %d: %w", file.Snapshot.Revision, least, ErrStale), os.Remove(file.Path))
		}
		if err != nil {
			if try < tries && errors.Is(err, ErrStale) {
				continue
			}
			return File{}, err
		}
		file.Time, file.RestoreEpoch = began, b.o.Store.RestoreEpoch()
		file.ClusterID = b.o.Store.ClusterID()
		if _, err := b.record(ctx, func(r *recordv1.Backup) {
			r.SuccessTime, r.Revision = timestamppb.New(b.o.Now()), file.Snapshot.Revision
			r.Bytes, r.Sha256 = file.Snapshot.Bytes, file.Snapshot.SHA256
		}); err != nil {
			b.o.Logger.Warn("a backup was taken, and can't be written down", "error", err)
		}
		return file, nil
	}
}

// fetch saves and verifies a snapshot.
func (b *Backups) fetch(ctx context.Context) (file File, err error) {
	if err := b.room(); err != nil {
		return file, err
	}
	r, err := b.o.Source.Snapshot(ctx)
	if err != nil {
		return file, fmt.Errorf("ask for a snapshot: %w", err)
	}
	defer r.Close()
	f, err := os.CreateTemp(b.o.Dir, temporary) // mode 0600
	if err != nil {
		return file, err
	}
	file.Path = f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Path))
		}
	}()
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), r)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return file, fmt.Errorf("save the snapshot: %w", err)
	}
	file.SHA256 = hex.EncodeToString(hash.Sum(nil))
	file.Snapshot, err = etcdnode.VerifySnapshot(file.Path)
	return file, err
}

// temporary is the pattern of the names of files that are not done.
const temporary = ".backup-*.tmp"

// room refuses a backup that would take the space the store itself needs.
func (b *Backups) room() error {
	free, err := etcdnode.FreeDisk(b.o.Dir)
	if err != nil {
		return err
	}
	var last int64
	b.o.Store.Read(func(v store.View) { last = store.Get[*recordv1.Backup](v, store.BackupKey()).Msg.GetBytes() })
	if need := uint64(last) + minFree; free < need {
		return fmt.Errorf("%d bytes are free in %s, and a backup needs %d: %w", free, b.o.Dir, need, store.ErrNoSpace)
	}
	return nil
}

// minFree is what a backup leaves free: twice what the store refuses to go below.
const minFree = 512 << 20

// record changes the record of the last backup and returns the store's revision.
func (b *Backups) record(ctx context.Context, change func(*recordv1.Backup)) (revision int64, err error) {
	for {
		var before store.Record[*recordv1.Backup]
		b.o.Store.Read(func(v store.View) { before, revision = store.Get[*recordv1.Backup](v, store.BackupKey()), v.Revision() })
		next := &recordv1.Backup{}
		if before.Msg != nil {
			next = proto.CloneOf(before.Msg)
		}
		change(next)
		result, err := b.o.Store.Commit(ctx, store.Txn{
			If:   []store.Compare{store.Unchanged(before.Key, before.Mod)},
			Then: []store.Op{store.Put(before.Key, next)}, Witness: before.Key,
			Mine: func(value []byte) bool {
				var stored recordv1.Backup
				return value != nil && store.Open(value, &stored) == nil && proto.Equal(&stored, next)
			},
		})
		if errors.Is(err, store.ErrObserveOnly) {
			return revision, nil
		}
		if err != nil {
			return 0, err
		}
		if err := b.o.Store.WaitRevision(ctx, result.Revision); err != nil {
			return 0, err
		}
		if result.Committed {
			return result.Revision, nil
		}
	}
}

// Pattern of the names of automatic backups; the layout of the time sorts as the time does.
const (
	namePrefix = "jurymast-"
	nameSuffix = ".db"
	nameTime   = "20060102T150405Z"
)

// Run takes automatic backups until ctx ends. One that fails is tried again after a tenth of the time.
func (b *Backups) Run(ctx context.Context) error {
	b.sweep()
	if b.o.Every <= 0 {
		<-ctx.Done()
		return nil
	}
	next := b.newest().Add(b.o.Every)
	if soon := b.o.Now().Add(min(firstAfter, b.o.Every)); next.Before(soon) {
		next = soon
	}
	timer := time.NewTimer(next.Sub(b.o.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := b.o.Every
		if err := b.keepOne(ctx); err != nil && ctx.Err() == nil {
			b.o.Logger.Error("no automatic backup was taken", "error", err)
			wait = b.o.Every / 10
		}
		timer.Reset(wait)
	}
}

// firstAfter is how long a server runs before it takes the backup that is due.
const firstAfter = time.Minute

// keepOne takes a backup, gives it its name, and removes the oldest that are too many.
func (b *Backups) keepOne(ctx context.Context) error {
	file, err := b.Take(ctx)
	if err != nil {
		return err
	}
	path := filepath.Join(b.o.Dir, namePrefix+file.Time.UTC().Format(nameTime)+nameSuffix)
	if err := os.Rename(file.Path, path); err != nil {
		return errors.Join(err, os.Remove(file.Path))
	}
	if err := syncDir(b.o.Dir); err != nil {
		return err
	}
	b.o.Logger.Info("backup taken", "path", path, "revision", file.Snapshot.Revision, "bytes", file.Snapshot.Bytes)
	kept := b.kept()
	for _, name := range kept[:max(0, len(kept)-b.o.Keep)] {
		if err := os.Remove(filepath.Join(b.o.Dir, name)); err != nil {
			b.o.Logger.Warn("an old backup can't be removed", "path", name, "error", err)
		}
	}
	return nil
}

// kept are the names of the automatic backups, the oldest first.
func (b *Backups) kept() (names []string) {
	entries, err := os.ReadDir(b.o.Dir) // in the order of their names
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if _, ok := timeOf(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	return names
}

// newest is when the newest automatic backup was taken; the zero time: there is none.
func (b *Backups) newest() time.Time {
	kept := b.kept()
	if len(kept) == 0 {
		return time.Time{}
	}
	at, _ := timeOf(kept[len(kept)-1])
	return at
}

func timeOf(name string) (time.Time, bool) {
	if len(name) != len(namePrefix)+len(nameTime)+len(nameSuffix) {
		return time.Time{}, false
	}
	at, err := time.Parse(namePrefix+nameTime+nameSuffix, name)
	return at, err == nil
}

// sweep removes what an earlier process left half done.
func (b *Backups) sweep() {
	left, err := filepath.Glob(filepath.Join(b.o.Dir, temporary))
	if err != nil {
		return
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			b.o.Logger.Warn("an unfinished backup can't be removed", "path", path, "error", err)
		}
	}
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
