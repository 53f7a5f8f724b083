package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// seenFile is the form in which a place is kept in the data directory, for the eyes of humans too.
type seenFile struct {
	RestoreEpoch string `json:"restore_epoch"`
	Revision     int64  `json:"revision"`
	ClusterID    uint64 `json:"cluster_id"`
	Term         uint64 `json:"term"`
}

// readSeen returns the highest place that an earlier process of this replica saw; the zero place when there is no file.
func readSeen(path string) (place, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return place{}, nil
	}
	if err != nil {
		return place{}, err
	}
	var f seenFile
	if err := json.Unmarshal(data, &f); err != nil {
		return place{}, fmt.Errorf("read %s: %w", path, err)
	}
	return place{epoch: f.RestoreEpoch, revision: f.Revision, cluster: f.ClusterID, term: f.Term}, nil
}

// writeSeen replaces the file, so that a crash at any moment leaves the old one or the new one.
func writeSeen(path string, p place) (err error) {
	data, err := json.Marshal(seenFile{RestoreEpoch: p.epoch, Revision: p.revision, ClusterID: p.cluster, Term: p.term})
	if err != nil {
		return err
	}
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// recall reads what earlier processes saw. Without it a store that went back meanwhile is noticed only if its cluster is
// another one, so it is said loudly; but not to start would help nobody.
func (s *Store) recall() {
	if s.opts.SeenFile == "" {
		return
	}
	seen, err := readSeen(s.opts.SeenFile)
	if err != nil {
		s.log.Error("what was seen of the store before is not known", "error", err)
		return
	}
	s.life.mu.Lock()
	s.life.seen, s.life.saved = seen, seen
	s.life.mu.Unlock()
}

// rememberEvery is how often the highest place is written down while it grows.
const rememberEvery = time.Second

// remember keeps the highest place in the file until the store is closed.
func (s *Store) remember() {
	tick := time.NewTicker(rememberEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.save()
		case <-s.closing.Done():
			s.save()
			return
		}
	}
}

func (s *Store) save() {
	s.life.mu.Lock()
	seen, saved := s.life.seen, s.life.saved
	s.life.mu.Unlock()
	seen.home = 0
	if seen == saved || seen.epoch == "" {
		return
	}
	if err := writeSeen(s.opts.SeenFile, seen); err != nil {
		s.log.Error("can't write down what was seen of the store", "error", err)
		return
	}
	s.life.mu.Lock()
	s.life.saved = seen
	s.life.mu.Unlock()
}
