package engine

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// tellLimited tells the channels of a runbook that the fleet-wide limit holds it back: so many switches at once mean that
// the judgement is wrong or the next provider about to be overrun, and people should look. It is told once for each slot
// that must come free, however many services wait for it.
func tellLimited(v store.View, owner *jv1.Owner, t *jv1.Trigger, plan *jv1.Runbook, r *continuity.Refusal, now *timestamppb.Timestamp) (txn store.Txn) {
	for _, channel := range steps.Channels(present(v, plan, t.GetService())) {
		id := fmt.Sprintf("switch-limit-%d.%s", r.Again.Unix(), channel)
		key := store.OutboxKey(id)
		if store.Get[*jv1.Notification](v, key).Msg != nil {
			continue
		}
		if len(txn.Then) == 2*maxAsked {
			break
		}
		txn.If = append(txn.If, store.Absent(key))
		txn.Then = append(txn.Then, store.Put(key, &jv1.Notification{
			Name: id, Channel: channel, Service: t.GetService(), Thread: "switch-limit",
			Kind: jv1.NotificationKind_NOTIFICATION_KIND_UPDATE, Severity: jv1.Severity_SEVERITY_ERROR,
			Title: "machines may not switch any more for now",
			Text: fmt.Sprintf("%s is held back for %s, and others may be: %s.\n\nThe next switch is free at %s. Look whether the judgement is right "+
				"(`jurymast status`, `jurymast why-not %s`). To go on now: switch by hand (`jurymast switch`), or raise switch_limit in the settings.",
				plan.GetName(), t.GetService(), r.Detail, r.Again.UTC().Format("15:04:05 UTC"), t.GetService()),
			State: jv1.DeliveryState_DELIVERY_STATE_PENDING, CreateTime: now, NextAttempt: now,
		}), store.Put(store.DeliveryKey(id), &recordv1.Delivery{Owner: owner}))
	}
	return txn
}
