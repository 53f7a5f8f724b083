package detect

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// DefaultWordValidity is how long an operator's word counts when nothing else is said.
const DefaultWordValidity = 4 * time.Hour

const (
	// operatorSource stands where a report names its detector; no detector can be called that.
	operatorSource = "@operator"
	// labelPrincipal is the label of an operator's signal that holds who gave it.
	labelPrincipal = "principal"
)

// OperatorSignal stores a human's word about a provider, which counts alone and at once for validFor (0:
// [DefaultWordValidity]), or with UNKNOWN withdraws it. It returns the revision of the transaction, which holds the audit
// event of ctx's caller as well. Errors: ErrNotFound, ErrInvalid, ErrUnavailable.
func (d *Detect) OperatorSignal(ctx context.Context, service, provider string, state jv1.SignalState, reason string, validFor time.Duration) (int64, error) {
	if validFor == 0 {
		validFor = DefaultWordValidity
	}
	s := &jv1.Signal{
		Source: "operator", Service: service, Provider: provider, State: state, Summary: reason,
		Class:  jv1.EvidenceClass_EVIDENCE_CLASS_OPERATOR,
		Labels: map[string]string{labelPrincipal: audit.From(ctx).Principal},
	}
	if reason == "" || validFor < 0 {
		return 0, fmt.Errorf("operator's signal: a reason and a validity are needed: %w", ErrInvalid)
	}
	if err := tidy(s, validFor, d.opts.Now()); err != nil {
		return 0, fmt.Errorf("operator's signal: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	revision, err := d.word(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("operator's signal about provider %s of service %s: %w", provider, service, err)
	}
	return revision, nil
}

// word stores the operator's signal with its audit event.
func (d *Detect) word(ctx context.Context, s *jv1.Signal) (int64, error) {
	now := d.opts.Now()
	key := store.ReportKey(s.GetService(), s.GetProvider(), operatorSource, "")
	for range maxAttempts {
		var svc store.Record[*jv1.Service]
		var old store.Record[*recordv1.Report]
		d.opts.Store.Read(func(v store.View) {
			svc = store.Get[*jv1.Service](v, store.ServiceKey(s.GetService()))
			old = store.Get[*recordv1.Report](v, key)
		})
		switch {
		case !declares(svc.Msg, s.GetProvider()) && !d.opts.Store.Freshness().Live:
			return 0, fmt.Errorf("not known yet: %w", ErrUnavailable)
		case !declares(svc.Msg, s.GetProvider()):
			return 0, ErrNotFound
		}
		put := store.Put(key, &recordv1.Report{Signal: s, ReceiveTime: timestamppb.New(now)})
		res, err := d.opts.Store.Commit(ctx, store.Txn{
			Witness: key, Mine: func(value []byte) bool { return bytes.Equal(value, put.Value) },
			If: []store.Compare{store.Unchanged(svc.Key, svc.Mod), store.Unchanged(key, old.Mod)},
			Then: []store.Op{
				put,
				audit.Op(ctx, now, audit.Change{
					Target: "health/" + s.GetService() + "/" + s.GetProvider(), Reason: s.GetSummary(),
					Details: map[string]string{"state": stateName(s.GetState()), "valid_until": s.GetValidUntil().AsTime().Format(time.RFC3339)},
				}),
			},
		})
		if err == nil && res.Committed {
			return res.Revision, nil
		}
		if err == nil {
			err = d.opts.Store.WaitRevision(ctx, res.Revision)
		}
		if err != nil {
			return 0, away(err)
		}
	}
	return 0, fmt.Errorf("it changes faster than it can be stored: %w", ErrUnavailable)
}
