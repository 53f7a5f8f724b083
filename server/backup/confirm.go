package backup

import (
	"context"
	"fmt"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/store"
)

// Runs puts the live runs of a restored store before a human; the engine does.
type Runs interface {
	// Review makes every live run wait for a human, and returns their names.
	Review(ctx context.Context, why string) ([]string, error)
}

// Outbox holds what is to be sent.
type Outbox interface {
	// GiveUp gives everything up that is to be sent, and returns the names.
	GiveUp(ctx context.Context, why string) ([]string, error)
}

// Confirmer carries out what a human confirms after a restore. Its fields must be set.
type Confirmer struct {
	// Store that went back.
	Store *store.Store
	// Runs and Outbox are reviewed before anything acts again.
	Runs   Runs
	Outbox Outbox
	// Now is the clock.
	Now func() time.Time
}

// Confirm puts every live run before a human, gives up what was to be sent, begins a new restore epoch and lets the
// replicas act again. Until the last step nothing acts, so that one that fails half-way is repeated as a whole. It
// returns store.ErrNotRestored when there is nothing to confirm.
func (c *Confirmer) Confirm(ctx context.Context, reason string) (*jv1.ConfirmRestoreResponse, error) {
	mark, observing := c.Store.ObserveOnly()
	if !observing {
		return nil, store.ErrNotRestored
	}
	why := Words(mark)
	out := &jv1.ConfirmRestoreResponse{}
	var err error
	if out.Runs, err = c.Runs.Review(ctx, why); err != nil {
		return nil, fmt.Errorf("review the live runs: %w", err)
	}
	if out.Notifications, err = c.Outbox.GiveUp(ctx, why+"; it may have been sent before, and is not sent again"); err != nil {
		return nil, fmt.Errorf("give up what was to be sent: %w", err)
	}
	now := c.Now()
	op := audit.Op(ctx, now, audit.Change{Target: "restore", Reason: reason, Details: map[string]string{
		"noticed": mark.GetReason(), "detail": mark.GetDetail(),
		"runs": fmt.Sprint(len(out.GetRuns())), "notifications": fmt.Sprint(len(out.GetNotifications())),
	}})
	out.RestoreEpoch, err = c.Store.ConfirmRestore(ctx, store.Confirmation{
		Actor: audit.From(ctx).Principal, Reason: reason, Time: now, Then: []store.Op{op},
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Words says where a restored store comes from.
func Words(mark *recordv1.ObserveOnly) string {
	if mark.GetBackupTime() == nil {
		return "restored from a backup of an unknown time"
	}
	return "restored from a backup of " + mark.GetBackupTime().AsTime().UTC().Format("2006-01-02 15:04:05 UTC")
}
