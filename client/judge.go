package client

import (
	"cmp"
	"strings"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Verdict is what became of a state that a server sent, as a named reason.
type Verdict string

const (
	// VerdictFirst says: nothing was known of the service.
	VerdictFirst Verdict = "first"
	// VerdictNewer says: it is not older than the state held, and takes its place.
	VerdictNewer Verdict = "newer"
	// VerdictOlderLife says: it comes from an earlier life of the store than the state held; kept out.
	VerdictOlderLife Verdict = "older_restore_epoch"
	// VerdictForeignLife says: it comes from a life of the store that can't be ordered with that of the state held, as when
	// one backup was restored twice; kept out.
	VerdictForeignLife Verdict = "foreign_restore_epoch"
	// VerdictOlderRevision says: it was stored before the state held; kept out.
	VerdictOlderRevision Verdict = "older_revision"
	// VerdictOlderEpoch says: its epoch is below that of the state held, though epochs only grow; kept out.
	VerdictOlderEpoch Verdict = "older_epoch"
)

// accepted tells whether the state takes the place of the one held.
func (v Verdict) accepted() bool { return v == VerdictFirst || v == VerdictNewer }

// judge decides whether a state that a server sent may take the place of the one held. Restore epoch goes before
// revision, and revision before epoch: within one life of the store all three only grow.
func judge(held, got *jv1.ContinuityState) Verdict {
	if held == nil {
		return VerdictFirst
	}
	if held.GetRestoreEpoch() != got.GetRestoreEpoch() {
		switch order, ok := compareLives(got.GetRestoreEpoch(), held.GetRestoreEpoch()); {
		case !ok:
			return VerdictForeignLife
		case order < 0:
			return VerdictOlderLife
		default:
			return VerdictNewer
		}
	}
	switch {
	case got.GetRevision() < held.GetRevision():
		return VerdictOlderRevision
	case got.GetEpoch() < held.GetEpoch():
		return VerdictOlderEpoch
	default:
		return VerdictNewer
	}
}

// compareLives orders two different restore epochs: a number, then a random suffix that orders nothing. The empty one
// is before all others. It is not ok when they can't be ordered.
func compareLives(a, b string) (order int, ok bool) {
	x, okX := lifeNumber(a)
	y, okY := lifeNumber(b)
	if !okX || !okY {
		return 0, false
	}
	order = cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	return order, order != 0
}

// lifeNumber returns the leading digits of a restore epoch without leading zeros, so that the longer is the greater.
func lifeNumber(s string) (digits string, ok bool) {
	if s == "" {
		return "", true
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return "", false
	}
	if digits = strings.TrimLeft(s[:end], "0"); digits == "" {
		digits = "0"
	}
	return digits, true
}
