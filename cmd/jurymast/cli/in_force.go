package cli

import (
	"fmt"
	"math"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// foreign says why what a subscriber reported is not an epoch of the present state at all; empty: it is one, though maybe
// an older one. After a restore a client may know a route that the store has forgotten: it must not count as in force.
func foreign(st *jv1.ContinuityState, f *jv1.InForce) string {
	switch {
	case f.GetRestoreEpoch() != "" && st.GetRestoreEpoch() != "" && f.GetRestoreEpoch() != st.GetRestoreEpoch():
		return fmt.Sprintf("its epoch %d is of another life of the store", f.GetEpoch())
	case f.GetEpoch() > st.GetEpoch():
		return fmt.Sprintf("its epoch %d is above the %d of the store, which has forgotten it", f.GetEpoch(), st.GetEpoch())
	default:
		return ""
	}
}

// inForce is at how many of those who follow a service its epoch is in force.
func inForce(st *jv1.ContinuityState) string {
	all := st.GetInForce()
	if len(all) == 0 {
		return "at nobody known"
	}
	return fmt.Sprintf("%d/%d", len(all)-len(lagging(st, st.GetEpoch())), len(all))
}

// lagging are those who don't have an epoch of a service in force, nor a later one.
func lagging(st *jv1.ContinuityState, epoch int64) []*jv1.InForce {
	return keep(st.GetInForce(), func(f *jv1.InForce) bool { return f.GetEpoch() < epoch || foreign(st, f) != "" })
}

func subscribers(list []*jv1.InForce) []string {
	var names []string
	for _, f := range list {
		names = append(names, f.GetSubscriber())
	}
	return names
}

// inForceLines says where a service's state is not in force.
func inForceLines(st *jv1.ContinuityState, width int) []string {
	behind := lagging(st, st.GetEpoch())
	var lines []string
	late := keep(behind, func(f *jv1.InForce) bool { return foreign(st, f) == "" })
	const begin = "not in force yet at "
	for _, l := range wrap(subscribers(late), width-len(begin)) {
		lines = append(lines, begin+l)
	}
	for _, f := range behind {
		if why := foreign(st, f); why != "" {
			for i, l := range fold("not in force at "+f.GetSubscriber()+": "+why, width-2) {
				if i > 0 {
					l = "  " + l
				}
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// queueText sums up what is queued for a service; empty when nobody reports anything worth telling.
func queueText(st *jv1.ContinuityState) string {
	var queued, sending, parked int64
	var rate float64
	at := 0
	for _, f := range st.GetInForce() {
		q := f.GetQueue()
		if q == nil {
			continue
		}
		at++
		queued, sending, parked, rate = queued+q.GetQueued(), sending+q.GetSending(), parked+q.GetParked(), rate+q.GetRate()
	}
	left := queued + sending
	if at == 0 || left+parked == 0 && st.GetDrain() == nil {
		return ""
	}
	text := fmt.Sprintf("queue: %d waiting, %d being sent", queued, sending)
	if parked > 0 {
		text += fmt.Sprintf(", %d parked for a human", parked)
	}
	text += " at " + count(at, "gateway", "gateways")
	switch {
	case st.GetDrain() == nil:
	case left == 0:
		text += "; drained"
	case rate <= 0:
		text += "; drains, no basis yet for when it is done"
	default:
		text += fmt.Sprintf("; drains at %.3g/s, done in about %s", rate, age(time.Duration(min(math.Ceil(float64(left)/rate), 1e9))*time.Second))
	}
	return text
}
