package store

import (
	"context"
	"errors"
	"time"
)

// guard mistrusts the watch: it asks the store for its revision when nothing was heard for a while, restarts a watch
// that stays behind, and compares the mirror with the store now and then.
func (s *Store) guard() {
	probe, sweep, bookmark := time.NewTicker(s.opts.Probe), time.NewTicker(s.opts.Sweep), time.NewTicker(s.opts.Bookmark)
	defer probe.Stop()
	defer sweep.Stop()
	defer bookmark.Stop()
	var swept int64
	answers := true
	for {
		select {
		case <-s.closing.Done():
			return
		case <-probe.C:
			if _, ago := s.heard.last(); ago < s.opts.Probe {
				continue
			}
			err := s.probe()
			if s.closing.Err() != nil {
				return
			}
			if answered := err == nil; answered != answers {
				answers = answered
				s.logAnswers(err)
			}
		case <-bookmark.C:
			s.hub.bookmark()
		case <-sweep.C:
			if revision := s.sweep(swept); revision > 0 {
				swept = revision
			}
		}
	}
}

func (s *Store) logAnswers(err error) {
	if err != nil {
		s.log.Warn("store does not answer", "error", err)
		return
	}
	s.log.Info("store answers again")
}

// probe asks the store for its revision, and whether the mirror reaches it in time.
func (s *Store) probe() error {
	ctx, cancel := context.WithTimeout(s.closing, s.opts.Stale/2)
	defer cancel()
	before, wall, asked := s.hub.current.Load().revision, s.opts.Now(), time.Now()
	query := exactly(RestoreEpochKey())
	query.KeysOnly = true
	page, err := s.opts.Backend.Range(ctx, query)
	if err != nil {
		return err
	}
	if page.Revision < before {
		s.endWatch(errRegressed)
		return errRegressed
	}
	if err := s.WaitRevision(ctx, page.Revision); err != nil {
		s.endWatch(errSilent)
		return errSilent
	}
	s.heard.at(wall, asked)
	return nil
}

// sweep compares the keys and revisions that are stored with the mirror, at the mirror's revision, and returns it when
// they agree. When they don't, the watch has lost something.
func (s *Store) sweep(swept int64) int64 {
	snap := s.hub.current.Load()
	if snap.revision == swept {
		return 0
	}
	differs, count := 0, 0
	_, err := s.list(s.closing, Query{Revision: snap.revision, KeysOnly: true, Limit: sweepPage}, func(e Entry) {
		count++
		if r, ok := snap.records.get(e.Key); !ok || r.mod != e.ModRevision || r.create != e.CreateRevision {
			differs++
		}
	})
	switch {
	case errors.Is(err, ErrCompacted):
		// The mirror is behind, or the store was compacted at this very moment: the next sweep tells.
		return 0
	case err != nil:
		s.log.Debug("sweep", "error", err)
		return 0
	case differs == 0 && count == snap.records.size:
		return snap.revision
	}
	s.log.Error("mirror differs from the store, listing again",
		"differing", differs, "stored", count, "mirrored", snap.records.size, "revision", snap.revision)
	s.endWatch(errDiffers)
	return 0
}

// sweepPage is how many keys a sweep reads at once.
const sweepPage = 4096
