package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// waitFlags are those of commands that can wait.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) register(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, what)
	w.registerTimeout(cmd)
}

func (w *waitFlags) registerTimeout(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "longest wait for the end; zero: as long as it takes")
}

// bound returns a context that ends after the timeout, if there is one.
func (w *waitFlags) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, w.timeout)
}

func (a *App) runWatchCommand() *cobra.Command {
	var wait waitFlags
	cmd := &cobra.Command{
		Use:     "watch RUN",
		Aliases: []string{"follow"},
		Short:   "Follow a run until it ends",
		Long: "Follow a run until it ends: what happened, then what happens. The exit status is that of the run. Ctrl-C ends the\n" +
			"command and leaves the run as it is.",
		Example: examples("jurymast run watch 7f3k2m", "by the end of its id"),
		Args:    exactArgs("RUN"), ValidArgsFunction: a.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			events := a.Stdout
			if a.out != outputTable && a.out != outputWide {
				events = a.Stderr
			}
			ctx, cancel := wait.bound(cmd.Context())
			defer cancel()
			run, err = a.followRun(ctx, run.GetName(), following{events: events})
			if err != nil {
				return a.detached(cmd.Context(), args[0], err)
			}
			return a.showEnd(run, events == a.Stdout)
		},
	}
	wait.registerTimeout(cmd)
	return cmd
}

// waitForRun follows a run to its end, or to where it waits for a human, with what happens on standard error.
func (a *App) waitForRun(ctx context.Context, id string, wait waitFlags) error {
	bounded, cancel := wait.bound(ctx)
	defer cancel()
	run, err := a.followRun(bounded, id, following{events: a.Stderr, untilWaiting: true})
	if err != nil {
		return a.detached(ctx, id, err)
	}
	return a.showEnd(run, false)
}

// detached says how to go on after following a run was ended from this side.
func (a *App) detached(ctx context.Context, id string, err error) error {
	switch {
	case interrupted(ctx):
		a.say("detached; the run goes on.\n  follow it:  jurymast run watch %s\n  end it:     jurymast run cancel %s --reason '...'", id, id)
		return Exit(ExitInterrupted, nil)
	case errors.Is(err, context.DeadlineExceeded):
		return Exit(ExitUnavailable, fmt.Errorf("the run has not ended within --timeout; it goes on: jurymast run watch %s", id))
	default:
		return err
	}
}

// showEnd shows how a run ended, or that it waits, and returns the error that stands for it.
func (a *App) showEnd(run *jv1.Run, told bool) error {
	summary := fmt.Sprintf("run/%s %s", run.GetName(), word(run.GetState()))
	if t := took(run); t != "" {
		summary += " after " + t
	}
	if text := oneLine(run.GetOutcome()); text != "" {
		summary += ": " + text
	}
	if run.GetState() == jv1.RunState_RUN_STATE_WAITING {
		summary += ": " + oneLine(waitText(run))
	}
	if err := a.show(result{
		message: run, names: []named{{"run", run.GetName()}},
		text: func() error {
			if told {
				summary = a.paint.as(tintState(word(run.GetState())), summary)
			}
			return a.printf("%s\n", summary)
		},
	}); err != nil {
		return err
	}
	switch run.GetState() {
	case jv1.RunState_RUN_STATE_FAILED:
		return Exit(ExitRunFailed, nil)
	case jv1.RunState_RUN_STATE_CANCELED, jv1.RunState_RUN_STATE_SUPERSEDED:
		return Exit(ExitCanceled, nil)
	case jv1.RunState_RUN_STATE_WAITING:
		for _, c := range answers(run, run.GetName()) {
			a.say("  %s", c)
		}
		return Exit(ExitWaiting, nil)
	default:
		return nil
	}
}

// following is how a run is followed.
type following struct {
	// events is where what happens is told.
	events io.Writer
	// untilWaiting: a wait for a human ends it, too.
	untilWaiting bool

	cursor string
	last   int64 // number of the last event that was told
	asked  string
}

const (
	followAgainAfter = 200 * time.Millisecond
	followAgainMost  = 3 * time.Second
)

// followRun tells what happens in a run until it ends. It survives the loss of a server: the stream is resumed at any
// of them.
func (a *App) followRun(ctx context.Context, id string, f following) (*jv1.Run, error) {
	wait, lost := followAgainAfter, false
	for {
		run, heard, err := a.followOnce(ctx, id, &f)
		if err == nil && run != nil {
			return run, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil && !passing(err) {
			return nil, err
		}
		if heard {
			wait, lost = followAgainAfter, false
		}
		if !lost {
			a.say("lost the server, trying again: %s", tidy(err.Error()))
			lost = true
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		wait = min(2*wait, followAgainMost)
	}
}

// passing tells an error that another try may not meet.
func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.Aborted:
		return true
	default:
		return false
	}
}

// followOnce follows over one stream. It returns the run when it came to its end.
func (a *App) followOnce(ctx context.Context, id string, f *following) (run *jv1.Run, heard bool, err error) {
	api, err := a.api()
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.WatchRuns(ctx, &jv1.WatchRunsRequest{Name: id, Cursor: f.cursor})
	if err != nil {
		return nil, false, err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return nil, heard, err
		}
		heard = true
		if msg.GetCursor() != "" {
			f.cursor = msg.GetCursor()
		}
		switch msg.GetEvent() {
		case jv1.WatchEvent_WATCH_EVENT_RESET:
			f.cursor = ""
		case jv1.WatchEvent_WATCH_EVENT_DELETE:
			// It may have ended so long ago that it is archived: then it is still shown.
			run, err := api.GetRun(ctx, &jv1.GetRunRequest{Name: id})
			if err == nil && ended(run) {
				return run, heard, a.tellEvents(ctx, run, f)
			}
			return nil, heard, Exit(ExitNotFound, fmt.Errorf("run %s was removed", id))
		case jv1.WatchEvent_WATCH_EVENT_PUT:
			if err := a.tellEvents(ctx, msg.GetRun(), f); err != nil {
				return nil, heard, err
			}
			if done := a.judgeRun(msg.GetRun(), f); done {
				return msg.GetRun(), heard, nil
			}
		}
	}
}

func (a *App) tellEvents(ctx context.Context, run *jv1.Run, f *following) error {
	if run.GetLastEvent() <= f.last {
		return nil
	}
	events, err := a.runEvents(ctx, run.GetName(), f.last)
	if err != nil {
		return err
	}
	for _, e := range events {
		if _, err := io.WriteString(f.events, a.eventLine(run, e)); err != nil {
			return fmt.Errorf("writing the output: %w", err)
		}
		f.last = max(f.last, e.GetSequence())
	}
	return nil
}

// judgeRun tells whether there is nothing more to follow. A question to the human is told once; one that a wish to cancel
// has answered is none.
func (a *App) judgeRun(run *jv1.Run, f *following) (done bool) {
	if ended(run) {
		return true
	}
	if run.GetState() != jv1.RunState_RUN_STATE_WAITING || run.GetCancelRequested() {
		f.asked = ""
		return false
	}
	if f.untilWaiting {
		return true
	}
	if question := word(run.GetWait()) + run.GetWaitText(); question != f.asked {
		f.asked = question
		a.say("it waits for you: %s", oneLine(waitText(run)))
		for _, c := range answers(run, run.GetName()) {
			a.say("  %s", c)
		}
	}
	return false
}

func ended(run *jv1.Run) bool {
	switch run.GetState() {
	case jv1.RunState_RUN_STATE_SUCCEEDED, jv1.RunState_RUN_STATE_FAILED, jv1.RunState_RUN_STATE_CANCELED, jv1.RunState_RUN_STATE_SUPERSEDED:
		return true
	default:
		return false
	}
}
