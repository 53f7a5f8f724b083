package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// NewRestoreEpoch returns the epoch that follows the last one (nil when there was none): greater than it, at least the
// time in UTC milliseconds, with a random suffix that tells apart two restores of the same backup.
func NewRestoreEpoch(last *recordv1.RestoreEpoch, unixMilli int64) *recordv1.RestoreEpoch {
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails, see crypto/rand
	return &recordv1.RestoreEpoch{Number: max(last.GetNumber()+1, unixMilli), Suffix: hex.EncodeToString(suffix[:])}
}

// newRestoreEpoch is [NewRestoreEpoch] for a cluster.
func newRestoreEpoch(last *recordv1.RestoreEpoch, now time.Time, cluster uint64) *recordv1.RestoreEpoch {
	e := NewRestoreEpoch(last, now.UnixMilli())
	e.ClusterId = cluster
	return e
}

// atLeast returns the later one of an epoch and of one that was seen elsewhere.
func atLeast(last *recordv1.RestoreEpoch, seen string) *recordv1.RestoreEpoch {
	number, err := strconv.ParseInt(epochNumber(seen), 10, 64)
	if err != nil || number <= last.GetNumber() {
		return last
	}
	return &recordv1.RestoreEpoch{Number: number}
}

// epochText writes an epoch so that the order of texts is that of epochs.
func epochText(e *recordv1.RestoreEpoch) string {
	return fmt.Sprintf("%015d-%s", e.GetNumber(), e.GetSuffix())
}

// LifeOf is the restore epoch as a view shows it, as [Store.RestoreEpoch] writes it. Empty when there is none.
func LifeOf(v View) string {
	rec := Get[*recordv1.RestoreEpoch](v, RestoreEpochKey())
	if rec.Msg == nil {
		return ""
	}
	return epochText(rec.Msg)
}

// epochOf reads the restore epoch of a snapshot; empty when it has none.
func epochOf(s *snapshot) string {
	if e, ok := metaOf[*recordv1.RestoreEpoch](s, RestoreEpochKey()); ok {
		return epochText(e)
	}
	return ""
}

// ensureRestoreEpoch makes the epoch of a new store. Several replicas may try; one wins.
func (s *Store) ensureRestoreEpoch(ctx context.Context) error {
	if s.RestoreEpoch() != "" {
		return nil
	}
	for _, p := range s.Problems() {
		if p.Key == RestoreEpochKey() {
			return p.Err
		}
	}
	s.life.mu.Lock()
	cluster := s.life.answered.cluster
	s.life.mu.Unlock()
	op := Put(RestoreEpochKey(), newRestoreEpoch(nil, s.opts.Now(), cluster))
	txn := Txn{
		If:      []Compare{Absent(op.Key)},
		Then:    []Op{op},
		Witness: op.Key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, op.Value) },
	}
	var result Result
	err := s.retry(ctx, func() (err error) {
		result, err = s.commitAlways(ctx, txn)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.WaitRevision(ctx, result.Revision); err != nil {
		return err
	}
	s.reached()
	return nil
}
