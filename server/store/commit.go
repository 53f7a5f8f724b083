package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Commit makes a transaction happen or finds out that it didn't. While the outcome is unknown it resubmits the
// identical transaction, until the outcome is known or ctx ends: then the error is ErrUnknown. ErrUnavailable means
// that it certainly did not happen, and so do ErrTooLarge, ErrInvalid, ErrNoSpace, ErrLeaseLost, ErrObserveOnly and ErrClosed.
//
// Every transaction compares the life of the store too: it fails in a store that was restored since this replica looked.
//
// When the compares fail after an attempt whose outcome is unknown, the transaction's witness is asked. Not to find
// oneself there counts only when the unknown attempt can't happen later any more, because a revision that was compared
// has changed for good; compares which only ask that a key be absent may hold again, and leave the outcome unknown.
//
// A transaction should compare the revision of a key that it writes, or ask that a key of its own, which nobody deletes,
// be absent. One that does neither may happen a second time after an unknown outcome.
func (s *Store) Commit(ctx context.Context, txn Txn) (Result, error) {
	if err := txn.check(); err != nil {
		return Result{}, fmt.Errorf("commit: %w", err)
	}
	if s.closing.Err() != nil {
		return Result{}, fmt.Errorf("commit: %w", ErrClosed)
	}
	txn, err := s.gated(txn)
	if err != nil {
		return Result{}, fmt.Errorf("commit: %w", err)
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	result, err := s.commit(ctx, txn, !txn.observes())
	if err != nil {
		return Result{}, fmt.Errorf("commit: %w", err)
	}
	return result, nil
}

// commitAlways is Commit for what is about the life of the store itself.
func (s *Store) commitAlways(ctx context.Context, txn Txn) (Result, error) {
	if err := txn.check(); err != nil {
		return Result{}, err
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	return s.commit(ctx, txn, false)
}

// commit makes the transaction happen or finds out that it didn't. An acting one is not resubmitted to a store that was
// found to have gone back.
func (s *Store) commit(ctx context.Context, txn Txn, acting bool) (Result, error) {
	var unknown error // the last attempt that may have happened, or may still happen
	for attempt := 0; ; attempt++ {
		if _, observing := s.ObserveOnly(); acting && observing && unknown != nil {
			return Result{}, stillUnknown(ctx, unknown)
		}
		result, err := s.attempt(ctx, txn)
		switch {
		case err == nil && result.Committed:
			return result, nil
		case err == nil && unknown == nil:
			return result, nil
		case err == nil:
			return s.settle(ctx, txn, unknown)
		case errors.Is(err, ErrNoSpace) && unknown == nil:
			return s.settleNoSpace(ctx, txn, err)
		case errors.Is(err, ErrUnknown):
			if unknown == nil {
				s.log.Warn("outcome of a transaction unknown, resubmitting it", "error", err)
			}
			unknown = err
		case unknown == nil:
			return Result{}, err
		case errors.Is(err, ErrLeaseLost):
			return s.settleLeaseLost(ctx, txn, err)
		case errors.Is(err, ErrClosed):
			return Result{}, stillUnknown(ctx, unknown)
		}
		if !pause(ctx, attempt) {
			return Result{}, stillUnknown(ctx, unknown)
		}
		// Not to find it proves nothing, but to find it spares a second try.
		if mine, result, err := s.readWitness(ctx, txn); err == nil && mine {
			return result, nil
		}
	}
}

// attempt tries once, when it is its turn.
func (s *Store) attempt(ctx context.Context, txn Txn) (Result, error) {
	select {
	case s.slots <- struct{}{}: // channels serve those who wait in their order
	case <-ctx.Done():
		return Result{}, fmt.Errorf("waiting to write: %w: %w", notSent(ctx), context.Cause(ctx))
	}
	defer func() { <-s.slots }()
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("waiting to write: %w: %w", notSent(ctx), context.Cause(ctx))
	}
	before := s.hub.current.Load().revision
	result, err := s.opts.Backend.Commit(ctx, txn)
	if err == nil && result.Revision < before {
		s.doubt() // it can't be lower, unless the store went back
	}
	return result, err
}

// notSent is the error of a transaction that was never sent because its context ended.
func notSent(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ErrUnavailable
}

// stillUnknown is ErrUnknown with its reason, and with nothing else that errors.Is could take for a definite outcome.
func stillUnknown(ctx context.Context, unknown error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w (%s): %w", ErrUnknown, unknown.Error(), err)
	}
	return fmt.Errorf("%w (%s)", ErrUnknown, unknown.Error())
}

// settle decides after an unknown attempt and a failed compare.
func (s *Store) settle(ctx context.Context, txn Txn, unknown error) (Result, error) {
	// The order matters: once a compare has failed for good nothing can happen any more, and the witness, read after
	// that, tells whether it happened before.
	over, err := s.failedForGood(ctx, txn)
	if err != nil {
		return Result{}, stillUnknown(ctx, unknown)
	}
	mine, result, err := s.askWitness(ctx, txn)
	switch {
	case err != nil:
		return Result{}, stillUnknown(ctx, unknown)
	case mine:
		return result, nil
	case over && txn.Witness != "":
		return result, nil
	default:
		return Result{}, stillUnknown(ctx, unknown)
	}
}

// failedForGood tells whether one of the compares that can't hold again fails.
func (s *Store) failedForGood(ctx context.Context, txn Txn) (bool, error) {
	var permanent []Compare
	for _, c := range txn.If {
		if c.permanent() {
			permanent = append(permanent, c)
		}
	}
	if len(permanent) == 0 {
		return false, nil
	}
	holds, err := s.evaluate(ctx, permanent)
	return err == nil && !holds, err
}

// evaluate asks whether the compares hold, until it gets an answer or ctx ends.
func (s *Store) evaluate(ctx context.Context, compares []Compare) (holds bool, err error) {
	err = s.retry(ctx, func() error {
		result, err := s.attempt(ctx, Txn{If: compares})
		holds = result.Committed
		return err
	})
	return holds, err
}

// askWitness reads the transaction's witness, until it gets an answer or ctx ends.
func (s *Store) askWitness(ctx context.Context, txn Txn) (mine bool, result Result, err error) {
	err = s.retry(ctx, func() error {
		mine, result, err = s.readWitness(ctx, txn)
		return err
	})
	return mine, result, err
}

// readWitness tells whether the transaction's witness shows that it happened. Without a witness nothing is ours.
func (s *Store) readWitness(ctx context.Context, txn Txn) (mine bool, result Result, err error) {
	if txn.Witness == "" || txn.Mine == nil {
		return false, Result{}, nil
	}
	page, err := s.opts.Backend.Range(ctx, exactly(txn.Witness))
	if err != nil {
		return false, Result{}, err
	}
	var e Entry
	if len(page.Entries) > 0 {
		e = page.Entries[0]
	}
	if !txn.Mine(e.Value) {
		return false, Result{Revision: page.Revision}, nil
	}
	return true, Result{Committed: true, Revision: e.ModRevision}, nil
}

// exactly asks for one key.
func exactly(key string) Query { return Query{Prefix: key, Before: key + "\x00"} }

// settleNoSpace decides after the store refused for want of space: etcd notices that at two places, and at the second
// one the writes are done. Its answer ends the attempt, so reading tells what happened.
func (s *Store) settleNoSpace(ctx context.Context, txn Txn, refused error) (Result, error) {
	holds, err := s.evaluate(ctx, txn.If)
	if err != nil {
		return Result{}, stillUnknown(ctx, refused)
	}
	if holds && txn.undoesItself() {
		return Result{}, refused
	}
	mine, result, err := s.askWitness(ctx, txn)
	switch {
	case err != nil:
		return Result{}, stillUnknown(ctx, refused)
	case mine:
		return result, nil
	case txn.Witness == "":
		return Result{}, stillUnknown(ctx, refused)
	case holds:
		return Result{}, refused
	default:
		return result, nil
	}
}

// settleLeaseLost decides after an unknown attempt when the lease is gone: it never comes back, so nothing can happen
// any more.
func (s *Store) settleLeaseLost(ctx context.Context, txn Txn, lost error) (Result, error) {
	mine, result, err := s.askWitness(ctx, txn)
	switch {
	case err != nil || txn.Witness == "":
		return Result{}, stillUnknown(ctx, lost)
	case mine:
		return result, nil
	default:
		return Result{}, lost
	}
}

// Back-off between attempts: the first resubmission follows soon, as most late commits happen within 30 ms.
const (
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
)

// pause waits before the next attempt, with jitter; false when ctx ended.
func pause(ctx context.Context, attempt int) bool {
	d := min(firstPause<<min(attempt, 10), longPause)
	d += rand.N(d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
