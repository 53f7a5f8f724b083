package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// standing is a schedule with where it stands, as one view shows it.
type standing struct {
	schedule store.Record[*jv1.Schedule]
	state    store.Record[*recordv1.ScheduleState]
	runbook  store.Record[*jv1.Runbook]
}

// all reads every schedule.
func (s *Scheduler) all() (out []standing) {
	s.o.Store.Read(func(v store.View) {
		for _, rec := range store.List[*jv1.Schedule](v, store.Schedules) {
			out = append(out, stand(v, rec))
		}
	})
	return out
}

func stand(v store.View, rec store.Record[*jv1.Schedule]) standing {
	return standing{
		schedule: rec,
		state:    store.Get[*recordv1.ScheduleState](v, store.ScheduleStateKey(rec.Msg.GetName())),
		runbook:  store.Get[*jv1.Runbook](v, store.RunbookKey(rec.Msg.GetRunbook())),
	}
}

// again reads a schedule once more; it has no message when it is gone.
func (s *Scheduler) again(at standing) (next standing) {
	s.o.Store.Read(func(v store.View) {
		if rec := store.Get[*jv1.Schedule](v, at.schedule.Key); rec.Msg != nil {
			next = stand(v, rec)
		}
	})
	return next
}

// wanted makes the trigger of the time that is due; nil when there is none. What can't be fired becomes a missed time,
// and one that was fired before, while the clock was ahead and the schedule another, is left: whether that is so is only
// looked for after a try that failed.
func (s *Scheduler) wanted(ctx context.Context, at standing, d *decision, now time.Time, failed bool) (*jv1.Trigger, error) {
	if d.due.IsZero() {
		return nil, nil
	}
	trigger, err := triggerFor(at, *d, now)
	if err != nil {
		s.o.Logger.Error("a time of a schedule can't be fired and counts as missed", telemetry.KeyError, err)
		d.miss(at.state.Msg)
		return nil, nil
	}
	if !failed {
		return trigger, nil
	}
	before, err := s.fired(ctx, trigger.GetName())
	if err != nil || !before {
		return trigger, err
	}
	d.reason, d.due = firedBefore, time.Time{}
	return nil, nil
}

// carryOut stores the state of a schedule, and the trigger of the time that is due; nil: none is. It tells whether this
// replica did.
func (s *Scheduler) carryOut(ctx context.Context, session *store.Session, at standing, state *recordv1.ScheduleState, trigger *jv1.Trigger) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	key := store.ScheduleStateKey(at.schedule.Msg.GetName())
	txn := store.Txn{
		// Who was frozen for so long that its session ended decided by a clock of then.
		If: []store.Compare{
			session.Fence(), store.Unchanged(at.schedule.Key, at.schedule.Mod), store.Unchanged(key, at.state.Mod),
		},
		Then:    []store.Op{store.Put(key, state)},
		Witness: key, Mine: is(state),
	}
	if trigger != nil {
		name := trigger.GetName()
		txn.If = append(txn.If, store.Unchanged(at.runbook.Key, at.runbook.Mod), store.Absent(store.TriggerKey(name)),
			store.Absent(store.ArchivedTriggerKey(name)))
		txn.Then = append(txn.Then, store.Put(store.TriggerKey(name), trigger))
	}
	res, err := s.o.Store.Commit(ctx, txn)
	if err != nil {
		return false, fmt.Errorf("store what becomes of schedule %s: %w", at.schedule.Msg.GetName(), err)
	}
	return res.Committed, s.o.Store.WaitRevision(ctx, res.Revision)
}

// is tells whether a stored value is a message.
func is[M proto.Message](want M) func([]byte) bool {
	return func(value []byte) bool {
		stored, _ := want.ProtoReflect().New().Interface().(M)
		return value != nil && store.Open(value, stored) == nil && proto.Equal(stored, want)
	}
}

// errNoRunbook says that a schedule can't fire because what it is to start is not there.
var errNoRunbook = errors.New("there is no such runbook")

// triggerFor makes the trigger of a time. It is wanted until the next time, so that held-back ones don't pile up.
func triggerFor(at standing, d decision, now time.Time) (*jv1.Trigger, error) {
	schedule := at.schedule.Msg
	if at.runbook.Msg == nil {
		return nil, fmt.Errorf("schedule %s, runbook %s: %w", schedule.GetName(), schedule.GetRunbook(), errNoRunbook)
	}
	service, err := runbooks.ScheduledService(schedule, at.runbook.Msg)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("schedule %s, %s", schedule.GetName(), d.due.UTC().Format(time.RFC3339))
	if d.reason == firesLate {
		text += ", late"
	}
	mode := schedule.GetMode()
	if mode == jv1.RunMode_RUN_MODE_UNSPECIFIED {
		mode = jv1.RunMode_RUN_MODE_LIVE
	}
	return &jv1.Trigger{
		Name: TriggerName(schedule.GetName(), d.due), Cause: jv1.TriggerCause_TRIGGER_CAUSE_SCHEDULE, Service: service,
		Runbook: schedule.GetRunbook(), Parameters: schedule.GetParameters(), Reason: text, Actor: "schedule/" + schedule.GetName(),
		State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: timestamppb.New(now), Schedule: schedule.GetName(), Mode: mode,
		ExpireTime: d.state.GetNextTime(),
	}, nil
}

// fired tells whether the trigger of a time is there already, here or in the archive: the clock was behind, and the
// schedule was stored anew.
func (s *Scheduler) fired(ctx context.Context, name string) (bool, error) {
	for _, key := range []string{store.TriggerKey(name), store.ArchivedTriggerKey(name)} {
		rec, err := store.Fetch[*jv1.Trigger](ctx, s.o.Store, key)
		if err != nil {
			return false, fmt.Errorf("look for trigger %s: %w", name, err)
		}
		if rec.Msg != nil {
			return true, nil
		}
	}
	return false, nil
}
