package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
)

// ErrObserveOnly says that the replicas only observe: the store went back in time, and until a human has confirmed it
// nothing is written but what says that somebody lives. Nothing was sent.
var ErrObserveOnly = errors.New("the store was restored, or went back: replicas only observe until a human confirms it")

// ErrNotRestored says that there is nothing to confirm.
var ErrNotRestored = errors.New("the store did not go back: there is nothing to confirm")

// Restored says that whoever starts the store knows that it was restored from a backup.
type Restored struct {
	// Detail says so in words, e.g. with the file's name.
	Detail string
}

// life is what a store knows of the life of the cluster it is on.
type life struct {
	mu sync.Mutex
	// seen is the highest place, of this process and of earlier ones.
	seen place
	// noticed is what was noticed here and is not in the cluster yet; nil: nothing.
	noticed *recordv1.ObserveOnly
	// observing is whether the replica only observes, and changed is closed when that changes.
	observing bool
	changed   chan struct{}
	// sessions ends with the present mode: a session of before a restore is worth nothing after it.
	sessions    context.Context //nolint:containedctx // it stands for a part of the store's life, not for a call
	endSessions context.CancelCauseFunc
	// answered is what the cluster said of itself last.
	answered struct{ cluster, term uint64 }
	// saved is the place in the file.
	saved place
}

// errLifeEnded ends sessions when the store is found to have gone back.
var errLifeEnded = fmt.Errorf("the store went back: %w", ErrLeaseLost)

// sessionContext is the context that a new session lives in.
func (s *Store) sessionContext() context.Context {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.sessions
}

// ObserveOnly tells whether the replica only observes, and why. The record must not be changed.
func (s *Store) ObserveOnly() (why *recordv1.ObserveOnly, observing bool) {
	if mark, ok := metaOf[*recordv1.ObserveOnly](s.hub.current.Load(), ObserveOnlyKey()); ok {
		return mark, true
	}
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.noticed, s.life.noticed != nil
}

// modeChanged returns whether the replica only observes, and a channel that is closed when that changes.
func (s *Store) modeChanged() (observing bool, changed <-chan struct{}) {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.observing, s.life.changed
}

// settleMode brings the mode up to what the newest picture and what was noticed say. Sessions end when it is entered.
func (s *Store) settleMode() {
	_, observing := s.ObserveOnly()
	l := &s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observing == observing {
		return
	}
	l.observing = observing
	if observing {
		l.endSessions(errLifeEnded)
		l.sessions, l.endSessions = context.WithCancelCause(s.closing)
		s.log.Error("the store was restored, or went back in time: this replica only observes until a human confirms it")
	} else {
		s.log.Info("a human confirmed the restore: this replica acts again", "restore_epoch", s.RestoreEpoch())
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// notice judges a picture that was listed, before it is shown to anybody; true when the store went back.
func (s *Store) notice(picture *snapshot, page Page, judge func(seen, found place) Regression, olderRecord bool) bool {
	found := placeOf(picture, page.Cluster, page.Term)
	l := &s.life
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered.cluster, l.answered.term = found.cluster, found.term
	why := judge(l.seen, found)
	switch {
	case s.opts.Restored != nil && l.seen.epoch == "":
		why = RegressionRestoredHere
	case why == "" && olderRecord && epochNumber(found.epoch) <= epochNumber(l.seen.epoch):
		why = RegressionOlderRecord
	}
	if why == "" {
		l.seen, l.noticed = found, nil
		s.hub.noticed.Store(false)
		return false
	}
	detail := why.words(l.seen, found)
	if why == RegressionRestoredHere {
		detail = s.opts.Restored.Detail
	}
	l.noticed = &recordv1.ObserveOnly{
		Since: timestamppb.New(s.opts.Now()), Reason: string(why), Detail: detail, Replica: s.opts.Replica,
		SeenRestoreEpoch: l.seen.epoch, SeenRevision: l.seen.revision, FoundRevision: found.revision,
	}
	if b, ok := metaOf[*recordv1.Backup](picture, BackupKey()); ok {
		l.noticed.BackupTime = b.GetBeginTime()
	}
	s.hub.noticed.Store(true)
	s.log.Error("the store went back", "reason", string(why), "detail", detail)
	return true
}

// reached notes how far the mirror is, unless that is what nobody has confirmed.
func (s *Store) reached() {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	if l := &s.life; !l.observing && l.noticed == nil {
		l.seen = placeOf(s.hub.current.Load(), l.answered.cluster, l.answered.term)
	}
}

// mark makes what was noticed here a fact of the cluster, so that every replica knows it, whenever it comes. The first
// one wins; one that comes after a human has confirmed does nothing.
func (s *Store) mark(ctx context.Context) error {
	s.life.mu.Lock()
	noticed, cluster := s.life.noticed, s.life.answered.cluster
	s.life.mu.Unlock()
	if noticed == nil {
		return nil
	}
	snap := s.hub.current.Load()
	epoch, _ := snap.records.get(RestoreEpochKey())
	op := Put(ObserveOnlyKey(), noticed)
	txn := Txn{
		If:      []Compare{Absent(op.Key), Unchanged(RestoreEpochKey(), modOf(epoch))},
		Then:    []Op{op},
		Witness: op.Key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, op.Value) },
	}
	if epoch == nil {
		// Nobody can speak of a store that has no life. The mark says that this one is nobody's word.
		txn.Then = append(txn.Then, Put(RestoreEpochKey(), newRestoreEpoch(nil, s.opts.Now(), cluster)))
	}
	result, err := s.commitAlways(ctx, txn)
	if err != nil {
		return fmt.Errorf("say that replicas only observe: %w", err)
	}
	if err := s.WaitRevision(ctx, result.Revision); err != nil {
		return err
	}
	if _, marked := metaOf[*recordv1.ObserveOnly](s.hub.current.Load(), ObserveOnlyKey()); !marked {
		s.endWatch(errRegressed) // somebody was faster, and a human too: look again
		return nil
	}
	s.marked()
	return nil
}

// marked forgets what was noticed here once it stands in the cluster.
func (s *Store) marked() {
	if _, ok := metaOf[*recordv1.ObserveOnly](s.hub.current.Load(), ObserveOnlyKey()); !ok {
		return
	}
	s.life.mu.Lock()
	s.life.noticed = nil
	s.life.mu.Unlock()
	s.hub.noticed.Store(false)
}

func modOf(r *record) int64 {
	if r == nil {
		return 0
	}
	return r.mod
}

// observing are the families that are written even while replicas only observe: they say who lives and what is seen, end
// by themselves, and nothing acts on them then.
var observing = []string{Sessions, VotesPrefix, InForce}

// observes tells whether a transaction writes nothing but what observers may.
func (t Txn) observes() bool {
	return !slices.ContainsFunc(t.Then, func(op Op) bool {
		return !slices.ContainsFunc(observing, func(family string) bool { return strings.HasPrefix(op.Key, family) })
	})
}

// gated returns the transaction with the compares that keep it from happening in another life of the store, or while
// replicas only observe, whether this one has noticed or not.
func (s *Store) gated(txn Txn) (Txn, error) {
	if txn.observes() {
		return txn, nil
	}
	if _, yes := s.ObserveOnly(); yes {
		return txn, ErrObserveOnly
	}
	if epoch, ok := s.hub.current.Load().records.get(RestoreEpochKey()); ok {
		txn.If = append(slices.Clip(txn.If), Absent(ObserveOnlyKey()), Unchanged(RestoreEpochKey(), epoch.mod))
	}
	return txn, nil
}

// GateCompares is how many compares the store adds to a transaction: a [Backend] takes so many more than MaxOps.
const GateCompares = 2

// CommitUnderReview is [Store.Commit] for what a human has reviewed after a restore: it happens only while replicas
// observe. ErrNotRestored when they don't.
func (s *Store) CommitUnderReview(ctx context.Context, txn Txn) (Result, error) {
	mark, ok := s.hub.current.Load().records.get(ObserveOnlyKey())
	if !ok {
		return Result{}, ErrNotRestored
	}
	txn.If = append(slices.Clip(txn.If), Unchanged(ObserveOnlyKey(), mark.mod))
	result, err := s.commitAlways(ctx, txn)
	if err != nil {
		return result, fmt.Errorf("commit under review: %w", err)
	}
	return result, nil
}

// Confirmation is a human's word that the store may be acted on again.
type Confirmation struct {
	// Actor and Reason are who said so, and why.
	Actor, Reason string
	// Time is when.
	Time time.Time
	// Then is what is written with it, e.g. the audit event.
	Then []Op
}

// ConfirmRestore begins a new restore epoch and lets the replicas act again, in one transaction, and waits until this
// one does. It returns the epoch. ErrNotRestored when there is nothing to confirm.
func (s *Store) ConfirmRestore(ctx context.Context, c Confirmation) (epoch string, err error) {
	snap := s.hub.current.Load()
	mark, marked := metaOf[*recordv1.ObserveOnly](snap, ObserveOnlyKey())
	last, ok := metaOf[*recordv1.RestoreEpoch](snap, RestoreEpochKey())
	if !marked || !ok {
		return "", ErrNotRestored
	}
	s.life.mu.Lock()
	cluster := s.life.answered.cluster
	s.life.mu.Unlock()
	next := newRestoreEpoch(atLeast(last, mark.GetSeenRestoreEpoch()), c.Time, cluster)
	next.ConfirmTime, next.Actor, next.Reason = timestamppb.New(c.Time), c.Actor, c.Reason
	key := RestoreEpochKey()
	markRecord, _ := snap.records.get(ObserveOnlyKey())
	epochRecord, _ := snap.records.get(key)
	op := Put(key, next)
	result, err := s.commitAlways(ctx, Txn{
		If:      []Compare{Unchanged(ObserveOnlyKey(), markRecord.mod), Unchanged(key, epochRecord.mod)},
		Then:    append([]Op{op, Delete(ObserveOnlyKey())}, c.Then...),
		Witness: key,
		Mine:    func(value []byte) bool { return bytes.Equal(value, op.Value) },
	})
	if err != nil {
		return "", fmt.Errorf("confirm the restore: %w", err)
	}
	if err := s.WaitRevision(ctx, result.Revision); err != nil {
		return "", err
	}
	if !result.Committed {
		return "", fmt.Errorf("confirm the restore: somebody else has just done so, or the store went back again: %w", ErrNotRestored)
	}
	return epochText(next), nil
}
