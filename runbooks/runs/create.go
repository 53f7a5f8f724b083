package runs

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

// DefaultTimeout is how long a run may act when its runbook does not say.
const DefaultTimeout = 24 * time.Hour

// Start is what a run is created from.
type Start struct {
	// Name is the id of the run.
	Name string
	// Tree is the normalised runbook revision with those that it runs.
	Tree *runbooks.Tree
	// Service, and Provider with Generation when the health of one caused it.
	Service    string
	Provider   string
	Generation int64
	Mode       jv1.RunMode
	Parameters map[string]string
	// Trigger that started it; empty for a human's start.
	Trigger string
	Reason  string
	Actor   string
	// Onset is when the first failure was seen; zero: unknown.
	Onset time.Time
	Owner *jv1.Owner
	Now   time.Time
}

// New returns the record of a run that has just been created, and its first event.
func New(s Start) (*jv1.Run, *jv1.RunEvent) {
	timeout, plan := DefaultTimeout, s.Tree.Plan()
	if d := plan.GetTimeout(); d != nil {
		timeout = d.AsDuration()
	}
	mode := s.Mode
	if mode == jv1.RunMode_RUN_MODE_UNSPECIFIED {
		mode = jv1.RunMode_RUN_MODE_LIVE
	}
	run := &jv1.Run{
		Name: s.Name, Runbook: plan.GetName(), RunbookVersion: plan.GetVersion(), Included: s.Tree.Included, Service: s.Service,
		Provider: s.Provider, Generation: s.Generation, Mode: mode, State: running, Trigger: s.Trigger,
		Parameters: s.Parameters, Reason: s.Reason, Actor: s.Actor, Owner: s.Owner,
		CreateTime: timestamppb.New(s.Now), Deadline: timestamppb.New(s.Now.Add(timeout)),
	}
	if !s.Onset.IsZero() {
		run.Onset = timestamppb.New(s.Onset)
	}
	for _, n := range s.Tree.Nodes {
		step := &jv1.StepRun{Id: n.ID, Kind: runbooks.StepKind(n.Step), State: jv1.StepState_STEP_STATE_PENDING}
		if n.Parent >= 0 {
			step.Parent = s.Tree.Nodes[n.Parent].ID
		}
		run.Steps = append(run.Steps, step)
	}
	ev := record(run, Event{
		Kind: jv1.RunEventKind_RUN_EVENT_KIND_CREATED, Time: s.Now, Actor: s.Actor, Message: s.Reason, Trigger: s.Trigger, Owner: s.Owner,
	})
	return run, ev
}
