package continuity

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/calendar"
	"github.com/jurymast/jurymast/server/store"
)

// CheckMaintenance refuses while a maintenance window is open for a provider of the service; the empty provider asks for
// the service itself. The refusal says when the window closes.
//
// The windows are compared as a whole: one that is added or changed is noticed. One that is removed is not, and need not
// be: without it nothing is held back that would have been let through.
func (w *Workspace) CheckMaintenance(provider string) *Refusal {
	w.ReadNewest(store.Maintenances)
	var last *Refusal
	for _, m := range store.List[*jv1.Maintenance](w.view, store.Maintenances) {
		if !calendar.Covers(m.Msg, w.name, provider) {
			continue
		}
		open, change := calendar.Open(m.Msg, w.Now)
		if !open || last != nil && !change.After(last.Again) {
			continue
		}
		last = refuse(Maintenance, "maintenance window %s is open until %s: %s", m.Msg.GetName(), change.UTC().Format(time.RFC3339), m.Msg.GetReason())
		last.Again = change
	}
	return last
}
