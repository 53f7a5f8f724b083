package runs

import (
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Event is something that happened in a run, with what the record keeps of it. Only the fields its kind uses are read.
type Event struct {
	// Kind is what happened.
	Kind jv1.RunEventKind
	// Step is the id of the step; empty for the run itself.
	Step string
	// Time is when, by the clock of the replica that records it.
	Time time.Time
	// Actor is who did it; empty: Jurymast itself.
	Actor string
	// Message is the event in words.
	Message string
	// Details are facts for people and machines. May be nil.
	Details map[string]string

	// AttemptID and Key are the new attempt's, with INTENT.
	AttemptID, Key string
	// Attempt is what became of the attempt, where the kind alone does not tell: a call that failed and may have been
	// carried out, a step that failed after its call was; and with CHECKED what the receiver said. Unspecified: as the
	// kind tells.
	Attempt jv1.AttemptState
	// Output is merged into the step's output.
	Output map[string]string
	// Error is what went wrong, with failures.
	Error string
	// Wake is when the step is looked at again; zero: not at a certain time.
	Wake time.Time
	// Deadline is when the step fails if it has not ended; zero leaves what is there.
	Deadline time.Time
	// Undo is what a state step replaced.
	Undo *jv1.Undo
	// Candidate is the candidate of a switch that was given up.
	Candidate string
	// Decision is what a human said.
	Decision *jv1.Decision
	// Wait is what the run waits for a human for, with WAITING; the attention a reminder repeats.
	Wait jv1.RunWait
	// State is how the run ended, with ENDED, or is to end, with COMPENSATING.
	State jv1.RunState
	// Owner is the new owner, with CREATED and CLAIMED.
	Owner *jv1.Owner
	// Trigger is the attached trigger, with ATTACHED.
	Trigger string
	// Restored says that service is restored by this step's success.
	Restored bool
}
