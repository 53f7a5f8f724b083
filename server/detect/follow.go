package detect

import (
	"context"
	"fmt"
	"strings"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// follow sends what changes under the prefixes, first what there is, until ctx ends or the store is closed; then the
// channel is closed. Updates without changes are left out.
func follow(ctx context.Context, s *store.Store, prefixes []string) <-chan store.Update {
	updates := make(chan store.Update)
	subscription := s.Subscribe(prefixes, store.Cursor{})
	go func() {
		defer close(updates)
		defer subscription.Close()
		for {
			u, err := subscription.Next(ctx)
			if err != nil {
				return
			}
			if !u.Reset && len(u.Events) == 0 {
				continue
			}
			select {
			case updates <- u:
			case <-ctx.Done():
				return
			}
		}
	}()
	return updates
}

// closedOr is the error of a loop whose updates ended: none when ctx did.
func closedOr(ctx context.Context, what string) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return fmt.Errorf("%s: %w", what, store.ErrClosed)
	}
}

// after splits what follows a family's prefix in a key.
func after(family, key string) []string {
	return strings.Split(strings.TrimPrefix(key, family), "/")
}

// wait pauses; false when ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stateName is a signal's state in lower case.
func stateName(s jv1.SignalState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SIGNAL_STATE_"))
}

// healthName is a health state in lower case.
func healthName(s jv1.HealthState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "HEALTH_STATE_"))
}
