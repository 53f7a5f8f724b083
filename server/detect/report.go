package detect

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// entry is a signal on its way into the store: what a sender says of one subject for one pair.
type entry struct {
	pair    pair
	source  string // detector, or operatorSource
	subject string
	signal  *jv1.Signal
	// begins is when an alert started; the zero time for what is no alert.
	begins time.Time
}

func (e entry) key() string {
	return store.ReportKey(e.pair.service, e.pair.provider, e.source, e.subject)
}

// fate is what becomes of an entry.
type fate uint8

const (
	// absorbed: known, or older than what is stored.
	absorbed fate = iota
	// renewed: known, but it counts for longer now.
	renewed
	// accepted: new.
	accepted
)

const (
	// maxRecentIDs is how many ids of a subject's earlier signals are remembered.
	maxRecentIDs = 16
	// reorderWindow is for how long after an alert's end a repeated beginning is taken for a late copy, as a second
	// sender of a pair may deliver. After it, the same alert fires again: a sender that lost its source for a while
	// ends an alert and takes it up again with the old beginning.
	reorderWindow = time.Minute
)

// weigh decides what becomes of an entry where old is stored (nil: nothing is).
func weigh(old *recordv1.Report, e entry, now time.Time) fate {
	if !unexpired(e.signal, now) {
		return absorbed
	}
	if old == nil {
		return accepted
	}
	if !e.begins.IsZero() {
		return weighAlert(old, e, now)
	}
	if id := e.signal.GetSignalId(); id != "" && (id == old.GetSignal().GetSignalId() || slices.Contains(old.GetRecentIds(), id)) {
		return absorbed
	}
	seen, stored := e.signal.GetObservedAt().AsTime(), old.GetSignal().GetObservedAt().AsTime()
	switch {
	case seen.Before(stored):
		return absorbed
	case seen.Equal(stored) && e.signal.GetState() == old.GetSignal().GetState() && e.signal.GetCause() == old.GetSignal().GetCause():
		return longer(old, e, now)
	default:
		return accepted
	}
}

// weighAlert orders the states of an alert by its beginnings: within one, it fires and then ends.
func weighAlert(old *recordv1.Report, e entry, now time.Time) fate {
	stored := old.GetStartsAt().AsTime()
	fires := e.signal.GetState() == jv1.SignalState_SIGNAL_STATE_FAILING
	fired := old.GetSignal().GetState() == jv1.SignalState_SIGNAL_STATE_FAILING
	switch {
	case e.begins.Before(stored):
		return absorbed
	case e.begins.After(stored):
		return accepted
	case fires == fired:
		return longer(old, e, now)
	case fires && now.Sub(old.GetReceiveTime().AsTime()) < reorderWindow:
		return absorbed
	default:
		return accepted
	}
}

// longer tells whether a repetition is worth a write: when it adds at least a tenth of what the signal counts for.
func longer(old *recordv1.Report, e entry, now time.Time) fate {
	until, before := e.signal.GetValidUntil().AsTime(), old.GetSignal().GetValidUntil().AsTime()
	if until.Sub(before) >= until.Sub(now)/10 && until.After(before) {
		return renewed
	}
	return absorbed
}

// report makes the record of an entry that follows old (nil: none).
func report(old *recordv1.Report, e entry, now time.Time) *recordv1.Report {
	r := &recordv1.Report{Signal: e.signal, Subject: e.subject, ReceiveTime: timestamppb.New(now)}
	if !e.begins.IsZero() {
		r.StartsAt = timestamppb.New(e.begins)
		return r
	}
	ids := slices.Clone(old.GetRecentIds())
	if id := old.GetSignal().GetSignalId(); id != "" {
		ids = append(ids, id)
	}
	r.RecentIds = ids[max(0, len(ids)-maxRecentIDs):]
	return r
}
