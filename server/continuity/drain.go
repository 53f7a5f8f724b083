package continuity

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// StartDrain asks those who keep a queue to send it, on behalf of a run. Whose word the route is stays as it was.
func (w *Workspace) StartDrain(startRate, run string) {
	w.step().Drain = &jv1.Drain{StartRate: startRate, Since: stamp(w.Now), Run: run}
}

// EndDrain takes the drain of a run away; false when there is none of it.
func (w *Workspace) EndDrain(run string) bool {
	d := w.State().GetDrain()
	if d == nil || d.GetRun() != run {
		return false
	}
	w.step().Drain = nil
	return true
}

// Reporter is one who reports a queue of the service.
type Reporter struct {
	// Name of the gateway or client.
	Name string
	// Queue it reports. Shared; not to be changed.
	Queue *jv1.QueueStatus
	// Epoch it has in force.
	Epoch int64
	// InForce tells whether that is an epoch of the present life of the store, and not below that asked for.
	InForce bool
	// ValidUntil is when the report lapses; it has when that is not after Now.
	ValidUntil time.Time

	key string
}

// Reporters lists who reports a queue of the service, by name. Nothing is compared: reports speak of what is elsewhere
// and may be out of date the moment they are read. [Workspace.RestOn] compares those that decide something.
func (w *Workspace) Reporters(epoch int64) []Reporter {
	var out []Reporter
	life := store.LifeOf(w.view)
	w.view.Each(store.InForce, func(key string, msg proto.Message, _, _ int64) bool {
		r, ok := msg.(*recordv1.InForceReport)
		q := r.GetQueues()[w.name]
		if !ok || q == nil {
			return true
		}
		has := r.GetEpochs()[w.name]
		out = append(out, Reporter{
			Name: r.GetSubscriber(), Queue: q, Epoch: has, ValidUntil: r.GetValidUntil().AsTime(), key: key,
			InForce: has >= epoch && (r.GetRestoreEpoch() == "" || r.GetRestoreEpoch() == life),
		})
		return true
	})
	slices.SortFunc(out, func(a, b Reporter) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// maxRested bounds the reports that are compared: a transaction has room for store.MaxOps compares.
const maxRested = 32

// RestOn has the reports compared that a decision rests on, at most 32 of them.
func (w *Workspace) RestOn(reporters []Reporter) {
	for _, r := range reporters[:min(len(reporters), maxRested)] {
		Read[*recordv1.InForceReport](w, r.key)
	}
}
