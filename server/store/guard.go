package store

import (
	"context"
	"errors"
	"time"
)

// guard mistrusts the watch: it asks the store for its revision again and again, restarts a watch
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
			s.markAgain()
			answers = s.ask(answers)
		case <-s.doubts:
			s.markAgain()
			answers = s.ask(answers)
		case <-bookmark.C:
			s.hub.bookmark()
		case <-sweep.C:
			if revision := s.sweep(swept); revision > 0 {
				swept = revision
			}
		}
	}
}

// ask probes the store, and tells whether it answers; a change is logged.
func (s *Store) ask(answered bool) bool {
	err := s.probe()
	if answers := err == nil; answers != answered && s.closing.Err() == nil {
		s.logAnswers(err)
		return answers
	}
	return answered
}

// doubt has the store looked at at once: something was heard that a store which only goes on does not say.
func (s *Store) doubt() {
	select {
	case s.doubts <- struct{}{}:
	default:
	}
}

// markAgain tries to make what was noticed here a fact of the cluster.
func (s *Store) markAgain() {
	ctx, cancel := context.WithTimeout(s.closing, s.opts.Stale)
	defer cancel()
	if err := s.mark(ctx); err != nil && s.closing.Err() == nil {
		s.log.Warn("can't tell the other replicas that the store went back", "error", err)
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
	page, err := s.question(ctx)
	if err != nil {
		return err
	}
	if s.wentBack(page, before) {
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

// question asks the store where it is.
func (s *Store) question(ctx context.Context) (Page, error) {
	query := exactly(RestoreEpochKey())
	query.KeysOnly = true
	return s.opts.Backend.Range(ctx, query)
}

// wentBack tells whether an answer shows that the store is not the one whose revision was known before it was asked.
func (s *Store) wentBack(page Page, before int64) bool {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	known := s.life.answered.cluster
	return page.Revision < before || known != 0 && page.Cluster != 0 && page.Cluster != known
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
