package notify

import (
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Action is what is to be done about a notification.
type Action int

// The actions.
const (
	// Leave means that nothing is to be done until something changes.
	Leave Action = iota
	// Wait means that nothing is to be done before Decision.At.
	Wait
	// Claim means that it is to be claimed, and sent when that succeeded.
	Claim
	// Send means that it is ours already and to be sent.
	Send
)

// Reason names why an action was chosen.
type Reason string

// The reasons.
const (
	// ReasonDelivered says that the receiver took it.
	ReasonDelivered Reason = "delivered"
	// ReasonDead says that it was given up.
	ReasonDead Reason = "dead"
	// ReasonNoSession says that this replica has no session, so it may claim nothing.
	ReasonNoSession Reason = "no session"
	// ReasonOwned says that another replica that lives sends it.
	ReasonOwned Reason = "owned by a live replica"
	// ReasonNotDue says that the time of its next attempt has not come.
	ReasonNotDue Reason = "not due"
	// ReasonUnclaimed says that nobody has claimed it.
	ReasonUnclaimed Reason = "unclaimed"
	// ReasonOrphaned says that the session that claimed it is gone.
	ReasonOrphaned Reason = "owner is gone"
	// ReasonOurs says that this replica wrote or claimed it.
	ReasonOurs Reason = "ours"
)

// Situation is all that a decision about a notification depends on. It is asked only about the first message of a
// thread on a channel that is neither delivered nor dead: the others wait their turn.
type Situation struct {
	// Notification is the entry of the outbox.
	Notification *jv1.Notification
	// Delivery is the claim on it; nil when there is none.
	Delivery *recordv1.Delivery
	// Live are the sessions that live: the fencing token of each key.
	Live map[string]int64
	// Self is this replica's session; nil while it has none.
	Self *jv1.Owner
	// Now is the time.
	Now time.Time
}

// Decision is what to do, and why.
type Decision struct {
	// Action to take.
	Action Action
	// Reason for it.
	Reason Reason
	// At is until when to wait; zero unless the action is Wait.
	At time.Time
}

// Next decides what this replica does about a notification now.
func Next(s Situation) Decision {
	switch s.Notification.GetState() {
	case jv1.DeliveryState_DELIVERY_STATE_DELIVERED:
		return Decision{Action: Leave, Reason: ReasonDelivered}
	case jv1.DeliveryState_DELIVERY_STATE_DEAD:
		return Decision{Action: Leave, Reason: ReasonDead}
	}
	if s.Self == nil {
		return Decision{Action: Leave, Reason: ReasonNoSession}
	}
	act := standing(s)
	if act.Action == Leave {
		return act
	}
	if at, later := notBefore(s.Notification, s.Now); later {
		return Decision{Action: Wait, Reason: ReasonNotDue, At: at}
	}
	return act
}

// notBefore tells whether the next attempt is still to come. Replicas' clocks differ: what was never tried is always
// due, and a time further away than any delay of ours was written by a clock that was wrong.
func notBefore(n *jv1.Notification, now time.Time) (at time.Time, later bool) {
	if n.GetAttempts() == 0 || n.GetNextAttempt() == nil {
		return time.Time{}, false
	}
	at = n.GetNextAttempt().AsTime()
	return at, at.After(now) && at.Sub(now) <= maxRetryAfter
}

// standing decides by who owns the notification.
func standing(s Situation) Decision {
	owner := s.Delivery.GetOwner()
	switch {
	case owner == nil:
		return Decision{Action: Claim, Reason: ReasonUnclaimed}
	case owner.GetSession() == s.Self.GetSession() && owner.GetToken() == s.Self.GetToken():
		return Decision{Action: Send, Reason: ReasonOurs}
	case lives(s.Live, owner):
		return Decision{Action: Leave, Reason: ReasonOwned}
	default:
		return Decision{Action: Claim, Reason: ReasonOrphaned}
	}
}

func lives(live map[string]int64, owner *jv1.Owner) bool {
	token, ok := live[owner.GetSession()]
	return ok && token == owner.GetToken()
}

// after returns the notification as it stands after an attempt; the given one is not changed. A nil failure is a
// success. chance spreads the next attempt, see delay.
func after(n *jv1.Notification, receipt string, f *Failure, now time.Time, chance float64) *jv1.Notification {
	next := proto.CloneOf(n)
	next.Attempts++
	next.NextAttempt = nil
	switch {
	case f == nil:
		next.State = jv1.DeliveryState_DELIVERY_STATE_DELIVERED
		next.Receipt = receipt
		next.LastError = ""
		next.EndTime = stamp(now)
	case f.Permanent || tooOld(next, now):
		next.State = jv1.DeliveryState_DELIVERY_STATE_DEAD
		next.LastError = f.Error()
		next.EndTime = stamp(now)
	default:
		next.State = jv1.DeliveryState_DELIVERY_STATE_PENDING
		next.LastError = f.Error()
		next.NextAttempt = stamp(now.Add(delay(next.GetAttempts(), f.RetryAfter, chance)))
	}
	return next
}

// tooOld tells whether a notification that failed is given up. One that could never be tried is not too old: it is
// tried once, however late.
func tooOld(n *jv1.Notification, now time.Time) bool {
	if n.GetAttempts() >= maxAttempts {
		return true
	}
	return n.GetCreateTime() != nil && now.Sub(n.GetCreateTime().AsTime()) >= giveUp
}
