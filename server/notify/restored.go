package notify

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// topic is what an emergency tells of.
type topic string

const (
	topicStore    topic = "store"    // that a replica has lost its store
	topicRestored topic = "restored" // that the store went back in time and waits for a human
)

func (t topic) key(channel string) string { return string(t) + "/" + channel }

func (t topic) of(j *journal) *alarm {
	if t == topicRestored {
		return &j.restored
	}
	return &j.alarm
}

// standIn is how long the replica that noticed may take to tell before another one does, when it is gone.
const standIn = time.Minute

// observeRestored returns the alarm about a store that went back as it is after a look: the replica that noticed tells, or
// any other one if that is gone; and who has told says when a human has confirmed.
func (e *Emergency) observeRestored(a alarm, now time.Time) alarm {
	why, observing := e.opts.Store.ObserveOnly()
	switch {
	case observing && a.Phase != phaseDown && e.mustTell(why, now):
		return alarm{Phase: phaseDown, Since: why.GetSince().AsTime(), At: now, Detail: why.GetDetail()}
	case !observing && a.Phase == phaseDown:
		a.Phase, a.At = phaseBack, now
	}
	if a.Phase == phaseBack && len(a.Told) == 0 {
		return alarm{}
	}
	return a
}

func (e *Emergency) mustTell(why *recordv1.ObserveOnly, now time.Time) bool {
	if why.GetReplica() == e.opts.Replica {
		return true
	}
	lives := false
	e.opts.Store.Read(func(v store.View) {
		for _, s := range store.List[*recordv1.Session](v, store.Sessions) {
			lives = lives || s.Msg.GetReplica() == why.GetReplica()
		}
	})
	return !lives && now.Sub(why.GetSince().AsTime()) >= standIn
}

// restoredMessage is what a channel is told of a store that went back. It is the same at every attempt and from every
// replica, after a restart as well.
func (a alarm) restoredMessage(channel string) *jv1.Notification {
	n := &jv1.Notification{
		Name:    fmt.Sprintf("restored-%d-%s-%s", a.Since.UnixMilli(), a.Phase, channel),
		Channel: channel, Thread: fmt.Sprintf("restored/%d", a.Since.UnixMilli()),
		Details:    map[string]string{"since": clock(a.Since)},
		CreateTime: timestamppb.New(a.At),
	}
	if a.Phase == phaseDown {
		n.Kind, n.Severity = jv1.NotificationKind_NOTIFICATION_KIND_OPEN, jv1.Severity_SEVERITY_CRITICAL
		n.Title = "Jurymast's store was restored, or went back: waiting for a human"
		n.Text = fmt.Sprintf("Since %s nothing is started, executed or sent: %s. Clients stay on the last route they saw. Look at "+
			"`jurymast status` and at what is true outside, then say `jurymast restore confirm --reason ...`. Next message: when "+
			"that is done.", clock(a.Since), a.Detail)
		return n
	}
	n.Kind, n.Severity = jv1.NotificationKind_NOTIFICATION_KIND_RESOLVE, jv1.Severity_SEVERITY_INFO
	n.Title = "Jurymast's restore is confirmed"
	n.Text = fmt.Sprintf("A human has confirmed the restore; replicas act again since %s. Runs that were live wait to be resumed or "+
		"canceled.", clock(a.At))
	return n
}
