package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
	"github.com/jurymast/jurymast/server/archive"
	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/request"
	"github.com/jurymast/jurymast/server/steps"
	"github.com/jurymast/jurymast/server/store"
)

// start is a run about to be created, on one view.
type start struct {
	e       *Engine
	session *store.Session
	desk    *continuity.Workspace
	plan    store.Record[*jv1.Runbook]
	// trigger that asks for it; nil for a human's start.
	trigger *jv1.Trigger
	mode    jv1.RunMode
	params  map[string]string
	reason  string
	actor   string
}

// verdict is what came of the guards.
type verdict struct {
	outcome jv1.OutcomeState
	refusal *continuity.Refusal // with BLOCKED
	again   time.Time           // with BLOCKED: when to look again, if a time changes it
	run     string              // with STARTED and ATTACHED
	turn    *turn               // with STARTED
	txn     store.Txn           // with STARTED: without the trigger
}

func blocked(r *continuity.Refusal) verdict {
	return verdict{outcome: jv1.OutcomeState_OUTCOME_STATE_BLOCKED, refusal: r, again: r.Again}
}

// decide passes the start through the guards, in the order in which an operator would want to hear of them, and takes
// the run's first turn when none refuses.
func (s *start) decide() (verdict, error) {
	if s.desk.Service.Msg == nil || s.desk.State() == nil {
		return blocked(continuity.Refuse(continuity.UnknownService, "there is no service %s", s.desk.Name())), nil
	}
	level := jv1.AutomationLevel_AUTOMATION_LEVEL_ACT
	if s.trigger != nil {
		if v, done := s.guards(); done {
			return v, nil
		}
		if r := s.checkParameters(); r != nil {
			return blocked(r), nil
		}
		if level = s.level(); level == jv1.AutomationLevel_AUTOMATION_LEVEL_OBSERVE {
			return verdict{outcome: jv1.OutcomeState_OUTCOME_STATE_OBSERVED}, nil
		}
	}
	superseded, v, done := s.lock()
	if done {
		return v, nil
	}
	return s.create(level, superseded)
}

// guards are those of automatic starts alone.
func (s *start) guards() (verdict, bool) {
	if s.mode == jv1.RunMode_RUN_MODE_DRILL {
		return blocked(continuity.Refuse("drill", "drills are not available in this version")), true
	}
	if run := s.episode(); run != "" {
		return verdict{outcome: jv1.OutcomeState_OUTCOME_STATE_ATTACHED, run: run}, true
	}
	if r := s.desk.CheckMachines(); r != nil {
		return blocked(r), true
	}
	if r := s.desk.CheckMaintenance(s.trigger.GetProvider()); r != nil {
		return blocked(r), true
	}
	h := s.trigger.GetHealth()
	failing := h == jv1.HealthState_HEALTH_STATE_FAILING || h == jv1.HealthState_HEALTH_STATE_BLOCKED
	if r := cooling(s.desk, s.plan.Msg, s.trigger.GetProvider(), failing); r != nil {
		return blocked(r), true
	}
	return verdict{}, false
}

// episode returns the run this runbook has had in the trigger's episode already.
func (s *start) episode() string {
	if s.trigger.GetGeneration() == 0 {
		return ""
	}
	key := store.EpisodeKey(s.desk.Name(), s.trigger.GetProvider(), s.trigger.GetGeneration(), s.plan.Msg.GetName())
	return continuity.Read[*recordv1.Episode](s.desk, key).Msg.GetRun()
}

// level is what the runbook may do by itself now. A dry run changes nothing, so that nobody needs to agree to it.
func (s *start) level() jv1.AutomationLevel {
	if s.mode == jv1.RunMode_RUN_MODE_DRY_RUN {
		return jv1.AutomationLevel_AUTOMATION_LEVEL_ACT
	}
	a := s.plan.Msg.GetAutomation()
	level := a.GetDefault()
	if q := a.GetWhenQueueing(); q != jv1.AutomationLevel_AUTOMATION_LEVEL_UNSPECIFIED && s.desk.State().GetQueueing() {
		level = q
	}
	if level == jv1.AutomationLevel_AUTOMATION_LEVEL_UNSPECIFIED {
		level = jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE
	}
	return level
}

// lock looks who holds the service: nobody, a run that may be superseded, or one that acts (protocol P4).
func (s *start) lock() (superseded *jv1.Run, v verdict, done bool) {
	if s.mode == jv1.RunMode_RUN_MODE_DRY_RUN {
		return nil, v, false
	}
	holder := continuity.Read[*recordv1.LiveRun](s.desk, store.LiveRunKey(s.desk.Name())).Msg.GetRun()
	if holder == "" {
		return nil, v, false
	}
	other := continuity.Read[*jv1.Run](s.desk, store.RunKey(holder)).Msg
	switch {
	case other == nil || runs.Ended(other.GetState()):
		return nil, v, false
	case s.trigger != nil && other.GetRunbook() == s.plan.Msg.GetName() && other.GetProvider() == s.trigger.GetProvider() &&
		other.GetGeneration() == s.trigger.GetGeneration():
		return nil, verdict{outcome: jv1.OutcomeState_OUTCOME_STATE_ATTACHED, run: holder}, true
	case !runs.WaitsForHuman(other) || foreign(other) != "" || (s.trigger != nil && other.GetTrigger() == s.trigger.GetName()):
		return nil, blocked(continuity.Refuse(continuity.LiveRun, "run %s of %s acts on %s", holder, other.GetRunbook(), s.desk.Name())), true
	case s.trigger.GetCause() == jv1.TriggerCause_TRIGGER_CAUSE_SCHEDULE:
		// What waits may be a disaster's run; routine work is not worth ending it.
		return nil, blocked(continuity.Refuse(continuity.LiveRun, "run %s of %s waits for a human, and a schedule doesn't take its place",
			holder, other.GetRunbook())), true
	}
	return other, v, false
}

// create makes the run, takes its first turn, and returns the transaction for both.
func (s *start) create(level jv1.AutomationLevel, superseded *jv1.Run) (verdict, error) {
	now, owner := s.desk.Now, ownerOf(s.session)
	name := store.NewID("r", now)
	tree, refusal := s.layOut()
	if refusal != nil {
		return blocked(refusal), nil
	}
	begin := runs.Start{
		Name: name, Tree: tree, Service: s.desk.Name(), Mode: s.mode, Parameters: s.parameters(),
		Trigger: s.trigger.GetName(), Provider: s.trigger.GetProvider(), Generation: s.trigger.GetGeneration(),
		Reason: s.reason, Actor: s.actor, Owner: owner, Now: now,
	}
	if o := s.trigger.GetOnset(); o != nil {
		begin.Onset = o.AsTime()
	}
	run, created := runs.New(begin)
	t := &turn{e: s.e, desk: s.desk, tree: tree, plan: s.plan.Msg, owner: owner, run: run, events: []*jv1.RunEvent{created}}
	txn := store.Txn{If: []store.Compare{
		s.session.Fence(), store.Absent(store.RunKey(name)), store.Unchanged(s.plan.Key, s.plan.Mod),
	}}
	if superseded != nil {
		if err := s.supersede(&txn, superseded, name); err != nil {
			return verdict{}, err
		}
		s.desk.EndDrain(superseded.GetName())
		if isLive(superseded) {
			s.desk.Confirm() // nobody is left who would
		}
	}
	if isLive(run) {
		s.desk.Add(store.Put(store.LiveRunKey(s.desk.Name()), &recordv1.LiveRun{Run: name}))
	}
	if g := s.trigger.GetGeneration(); g != 0 {
		key := store.EpisodeKey(s.desk.Name(), s.trigger.GetProvider(), g, s.plan.Msg.GetName())
		s.desk.Add(store.Put(key, &recordv1.Episode{Run: name}))
	}
	var err error
	if level == jv1.AutomationLevel_AUTOMATION_LEVEL_PROPOSE {
		err = s.propose(t)
	} else {
		err = t.take()
	}
	if err != nil {
		return verdict{}, err
	}
	if t.held != nil && s.trigger != nil && !runs.Ended(t.run.GetState()) {
		return blocked(t.held), nil // nothing of the turn is stored: the trigger waits instead of the run
	}
	s.settleLock(t)
	compares, ops := s.desk.Txn()
	txn.If = append(txn.If, compares...)
	txn.Then = append(txn.Then, ops...)
	putRun(&txn, t.run, t.events, now)
	return verdict{outcome: jv1.OutcomeState_OUTCOME_STATE_STARTED, run: name, turn: t, txn: txn}, nil
}

// layOut lays the runbook out with those that it runs, as they are stored now; they are compared, so that the run begins
// with these versions or not at all.
func (s *start) layOut() (*runbooks.Tree, *continuity.Refusal) {
	newer := ""
	tree, err := runbooks.Expand(s.plan.Msg, func(name string) *jv1.Runbook {
		rb := continuity.Read[*jv1.Runbook](s.desk, store.RunbookKey(name)).Msg
		if what := foreign(rb); rb != nil && what != "" {
			newer = fmt.Sprintf("%s, which it runs, has %s, which this version does not know", name, what)
		}
		return rb
	}, s.desk.Name())
	switch {
	case newer != "":
		return nil, continuity.Refuse(continuity.RunbookBroken, "%s is left to a replica of a newer version: %s", s.plan.Msg.GetName(), newer)
	case err != nil:
		return nil, continuity.Refuse(continuity.RunbookBroken, "%s can't run as it stands: %v", s.plan.Msg.GetName(), err)
	}
	return tree, nil
}

// settleLock drops the lock again when the first turn ended the run: a key may be written once in a transaction.
func (s *start) settleLock(t *turn) {
	if isLive(t.run) && runs.Ended(t.run.GetState()) {
		s.desk.Replace(store.Delete(store.LiveRunKey(s.desk.Name())))
	}
}

// maxAsked is the most channels a proposal is told to in the transaction that creates it.
const maxAsked = 32

// propose asks a human before the first step.
func (s *start) propose(t *turn) error {
	text := fmt.Sprintf("start %s for %s? %s", s.plan.Msg.GetName(), s.desk.Name(), s.reason)
	in := &steps.Input{
		Run: t.run, At: &jv1.StepRun{}, Step: &jv1.Step{}, Plan: t.plan, Tree: t.tree, Desk: t.desk, Owner: t.owner,
	}
	ev := runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_WAITING, Time: s.desk.Now, Wait: jv1.RunWait_RUN_WAIT_APPROVAL, Message: text,
	}
	channels := steps.Channels(t.tree)
	if len(channels) > maxAsked {
		channels = channels[:maxAsked] // the reminders tell all of them
	}
	if err := steps.Ask(in, channels, "proposal", text); err != nil {
		ev.Details = map[string]string{"not_told": err.Error()}
	}
	if err := t.fold(ev); err != nil {
		return err
	}
	return t.attend(-1)
}

// supersede ends a run that waits for a human in the transaction that creates the next one.
func (s *start) supersede(txn *store.Txn, other *jv1.Run, by string) error {
	next, events, err := runs.Fold(other, nil, runs.Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_ENDED, Time: s.desk.Now, State: jv1.RunState_RUN_STATE_SUPERSEDED,
		Message: "run " + by + " of " + s.plan.Msg.GetName() + " needed the service while this one waited for a human",
	})
	if err != nil {
		return fmt.Errorf("supersede run %s: %w", other.GetName(), err)
	}
	mine := store.Txn{}
	putRun(&mine, next, events, s.desk.Now)
	txn.Then = append(txn.Then, mine.Then...)
	return nil
}

// serviceOf is the service a start is for: the given one, or the runbook's only one.
func serviceOf(plan *jv1.Runbook, given string) (string, error) {
	switch {
	case given == "" && len(plan.GetServices()) == 1:
		return plan.GetServices()[0], nil
	case given == "":
		return "", fmt.Errorf("runbook %s has several services, say which: %v: %w", plan.GetName(), plan.GetServices(), ErrInvalid)
	case !slices.Contains(plan.GetServices(), given):
		return "", fmt.Errorf("runbook %s is not for service %s, but for %v: %w", plan.GetName(), given, plan.GetServices(), ErrInvalid)
	}
	return given, nil
}

// Start starts a runbook for a human. A *continuity.Refusal names the guard that refuses; ErrNotFound, ErrInvalid,
// ErrBusy, ErrNoSession and the errors of the store and of package request are further ones.
func (e *Engine) Start(ctx context.Context, req *jv1.StartRunRequest) (*jv1.Run, error) {
	if req.GetMode() == jv1.RunMode_RUN_MODE_DRILL {
		return nil, fmt.Errorf("drills are not available in this version: use mode dry_run: %w", ErrInvalid)
	}
	actor := audit.From(ctx).Principal
	guard, err := request.Begin(ctx, e.o.Store, actor, req.GetRequestId(), req, e.o.Now())
	if err != nil {
		return nil, err
	}
	if name, again := guard.Result(); again {
		return e.lookup(ctx, name)
	}
	session, _, err := e.current()
	if err != nil {
		return nil, err
	}
	if e.full() {
		return nil, ErrBusy
	}
	for range maxTries {
		v, err := e.decideStart(session, req, actor)
		switch {
		case err != nil:
			return nil, err
		case v.refusal != nil:
			return nil, v.refusal
		case req.GetValidateOnly():
			return v.turn.run, nil
		}
		v.txn.Then = append(v.txn.Then, audit.Op(ctx, v.turn.desk.Now, audit.Change{
			Target: "runs/" + v.run, Reason: req.GetReason(), Details: map[string]string{"runbook": req.GetRunbook(), "service": v.turn.run.GetService()},
		}))
		guard.Guard(&v.txn, v.run)
		res, err := e.create(ctx, session, v.turn, v.txn)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", req.GetRunbook(), err)
		}
		if res.Committed {
			out := proto.CloneOf(v.turn.run)
			out.Revision = res.Revision
			return out, nil
		}
		if err := e.o.Store.WaitRevision(ctx, res.Revision); err != nil {
			return nil, err
		}
		// A compare that failed may be the request's: somebody else may have carried it out.
		if guard, err = request.Begin(ctx, e.o.Store, actor, req.GetRequestId(), req, e.o.Now()); err != nil {
			return nil, err
		}
		if name, again := guard.Result(); again {
			return e.lookup(ctx, name)
		}
	}
	return nil, continuity.Refuse(continuity.Contended, "the facts changed %d times while it was decided; try again", maxTries)
}

func (e *Engine) decideStart(session *store.Session, req *jv1.StartRunRequest, actor string) (v verdict, err error) {
	e.o.Store.Read(func(view store.View) {
		plan := store.Get[*jv1.Runbook](view, store.RunbookKey(req.GetRunbook()))
		if plan.Msg == nil {
			err = fmt.Errorf("runbook %s: %w", req.GetRunbook(), ErrNotFound)
			return
		}
		if what := foreign(plan.Msg); what != "" {
			err = fmt.Errorf("runbook %s has %s, which this version does not know: ask a replica of a newer one: %w", req.GetRunbook(), what, ErrNotPossible)
			return
		}
		service, serr := serviceOf(plan.Msg, req.GetService())
		if err = errors.Join(serr, checkParameters(view, plan.Msg, service, req.GetParameters())); err != nil {
			return
		}
		s := &start{
			e: e, session: session, plan: plan, desk: continuity.Open(view, service, e.o.Now()), mode: req.GetMode(),
			params: req.GetParameters(), reason: req.GetReason(), actor: actor,
		}
		if s.mode == jv1.RunMode_RUN_MODE_UNSPECIFIED {
			s.mode = jv1.RunMode_RUN_MODE_LIVE
		}
		v, err = s.decide()
	})
	return v, err
}

// lookup returns the run of that name, also when it is archived.
func (e *Engine) lookup(ctx context.Context, name string) (*jv1.Run, error) {
	run, err := recorded[*jv1.Run](ctx, e.o.Store, store.RunKey(name), name, archive.Run)
	switch {
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", name, err)
	case run.Msg == nil:
		return nil, fmt.Errorf("run %s: %w", name, ErrNotFound)
	}
	return stamped(run), nil
}

// recorded reads a record from the mirror, or else from the archive. A nil message: it is in neither.
func recorded[M proto.Message](ctx context.Context, s *store.Store, key, name string,
	archived func(context.Context, *store.Store, string) (store.Record[M], error),
) (rec store.Record[M], err error) {
	s.Read(func(v store.View) { rec = store.Get[M](v, key) })
	if rec.Mod != 0 {
		return rec, nil
	}
	return archived(ctx, s, name)
}

func (e *Engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.executors) >= e.o.MaxRuns
}
