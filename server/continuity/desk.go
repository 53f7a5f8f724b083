package continuity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/store"
)

// ErrEpoch says that the state is not at the epoch the caller expected.
var ErrEpoch = errors.New("epoch has changed")

// ErrNotFound says that there is no such service.
var ErrNotFound = errors.New("no such service")

// reportValidity is how long a report of epochs in force counts; subscribers repeat it within a third of that.
const reportValidity = 90 * time.Second

// maxTries bounds how often a command is decided anew when the facts change under it (protocol P6).
const maxTries = 5

// Desk carries humans' commands out: each is decided on one view and committed in one transaction with its audit
// event. Safe for concurrent use.
type Desk struct {
	store *store.Store
	now   func() time.Time
}

// NewDesk returns a desk on a started store.
func NewDesk(st *store.Store, now func() time.Time) *Desk { return &Desk{store: st, now: now} }

// Switch makes a provider the active one. A *Refusal names the guard that refuses; ErrEpoch that the state is another
// than expected; further errors are the store's.
func (d *Desk) Switch(ctx context.Context, req *jv1.SwitchProviderRequest) (*jv1.ContinuityState, error) {
	c := command{
		service: req.GetService(), epoch: req.GetExpectedEpoch(), reason: req.GetReason(), validateOnly: req.GetValidateOnly(),
		details: map[string]string{"provider": req.GetProvider(), "break_glass": strconv.FormatBool(req.GetBreakGlass())},
	}
	guard, err := request.Begin(ctx, d.store, audit.From(ctx).Principal, req.GetRequestId(), req, d.now())
	if err != nil {
		return nil, err
	}
	c.guard = guard
	return d.do(ctx, c, func(w *Workspace, a Author) *Refusal {
		if req.GetBreakGlass() {
			return w.ForceSwitch(req.GetProvider(), a)
		}
		return w.Switch(req.GetProvider(), false, a)
	})
}

// SetQueueing switches queueing on or off.
func (d *Desk) SetQueueing(ctx context.Context, req *jv1.SetQueueingRequest) (*jv1.ContinuityState, error) {
	c := command{
		service: req.GetService(), epoch: req.GetExpectedEpoch(), reason: req.GetReason(),
		details: map[string]string{"queueing": strconv.FormatBool(req.GetOn())},
	}
	guard, err := request.Begin(ctx, d.store, audit.From(ctx).Principal, req.GetRequestId(), req, d.now())
	if err != nil {
		return nil, err
	}
	c.guard = guard
	return d.do(ctx, c, func(w *Workspace, a Author) *Refusal {
		w.SetQueueing(req.GetOn(), a)
		return nil
	})
}

// Undo takes the last switch back, through the guards.
func (d *Desk) Undo(ctx context.Context, req *jv1.UndoRequest) (*jv1.ContinuityState, error) {
	c := command{service: req.GetService(), epoch: req.GetExpectedEpoch(), reason: req.GetReason()}
	return d.do(ctx, c, func(w *Workspace, a Author) *Refusal {
		previous := w.State().GetPreviousProvider()
		if previous == "" || previous == w.Active() {
			return refuse(NothingToUndo, "%s was never switched away from %s", w.Name(), w.Active())
		}
		return w.Switch(previous, false, a)
	})
}

// command is what all changes of a state have in common.
type command struct {
	service      string
	epoch        int64
	reason       string
	validateOnly bool
	details      map[string]string
	guard        *request.Guard
}

func (d *Desk) do(ctx context.Context, c command, decide func(*Workspace, Author) *Refusal) (*jv1.ContinuityState, error) {
	if _, again := c.guard.Result(); again {
		return d.present(c.service)
	}
	for range maxTries {
		txn, changed, err := d.decide(ctx, c, decide)
		if err != nil {
			return nil, err
		}
		// A request that changes nothing is remembered too: repeated after somebody else's change it must not undo that.
		if c.validateOnly || !changed && c.guard == nil {
			return d.present(c.service)
		}
		res, err := d.store.Commit(ctx, txn)
		if err != nil {
			return nil, fmt.Errorf("change %s: %w", c.service, err)
		}
		if err := d.store.WaitRevision(ctx, res.Revision); err != nil {
			return nil, fmt.Errorf("change %s: committed at revision %d, but not seen yet: %w", c.service, res.Revision, err)
		}
		if res.Committed {
			return d.present(c.service)
		}
	}
	return nil, refuse(Contended, "the facts about %s changed %d times while it was decided; try again", c.service, maxTries)
}

func (d *Desk) decide(ctx context.Context, c command, decide func(*Workspace, Author) *Refusal) (txn store.Txn, changed bool, err error) {
	d.store.Read(func(v store.View) {
		w := Open(v, c.service, d.now())
		switch {
		case w.Service.Msg == nil || w.State() == nil:
			err = fmt.Errorf("service %s: %w", c.service, ErrNotFound)
			return
		case c.epoch != 0 && c.epoch != w.State().GetEpoch():
			err = fmt.Errorf("%s is at epoch %d, not %d: %w", c.service, w.State().GetEpoch(), c.epoch, ErrEpoch)
			return
		}
		from := w.Active()
		if r := decide(w, Author{Actor: audit.From(ctx).Principal, Reason: c.reason}); r != nil {
			err = r
			return
		}
		changed = w.Changed()
		txn.If, txn.Then = w.Txn()
		if !changed {
			c.guard.Guard(&txn, c.service)
			return
		}
		details := map[string]string{"from": from, "epoch": strconv.FormatInt(w.State().GetEpoch(), 10)}
		maps.Copy(details, c.details)
		op := audit.Op(ctx, w.Now, audit.Change{Target: "services/" + c.service, Reason: c.reason, Details: details})
		d.witness(&txn, op)
		c.guard.Guard(&txn, c.service)
	})
	return txn, changed, err
}

// witness adds the audit event, whose unique id tells whether this very transaction was committed.
func (d *Desk) witness(txn *store.Txn, op store.Op) {
	txn.Then = append(txn.Then, op)
	txn.Witness = op.Key
	txn.Mine = func(value []byte) bool { return value != nil }
}

func (d *Desk) present(service string) (*jv1.ContinuityState, error) {
	var out *jv1.ContinuityState
	d.store.Read(func(v store.View) { out = Present(v, service, d.now()) })
	if out == nil {
		return nil, fmt.Errorf("service %s: %w", service, ErrNotFound)
	}
	return out, nil
}

// Acknowledge clears the cooldowns of a service, and the mark of a break-glass.
func (d *Desk) Acknowledge(ctx context.Context, req *jv1.AcknowledgeRequest) (*jv1.AcknowledgeResponse, error) {
	for range maxTries {
		var txn store.Txn
		out := &jv1.AcknowledgeResponse{}
		known := false
		d.store.Read(func(v store.View) {
			known = store.Get[*jv1.Service](v, store.ServiceKey(req.GetService())).Msg != nil
			for _, c := range store.List[*recordv1.Cooldown](v, store.Cooldowns+req.GetService()+"/") {
				txn.If = append(txn.If, store.Unchanged(c.Key, c.Mod))
				txn.Then = append(txn.Then, store.Delete(c.Key))
				if !slices.Contains(out.Cleared, c.Msg.GetRunbook()) {
					out.Cleared = append(out.Cleared, c.Msg.GetRunbook())
				}
			}
			if st := store.Get[*jv1.ContinuityState](v, store.ContinuityKey(req.GetService())); st.Msg.GetBreakGlass() {
				next := proto.CloneOf(st.Msg)
				next.BreakGlass, out.BreakGlass = false, true
				txn.If = append(txn.If, store.Unchanged(st.Key, st.Mod))
				txn.Then = append(txn.Then, store.Put(st.Key, next))
			}
		})
		if !known {
			return nil, fmt.Errorf("service %s: %w", req.GetService(), ErrNotFound)
		}
		if len(txn.Then) == 0 {
			return out, nil
		}
		d.witness(&txn, audit.Op(ctx, d.now(), audit.Change{Target: "services/" + req.GetService(), Reason: req.GetReason()}))
		res, err := d.store.Commit(ctx, txn)
		if err != nil {
			return nil, fmt.Errorf("acknowledge %s: %w", req.GetService(), err)
		}
		if err := d.store.WaitRevision(ctx, res.Revision); err != nil {
			return nil, fmt.Errorf("acknowledge %s: %w", req.GetService(), err)
		}
		if res.Committed {
			return out, nil
		}
	}
	return nil, refuse(Contended, "the cooldowns of %s kept changing; try again", req.GetService())
}

// SetAutomation stops or restarts the machines.
func (d *Desk) SetAutomation(ctx context.Context, req *jv1.SetAutomationRequest) (*jv1.Automation, error) {
	now := d.now()
	a := &jv1.Automation{
		Service: req.GetService(), On: req.GetOn(), Reason: req.GetReason(), Actor: audit.From(ctx).Principal, Time: stamp(now),
	}
	target := "automation"
	txn := store.Txn{Then: []store.Op{store.Put(store.AutomationKey(req.GetService()), a)}}
	if req.GetService() != "" {
		target = "automation/" + req.GetService()
		known := false
		d.store.Read(func(v store.View) {
			rec := store.Get[*jv1.Service](v, store.ServiceKey(req.GetService()))
			known = rec.Msg != nil
			txn.If = append(txn.If, store.Unchanged(rec.Key, rec.Mod))
		})
		if !known {
			return nil, fmt.Errorf("service %s: %w", req.GetService(), ErrNotFound)
		}
	}
	d.witness(&txn, audit.Op(ctx, now, audit.Change{
		Target: target, Reason: req.GetReason(), Details: map[string]string{"on": strconv.FormatBool(req.GetOn())},
	}))
	res, err := d.store.Commit(ctx, txn)
	if err != nil {
		return nil, fmt.Errorf("set automation: %w", err)
	}
	if err := d.store.WaitRevision(ctx, res.Revision); err != nil {
		return nil, fmt.Errorf("set automation: %w", err)
	}
	if !res.Committed {
		return nil, refuse(Contended, "service %s was changed meanwhile; try again", req.GetService())
	}
	a.Revision = res.Revision
	return a, nil
}

// ReportInForce stores which epochs a subscriber has in force, and what it has queued. It is not a change anybody made,
// so it is not audited. A report that does not say which life of the store it speaks of speaks of the present one.
func (d *Desk) ReportInForce(ctx context.Context, req *jv1.ReportInForceRequest) (*jv1.ReportInForceResponse, error) {
	now := d.now()
	report := &recordv1.InForceReport{
		Subscriber: req.GetSubscriber(), Epochs: req.GetEpochs(), ReportTime: stamp(now), ValidUntil: stamp(now.Add(reportValidity)),
		Queues: req.GetQueues(), RestoreEpoch: req.GetRestoreEpoch(),
	}
	if report.RestoreEpoch == "" {
		report.RestoreEpoch = d.store.RestoreEpoch()
	}
	txn := store.Txn{Then: []store.Op{store.Put(store.InForceKey(req.GetSubscriber()), report)}}
	if _, err := d.store.Commit(ctx, txn); err != nil {
		return nil, fmt.Errorf("report epochs in force: %w", err)
	}
	return &jv1.ReportInForceResponse{ValidFor: durationpb.New(reportValidity)}, nil
}

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
