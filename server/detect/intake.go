package detect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// Limits and defaults of what is taken in.
const (
	// defaultReportValidity is how long a report counts when its detector says nothing: an hour more than the default
	// interval at which Alertmanager repeats itself.
	defaultReportValidity = 5 * time.Hour
	maxReportValidity     = 30 * 24 * time.Hour
	maxSummary            = 1000
	maxLabels             = 64
	maxLabelName          = 128
	maxLabelValue         = 512
	maxSignalID           = 256
	// chunk is the most reports of one transaction: a write and a compare each, and the detector.
	chunk = 40
	// chunkBytes is the most bytes of signals of one transaction.
	chunkBytes = store.MaxTxnBytes / 2
	// storeTimeout bounds how long a sender waits: many give up after 5 s.
	storeTimeout = 4 * time.Second
	maxAttempts  = 8
)

// labelComponent is the label that tells a sender's subjects apart.
const labelComponent = "component"

// Report stores signals of a source, a detector of format `signal`, durably before it returns how many were new and how
// many were known or older than what is stored. The signals are taken as a whole or refused as a whole, but when the
// store goes away in between, some may be stored: to send them again does no harm. The server sets class, source and
// vantage. Errors: ErrUnknownSource, ErrNotBound, ErrInvalid (also for a signal of the future), ErrUnavailable.
func (d *Detect) Report(ctx context.Context, source string, signals []*jv1.Signal) (accepted, absorbed int, err error) {
	entries, err := d.entries(source, signals)
	if err == nil {
		accepted, absorbed, err = d.keep(ctx, source, entries)
	}
	if err != nil {
		if !errors.Is(err, ErrUnknownSource) {
			d.metrics.taken(source, "refused", len(signals))
		}
		return accepted, absorbed, fmt.Errorf("report of %s: %w", source, err)
	}
	return accepted, absorbed, nil
}

// entries binds signals to what their source may speak of. Each signal gives a group of entries.
func (d *Detect) entries(name string, signals []*jv1.Signal) ([][]entry, error) {
	now := d.opts.Now()
	var groups [][]entry
	var err error
	d.opts.Store.Read(func(v store.View) {
		var src source
		if src, err = sourceOf(v, d.opts.Store.Freshness(), name, jv1.WebhookFormat_WEBHOOK_FORMAT_SIGNAL); err != nil {
			return
		}
		for i, s := range signals {
			var group []entry
			if group, err = src.entries(s, now); err != nil {
				err = fmt.Errorf("signals[%d]: %w", i, err)
				return
			}
			groups = append(groups, group)
		}
	})
	return groups, err
}

// entries makes the entries of one signal, one for each pair it speaks of.
func (s source) entries(signal *jv1.Signal, now time.Time) ([]entry, error) {
	d := s.detector.Msg
	pairs, err := s.binds(signal.GetService(), signal.GetProvider())
	if err != nil {
		return nil, err
	}
	clean := proto.CloneOf(signal)
	clean.Source, clean.Class, clean.Vantage = d.GetName(), jv1.EvidenceClass_EVIDENCE_CLASS_EXTERNAL, ""
	if err := tidy(clean, orDefault(d.GetWebhook().GetValidFor(), defaultReportValidity), now); err != nil {
		return nil, err
	}
	group := make([]entry, 0, len(pairs))
	for _, p := range pairs {
		one := proto.CloneOf(clean)
		one.Service, one.Provider = p.service, p.provider
		group = append(group, entry{pair: p, source: d.GetName(), subject: clean.GetLabels()[labelComponent], signal: one})
	}
	return group, nil
}

// tidy completes a signal and refuses one that can't be believed.
func tidy(s *jv1.Signal, validity time.Duration, now time.Time) error {
	switch s.GetState() {
	case stateOK, stateFailing, stateUnknown:
	default:
		return fmt.Errorf("state is neither failing nor ok nor unknown: %w", ErrInvalid)
	}
	if len(s.GetSignalId()) > maxSignalID {
		return fmt.Errorf("signal_id is longer than %d bytes: %w", maxSignalID, ErrInvalid)
	}
	if s.GetState() != stateFailing {
		s.Cause = causeNone
	}
	if s.ObservedAt == nil {
		s.ObservedAt = timestamppb.New(now)
	}
	seen, err := believable(s.GetObservedAt(), now)
	if err != nil {
		return fmt.Errorf("observed_at: %w", err)
	}
	s.ObservedAt = timestamppb.New(seen)
	until := seen.Add(validity)
	if s.ValidUntil != nil {
		if !s.GetValidUntil().IsValid() || !s.GetValidUntil().AsTime().After(seen) {
			return fmt.Errorf("valid_until is not after observed_at: %w", ErrInvalid)
		}
		until = s.GetValidUntil().AsTime()
	}
	if latest := now.Add(maxReportValidity); until.After(latest) {
		until = latest
	}
	s.ValidUntil = timestamppb.New(until)
	s.Summary = valid(cut(s.GetSummary(), maxSummary))
	s.Labels = tidyLabels(s.GetLabels())
	return nil
}

// believable is a sender's time as ours: a little ahead is now, far ahead is refused.
func believable(t *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if !t.IsValid() {
		return time.Time{}, fmt.Errorf("not a time: %w", ErrInvalid)
	}
	at := t.AsTime()
	switch {
	case at.After(now.Add(MaxSkew)):
		return time.Time{}, fmt.Errorf("%s is more than %v in the future: %w", at.Format(time.RFC3339), MaxSkew, ErrInvalid)
	case at.After(now):
		return now, nil
	}
	return at, nil
}

func tidyLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	kept := make(map[string]string, min(len(labels), maxLabels))
	for name, value := range firstLabels(labels, maxLabels) {
		kept[valid(cut(name, maxLabelName))] = valid(cut(value, maxLabelValue))
	}
	return kept
}

// valid makes text storable.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// keep stores groups of entries and counts the groups of which something was new.
func (d *Detect) keep(ctx context.Context, source string, groups [][]entry) (took, known int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	fresh := map[int]bool{}
	for _, part := range parts(groups) {
		taken, err := d.store(ctx, source, part)
		if err != nil {
			return 0, 0, err
		}
		for group := range taken {
			fresh[group] = true
		}
	}
	took = len(fresh)
	known = len(groups) - took
	d.metrics.taken(source, "accepted", took)
	d.metrics.taken(source, "absorbed", known)
	return took, known, nil
}

// numbered is an entry with the number of its group.
type numbered struct {
	entry
	group int
}

// parts cuts groups into what fits into one transaction each.
func parts(groups [][]entry) [][]numbered {
	var all [][]numbered
	var part []numbered
	size := 0
	for i, group := range groups {
		for _, e := range group {
			n := proto.Size(e.signal)
			if len(part) == chunk || len(part) > 0 && size+n > chunkBytes {
				all, part, size = append(all, part), nil, 0
			}
			part, size = append(part, numbered{e, i}), size+n
		}
	}
	if len(part) > 0 {
		all = append(all, part)
	}
	return all
}

// store writes what is new of a part in one transaction, and decides again when something changed meanwhile. It returns
// the groups of which something was new.
func (d *Detect) store(ctx context.Context, source string, part []numbered) (map[int]bool, error) {
	for range maxAttempts {
		txn, taken := d.propose(source, part)
		if len(txn.Then) == 0 {
			return taken, nil
		}
		res, err := d.opts.Store.Commit(ctx, txn)
		if err == nil && res.Committed {
			return taken, nil
		}
		if err == nil {
			err = d.opts.Store.WaitRevision(ctx, res.Revision)
		}
		if err != nil {
			return nil, away(err)
		}
	}
	return nil, fmt.Errorf("reports change faster than they can be stored: %w", ErrUnavailable)
}

// propose decides what of a part is to be written, by the picture of now. Entries of one subject are taken in order.
func (d *Detect) propose(source string, part []numbered) (store.Txn, map[int]bool) {
	now := d.opts.Now()
	taken := map[int]bool{}
	pending := map[string]*recordv1.Report{}
	var txn store.Txn
	d.opts.Store.Read(func(v store.View) {
		detector := store.Get[*jv1.Detector](v, store.DetectorKey(source))
		txn.If = []store.Compare{store.Unchanged(detector.Key, detector.Mod)}
		var order []string
		for _, e := range part {
			stored := store.Get[*recordv1.Report](v, e.key())
			old, again := pending[stored.Key]
			if !again {
				old = stored.Msg
			}
			what := weigh(old, e.entry, now)
			if what == absorbed {
				continue
			}
			taken[e.group] = taken[e.group] || what == accepted
			if !again {
				order = append(order, stored.Key)
				txn.If = append(txn.If, store.Unchanged(stored.Key, stored.Mod))
			}
			pending[stored.Key] = report(old, e.entry, now)
		}
		for _, key := range order {
			txn.Then = append(txn.Then, store.Put(key, pending[key]))
		}
	})
	for group, new := range taken {
		if !new {
			delete(taken, group)
		}
	}
	return txn, taken
}

// away makes one error of all that mean that the sender has to come back.
func away(err error) error {
	if errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrInvalid) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
