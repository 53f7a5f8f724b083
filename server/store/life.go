package store

import (
	"fmt"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// Regression is a named reason to take a store for one that went back in time.
type Regression string

// What is noticed of a store that was restored from a backup, or replaced by another one. Any of them makes the replicas
// observe only (protocol P10).
const (
	// RegressionOlderEpoch says: its restore epoch is before one that was seen.
	RegressionOlderEpoch Regression = "older_restore_epoch"
	// RegressionForeignEpoch says: its restore epoch can't be ordered with the one that was seen.
	RegressionForeignEpoch Regression = "foreign_restore_epoch"
	// RegressionNoEpoch says: it has no restore epoch, though one was seen: everything is gone.
	RegressionNoEpoch Regression = "no_restore_epoch"
	// RegressionOlderRevision says: in the restore epoch that was seen, its revision is below one that was seen.
	RegressionOlderRevision Regression = "older_revision"
	// RegressionForeignCluster says: it is another etcd cluster than the one its restore epoch was begun in, or that was seen.
	RegressionForeignCluster Regression = "foreign_cluster"
	// RegressionOlderTerm says: its term is below one that an earlier process of this replica saw.
	RegressionOlderTerm Regression = "older_term"
	// RegressionOlderRecord says: a record is older than it was seen before, or another one at the same revision, which
	// nothing but a restore can do.
	RegressionOlderRecord Regression = "older_record"
	// RegressionRestoredHere says: the data directory was made from a backup.
	RegressionRestoredHere Regression = "restored_here"
)

// place is how far a store is, or was seen.
type place struct {
	// epoch is the text of its restore epoch; empty: there is none.
	epoch string
	// home is the cluster in which the epoch was begun; zero: not known.
	home uint64
	// revision is the newest one.
	revision int64
	// cluster and term are those that answered; zero: not known.
	cluster, term uint64
}

// judgePlace compares what is found with the highest that was seen; empty when nothing went back. A newer epoch goes
// before all else: it says that a human has confirmed what happened.
func judgePlace(seen, found place) Regression {
	if found.epoch == "" {
		if seen.epoch != "" {
			return RegressionNoEpoch
		}
		return ""
	}
	if found.home != 0 && found.cluster != 0 && found.home != found.cluster {
		return RegressionForeignCluster
	}
	if seen.epoch == "" {
		return ""
	}
	switch old, now := epochNumber(seen.epoch), epochNumber(found.epoch); {
	case now > old:
		return ""
	case now < old:
		return RegressionOlderEpoch
	case seen.epoch != found.epoch:
		return RegressionForeignEpoch
	case seen.cluster != 0 && found.cluster != 0 && seen.cluster != found.cluster:
		return RegressionForeignCluster
	case found.revision < seen.revision:
		return RegressionOlderRevision
	default:
		return ""
	}
}

// judgeAtStart is [judgePlace] for what an earlier process saw. It may look at the term too: while a process runs, the
// members it talks to may know different ones for a moment, but not for as long as a restart takes.
func judgeAtStart(seen, found place) Regression {
	why := judgePlace(seen, found)
	if why == "" && seen.epoch == found.epoch && found.term != 0 && found.term < seen.term {
		return RegressionOlderTerm
	}
	return why
}

// epochNumber returns the part of an epoch's text that orders it.
func epochNumber(text string) string {
	number := text
	for i := range text {
		if text[i] == '-' {
			number = text[:i]
			break
		}
	}
	return number
}

// words explains a regression.
func (r Regression) words(seen, found place) string {
	switch r {
	case RegressionOlderEpoch, RegressionForeignEpoch:
		return fmt.Sprintf("the store shows restore epoch %s, and %s was seen before", found.epoch, seen.epoch)
	case RegressionNoEpoch:
		return fmt.Sprintf("the store is empty, and revision %d was seen before", seen.revision)
	case RegressionOlderRevision:
		return fmt.Sprintf("the store is at revision %d, and %d was seen before", found.revision, seen.revision)
	case RegressionForeignCluster:
		return fmt.Sprintf("the store is in etcd cluster %x, and its records were written in another one", found.cluster)
	case RegressionOlderTerm:
		return fmt.Sprintf("etcd is at term %d, and %d was seen before", found.term, seen.term)
	case RegressionOlderRecord:
		return "a record is older than it was seen before, or another one at the same revision"
	case RegressionRestoredHere:
		return "the data directory was made from a backup"
	default:
		return string(r)
	}
}

// placeOf reads the place of a picture.
func placeOf(s *snapshot, cluster, term uint64) place {
	p := place{revision: s.revision, cluster: cluster, term: term}
	if e, ok := metaOf[*recordv1.RestoreEpoch](s, RestoreEpochKey()); ok {
		p.epoch, p.home = epochText(e), e.GetClusterId()
	}
	return p
}

// metaOf returns a record of the family Meta; ok is false when there is none that can be read.
func metaOf[M any](s *snapshot, key string) (m M, ok bool) {
	r, ok := s.records.get(key)
	if !ok || r.problem != nil {
		return m, false
	}
	m, ok = r.msg.(M)
	return m, ok
}
