package store

import (
	"fmt"
	"strings"
)

// check refuses a transaction that no backend would take, before anything is sent.
func (t Txn) check() error { return t.checked(MaxOps) }

// checkGated is check for a transaction to which the store has added compares of its own.
func (t Txn) checkGated() error { return t.checked(MaxOps + GateCompares) }

func (t Txn) checked(maxCompares int) error {
	if len(t.Then) > MaxOps || len(t.If) > maxCompares {
		return fmt.Errorf("%d writes and %d compares, at most %d and %d: %w", len(t.Then), len(t.If), MaxOps, maxCompares, ErrTooLarge)
	}
	size := 0
	for _, c := range t.If {
		if c.Key == "" || c.Field > CreateRevision || c.Relation > Less {
			return fmt.Errorf("compare of %q: %w", c.Key, ErrInvalid)
		}
		size += len(c.Key)
	}
	seen := make(map[string]struct{}, len(t.Then))
	for _, op := range t.Then {
		if _, twice := seen[op.Key]; twice {
			return fmt.Errorf("key %q is written twice: %w", op.Key, ErrInvalid)
		}
		if op.Key == "" || op.Delete && (op.Value != nil || op.Lease != 0) {
			return fmt.Errorf("write of key %q: %w", op.Key, ErrInvalid)
		}
		seen[op.Key] = struct{}{}
		size += len(op.Key) + len(op.Value)
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("%d bytes, at most %d: %w", size, MaxTxnBytes, ErrTooLarge)
	}
	return nil
}

// undoesItself tells whether the compares can't hold right after the transaction was committed, so that it can't
// happen twice in a row and a read of its compares shows that it has not happened yet. That supposes that somebody has
// seen the revisions that are compared: none of them is still to come.
func (t Txn) undoesItself() bool {
	for _, c := range t.If {
		for _, op := range t.Then {
			if c.brokenBy(op) {
				return true
			}
		}
	}
	return false
}

// brokenBy tells whether a compare that held can't hold once op is done.
func (c Compare) brokenBy(op Op) bool {
	if c.Prefix {
		return strings.HasPrefix(op.Key, c.Key) && !op.Delete && c.Field == ModRevision && c.Relation == Less
	}
	if c.Key != op.Key || c.Relation != Equal {
		return false
	}
	if op.Delete {
		return c.Revision > 0
	}
	return c.Field == ModRevision || c.Revision == 0
}

// permanent tells whether the compare can never hold again once it has failed: revisions only grow, but a key that is
// there now may be absent later.
func (c Compare) permanent() bool {
	return !c.Prefix && c.Relation == Equal && c.Revision > 0
}

// holds evaluates the compare for one key; absent keys have revision 0.
func (c Compare) holds(create, mod int64) bool {
	got := mod
	if c.Field == CreateRevision {
		got = create
	}
	switch c.Relation {
	case Equal:
		return got == c.Revision
	case NotEqual:
		return got != c.Revision
	default:
		return got < c.Revision
	}
}
