package runs

import (
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

const (
	running      = jv1.RunState_RUN_STATE_RUNNING
	waiting      = jv1.RunState_RUN_STATE_WAITING
	compensating = jv1.RunState_RUN_STATE_COMPENSATING
)

// Table says in which states of a run each kind of event may happen. A run that has ended takes none.
var Table = map[jv1.RunEventKind][]jv1.RunState{
	jv1.RunEventKind_RUN_EVENT_KIND_CLAIMED:             {running, waiting, compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_INTENT:              {running},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING:        {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_SUCCEEDED:      {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_ATTEMPT_FAILED:      {running},
	jv1.RunEventKind_RUN_EVENT_KIND_CHECKED:             {running},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_FAILED:         {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_SKIPPED:        {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_CANCELED:       {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_RETRY_REQUESTED:     {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_OUTCOME_UNKNOWN:     {running},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_COMPENSATED:    {compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_UNDO_INTENT:         {compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_UNDO_ATTEMPT_FAILED: {compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_UNDO_FAILED:         {compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_WAITING:             {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_DECIDED:             {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_PAUSE_REQUESTED:     {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_RESUMED:             {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_CANCEL_REQUESTED:    {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_ATTACHED:            {running, waiting, compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_COMPENSATING:        {running, waiting},
	jv1.RunEventKind_RUN_EVENT_KIND_ENDED:               {running, waiting, compensating},
	jv1.RunEventKind_RUN_EVENT_KIND_CANDIDATE_FAILED:    {running},
	jv1.RunEventKind_RUN_EVENT_KIND_CONDITION_CHANGED:   {running},
	jv1.RunEventKind_RUN_EVENT_KIND_STEP_SLOW:           {running},
	jv1.RunEventKind_RUN_EVENT_KIND_ESCALATED:           {running, waiting},
}

// Allowed tells whether an event of the kind may happen in the state.
func Allowed(state jv1.RunState, kind jv1.RunEventKind) bool {
	return slices.Contains(Table[kind], state)
}

// Ended tells whether the state is a last one.
func Ended(state jv1.RunState) bool {
	switch state {
	case jv1.RunState_RUN_STATE_SUCCEEDED, jv1.RunState_RUN_STATE_FAILED,
		jv1.RunState_RUN_STATE_CANCELED, jv1.RunState_RUN_STATE_SUPERSEDED:
		return true
	default:
		return false
	}
}

// StepEnded tells whether a step has ended.
func StepEnded(state jv1.StepState) bool {
	switch state {
	case jv1.StepState_STEP_STATE_SUCCEEDED, jv1.StepState_STEP_STATE_FAILED, jv1.StepState_STEP_STATE_SKIPPED,
		jv1.StepState_STEP_STATE_COMPENSATED, jv1.StepState_STEP_STATE_CANCELED:
		return true
	default:
		return false
	}
}

// WaitsForHuman tells whether a run may be superseded: it waits for a human and acts on nothing (protocol P4).
func WaitsForHuman(run *jv1.Run) bool { return run.GetState() == waiting }
