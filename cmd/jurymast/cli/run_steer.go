package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// did shows that a change was made: `kind/name verb`.
func (a *App) did(m proto.Message, what named, verb string) error {
	return a.show(result{
		message: m, names: []named{what},
		text: func() error { return a.printf("%s/%s %s\n", what.kind, what.name, verb) },
	})
}

// steering is what is common to the commands that change a run.
type steering struct {
	use, short string
	example    []string
	verb       string
	group      string
	// step says that a step of the run may be named.
	step bool
	// settled tells whether what was asked has come true. The record that answers a request is the one in which the wish
	// was stored; what became of it is known a moment later. Nil: it is true at once.
	settled func(run *jv1.Run) bool
	flags   func(cmd *cobra.Command)
	act     func(ctx context.Context, api *api, run *jv1.Run, at at) (*jv1.Run, error)
}

// at is what a human gives with a command that changes a run.
type at struct{ step, reason string }

func (a *App) steerCommand(s steering) *cobra.Command {
	var reason string
	var wait waitFlags
	operands, check := " RUN", exactArgs("RUN")
	if s.step {
		operands, check = " RUN [STEP]", cobra.MatchAll(minArgs("RUN"), atMostArgs("RUN", "STEP"))
	}
	cmd := &cobra.Command{
		Use: s.use + operands + " --reason TEXT", Short: s.short, Example: examples(s.example...), GroupID: s.group,
		Args: check, ValidArgsFunction: a.completeLiveRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			with := at{reason: reason}
			if len(args) > 1 {
				with.step = args[1]
			}
			after, err := s.act(cmd.Context(), api, run, with)
			if err != nil {
				return err
			}
			if !wait.wait {
				after = a.settle(cmd.Context(), after, s.settled, wait)
				return a.did(after, named{"run", after.GetName()}, s.verb+standing(after, s.settled))
			}
			a.say("run/%s %s", after.GetName(), s.verb)
			return a.waitForRun(cmd.Context(), after.GetName(), wait)
		},
	}
	reasonFlag(cmd, &reason)
	wait.register(cmd, "wait until the run ends or waits for a human again; the exit status says which")
	if s.flags != nil {
		s.flags(cmd)
	}
	return cmd
}

// settleTime is how long a command that steers a run waits to say what became of it.
const settleTime = 3 * time.Second

// settle watches a run until what was asked of it has come true, but not for long: the request is stored, and the
// command says so either way.
func (a *App) settle(ctx context.Context, run *jv1.Run, settled func(*jv1.Run) bool, wait waitFlags) *jv1.Run {
	if settled == nil || settled(run) {
		return run
	}
	most := settleTime
	if wait.timeout > 0 {
		most = min(most, wait.timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	api, err := a.api()
	if err != nil {
		return run
	}
	stream, err := api.WatchRuns(ctx, &jv1.WatchRunsRequest{Name: run.GetName()})
	if err != nil {
		return run
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return run
		}
		// A replica that lags behind shows the run as it was before.
		if r := msg.GetRun(); msg.GetEvent() == jv1.WatchEvent_WATCH_EVENT_PUT && r.GetRevision() >= run.GetRevision() {
			if run = r; settled(run) {
				return run
			}
		}
	}
}

// standing says where a run stands after it was steered.
func standing(run *jv1.Run, settled func(*jv1.Run) bool) string {
	state := word(run.GetState())
	if settled == nil || settled(run) {
		return ", now " + state
	}
	return fmt.Sprintf("; it is still %s: jurymast run watch %s", state, run.GetName())
}

func (a *App) runCancelCommand() *cobra.Command {
	return a.steerCommand(steering{
		use: "cancel", short: "End a run; what it did is undone where the runbook says so", verb: "cancel requested", settled: ended,
		example: []string{"jurymast run cancel 7f3k2m --reason 'false alarm'", "by the end of its id"},
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			return api.CancelRun(ctx, &jv1.CancelRunRequest{Name: run.GetName(), Reason: with.reason})
		},
	})
}

func (a *App) runPauseCommand() *cobra.Command {
	return a.steerCommand(steering{
		use: "pause", short: "Hold a run before its next step", verb: "pause requested",
		settled: func(run *jv1.Run) bool { return run.GetState() == jv1.RunState_RUN_STATE_WAITING || ended(run) },
		example: []string{"jurymast run pause 7f3k2m --reason 'let me look first'", "by the end of its id"},
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			return api.PauseRun(ctx, &jv1.PauseRunRequest{Name: run.GetName(), Reason: with.reason})
		},
	})
}

func (a *App) runResumeCommand() *cobra.Command {
	var outcome string
	return a.steerCommand(steering{
		use: "resume", step: true, short: "Let a run go on that is paused or doesn't know what became of a call", verb: "resumed",
		example: []string{
			"jurymast run resume 7f3k2m --reason 'looked at it'", "a paused one",
			"jurymast run resume 7f3k2m --outcome succeeded --reason 'the job is there'", "one whose call had no known end",
		},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&outcome, "outcome", "", "what became of the `call`: succeeded, failed, or repeat it with the same key")
		},
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			decision, ok := map[string]jv1.OutcomeDecision{
				"":          jv1.OutcomeDecision_OUTCOME_DECISION_UNSPECIFIED,
				"succeeded": jv1.OutcomeDecision_OUTCOME_DECISION_SUCCEEDED,
				"failed":    jv1.OutcomeDecision_OUTCOME_DECISION_FAILED,
				"repeat":    jv1.OutcomeDecision_OUTCOME_DECISION_REPEAT,
			}[outcome]
			switch {
			case !ok:
				return nil, usage("--outcome is %q, want succeeded, failed or repeat", outcome)
			case outcome == "" && with.step == "" && run.GetWait() == jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
				return nil, usage("the run doesn't know what became of a call; find out and say it with --outcome succeeded, failed or repeat")
			}
			return api.ResumeRun(ctx, &jv1.ResumeRunRequest{Name: run.GetName(), Step: with.step, Reason: with.reason, Outcome: decision})
		},
	})
}

// What a human approves is the question as it stood when they asked for it, so the decision is bound to that revision:
// a run that went on meanwhile and asks something else is not approved by accident.
func (a *App) decideCommand(use, short, verb string, approve bool, example ...string) *cobra.Command {
	var settled func(*jv1.Run) bool
	if !approve {
		settled = ended
	}
	return a.steerCommand(steering{
		use: use, step: true, short: short, verb: verb, group: GroupSteer, example: example, settled: settled,
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			if question := questionOf(run, with.step); question != "" {
				a.say("%s for %s asks: %s", run.GetRunbook(), run.GetService(), oneLine(question))
			}
			return api.DecideRun(ctx, &jv1.DecideRunRequest{
				Name: run.GetName(), Step: with.step, Approve: approve, Comment: with.reason, ExpectedRevision: run.GetRevision(),
			})
		},
	})
}

// questionOf is what a run asks a human to approve, by a step or as a whole.
func questionOf(run *jv1.Run, step string) string {
	for _, s := range runs.Waiting(run) {
		if runs.WaitOf(run, s) == jv1.RunWait_RUN_WAIT_APPROVAL && (step == "" || step == s.GetId()) && s.GetWaitText() != "" {
			return s.GetWaitText()
		}
	}
	if run.GetWait() == jv1.RunWait_RUN_WAIT_APPROVAL {
		return waitText(run)
	}
	return ""
}

func (a *App) runSkipCommand() *cobra.Command {
	return a.steerCommand(steering{
		use: "skip", step: true, short: "Have a run go on without a step that waits", verb: "step skipped",
		example: []string{
			"jurymast run skip 7f3k2m --reason 'the status page is down, too'", "the only step that can be skipped now",
			"jurymast run skip 7f3k2m soak --reason 'it is proven'", "one of several",
		},
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			return api.SkipStep(ctx, &jv1.SkipStepRequest{Name: run.GetName(), Step: with.step, Reason: with.reason})
		},
	})
}

func (a *App) runRetryCommand() *cobra.Command {
	return a.steerCommand(steering{
		use: "retry", step: true, short: "Make the next attempt of a step at once, or begin a failed one anew", verb: "retry requested",
		example: []string{
			"jurymast run retry 7f3k2m --reason 'the receiver is back'", "the only step that can be retried now",
			"jurymast run retry 7f3k2m ticket --reason 'the receiver is back'", "one of several",
		},
		act: func(ctx context.Context, api *api, run *jv1.Run, with at) (*jv1.Run, error) {
			return api.RetryStep(ctx, &jv1.RetryStepRequest{Name: run.GetName(), Step: with.step, Reason: with.reason})
		},
	})
}

func (a *App) approveCommand() *cobra.Command {
	return a.decideCommand("approve", "Let a run do what it asks", "approved", true,
		"jurymast approve 7f3k2m --reason 'azure-eu has room'", "by the end of its id, as `jurymast status` shows it",
		"jurymast approve 7f3k2m --reason 'azure-eu has room' --wait", "and see it through")
}

func (a *App) rejectCommand() *cobra.Command {
	return a.decideCommand("reject", "Don't let a run do what it asks; that ends it", "rejected", false,
		"jurymast reject 7f3k2m --reason 'openai is back already'", "by the end of its id, as `jurymast status` shows it")
}
