package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// NewRestoreEpoch returns the epoch that follows the last one (nil when there was none): greater than it, at least the
// time in UTC milliseconds, with a random suffix that tells apart two restores of the same backup.
func NewRestoreEpoch(last *recordv1.RestoreEpoch, unixMilli int64) *recordv1.RestoreEpoch {
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails, see crypto/rand
	return &recordv1.RestoreEpoch{Number: max(last.GetNumber()+1, unixMilli), Suffix: hex.EncodeToString(suffix[:])}
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
	r, ok := s.records.get(RestoreEpochKey())
	if !ok || r.problem != nil {
		return ""
	}
	e, ok := r.msg.(*recordv1.RestoreEpoch)
	if !ok {
		return ""
	}
	return epochText(e)
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
	op := Put(RestoreEpochKey(), NewRestoreEpoch(nil, s.opts.Now().UnixMilli()))
	txn := Txn{
		If:      []Compare{Absent(op.Key)},
		Then:    []Op{op},
		Witness: op.Key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, op.Value) },
	}
	var result Result
	err := s.retry(ctx, func() (err error) {
		result, err = s.Commit(ctx, txn)
		return err
	})
	if err != nil {
		return err
	}
	return s.WaitRevision(ctx, result.Revision)
}
