package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) switchCommand() *cobra.Command {
	req := &jv1.SwitchProviderRequest{}
	var yes bool
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   "switch SERVICE PROVIDER --reason TEXT",
		Short: "Make a provider the active one",
		Long: "Make a provider the active one, through the guards: it must be healthy, capable and proven. --break-glass goes past\n" +
			"them; that is recorded, shown to everybody, and wants the service's name typed. Machines leave the service alone\n" +
			"from then on, until somebody undoes it, switches through the guards, or acknowledges (ack).",
		Example: examples(
			"jurymast switch chat azure-eu --reason 'openai is down'", "through the guards",
			"jurymast switch chat azure-eu --reason test --dry-run", "only ask the guards",
			"jurymast switch chat azure-eu --reason 'status page lies' --break-glass --wait", "past the guards, and wait until it is in force everywhere",
		),
		GroupID: GroupSteer,
		Args:    exactArgs("SERVICE", "PROVIDER"), ValidArgsFunction: a.completeServiceProvider,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service, req.Provider, req.RequestId = args[0], args[1], requestID()
			if req.GetBreakGlass() && !req.GetValidateOnly() && !yes {
				if err := a.confirm("This switches "+req.GetService()+" to "+req.GetProvider()+" past every guard.", req.GetService()); err != nil {
					return err
				}
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			st, err := api.SwitchProvider(cmd.Context(), req)
			if err != nil {
				return a.adviseBreakGlass(err, req)
			}
			if req.GetValidateOnly() {
				return a.did(st, named{"service", req.GetService()}, "could be switched to "+req.GetProvider())
			}
			return a.routeChanged(cmd.Context(), st, "switched to "+st.GetActiveProvider(), wait)
		},
	}
	reasonFlag(cmd, &req.Reason)
	cmd.Flags().BoolVar(&req.BreakGlass, "break-glass", false, "past the guards")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask for confirmation")
	cmd.Flags().BoolVar(&req.ValidateOnly, "dry-run", false, "only check the guards, switch nothing")
	cmd.Flags().Int64Var(&req.ExpectedEpoch, "expected-epoch", 0, "refuse unless this is the present `epoch`")
	wait.register(cmd, "wait until the change is in force at everybody who follows the service")
	return cmd
}

// adviseBreakGlass adds to a guard's refusal that a human may overrule it.
func (a *App) adviseBreakGlass(err error, req *jv1.SwitchProviderRequest) error {
	if codeOf(err) == ExitConflict && !req.GetBreakGlass() && guardOf(err) != "" {
		printFailure(a.Stderr, err)
		a.say("  --break-glass goes past the guards")
		return Exit(ExitConflict, nil)
	}
	return err
}

// confirm lets the user type a word before something that is hard to take back.
func (a *App) confirm(what, word string) error {
	fmt.Fprintf(a.Stderr, "%s\nType %s to go on: ", what, word)
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if strings.TrimSpace(line) == word {
		return nil
	}
	if err != nil {
		fmt.Fprintln(a.Stderr)
		return usage("not confirmed; without a terminal give --yes")
	}
	return usage("not confirmed")
}

// routeChanged shows a state that a human changed and, if asked, waits until it is in force.
func (a *App) routeChanged(ctx context.Context, st *jv1.ContinuityState, verb string, wait waitFlags) error {
	if wait.wait {
		after, err := a.waitInForce(ctx, st, wait)
		if err != nil {
			return err
		}
		st = after
		verb += ", in force " + inForce(st)
	}
	return a.did(st, named{"service", st.GetService()}, fmt.Sprintf("%s (epoch %d)", verb, st.GetEpoch()))
}

const inForcePoll = 200 * time.Millisecond

// waitInForce waits until everybody who reports has the epoch of a state, or a later one.
func (a *App) waitInForce(ctx context.Context, st *jv1.ContinuityState, wait waitFlags) (*jv1.ContinuityState, error) {
	ctx, cancel := wait.bound(ctx)
	defer cancel()
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(inForcePoll)
	defer tick.Stop()
	last := st
	for {
		res, err := api.GetContinuity(ctx, &jv1.GetContinuityRequest{Service: st.GetService()})
		switch {
		case err == nil:
			last = res.GetState()
			if len(lagging(last, st.GetEpoch())) == 0 {
				return last, nil
			}
		case ctx.Err() == nil && !passing(err):
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err := fmt.Errorf("it is switched and stored, but not in force yet at %s", strings.Join(subscribers(lagging(last, st.GetEpoch())), ", "))
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, Exit(ExitUnavailable, err)
			}
			return nil, err
		}
	}
}

func (a *App) undoCommand() *cobra.Command {
	req := &jv1.UndoRequest{}
	var wait waitFlags
	cmd := &cobra.Command{
		Use:     "undo SERVICE --reason TEXT",
		Short:   "Take the last switch of a service back, through the guards",
		Example: examples("jurymast undo chat --reason 'it was not openai'", "back to the provider before"),
		GroupID: GroupSteer,
		Args:    exactArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service = args[0]
			api, err := a.api()
			if err != nil {
				return err
			}
			// Undo means the switch that the human sees now, not one that a machine makes in the meantime.
			if req.GetExpectedEpoch() == 0 {
				res, err := api.GetContinuity(cmd.Context(), &jv1.GetContinuityRequest{Service: req.GetService()})
				if err != nil {
					return err
				}
				req.ExpectedEpoch = res.GetState().GetEpoch()
			}
			st, err := api.Undo(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.routeChanged(cmd.Context(), st, "back on "+st.GetActiveProvider(), wait)
		},
	}
	reasonFlag(cmd, &req.Reason)
	cmd.Flags().Int64Var(&req.ExpectedEpoch, "expected-epoch", 0, "refuse unless this is the present `epoch`; by default the one that stands when the command begins")
	wait.register(cmd, "wait until the change is in force at everybody who follows the service")
	return cmd
}

func (a *App) queueCommand() *cobra.Command {
	cmd := a.group(&cobra.Command{
		Use: "queue", Short: "Switch queueing of a service on or off",
		Example: examples(
			"jurymast queue on chat --reason 'nobody serves'", "hold requests instead of refusing them",
			"jurymast queue off chat --reason 'openai is back'", "serve again",
		),
		GroupID: GroupSteer,
	})
	for _, on := range []bool{true, false} {
		cmd.AddCommand(a.queueSwitchCommand(on))
	}
	return cmd
}

func (a *App) queueSwitchCommand(on bool) *cobra.Command {
	req := &jv1.SetQueueingRequest{On: on}
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   onOff(on) + " SERVICE --reason TEXT",
		Short: "Switch queueing " + onOff(on),
		Args:  exactArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		Example: examples("jurymast queue "+onOff(on)+" chat --reason '...'", "for one service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service, req.RequestId = args[0], requestID()
			api, err := a.api()
			if err != nil {
				return err
			}
			st, err := api.SetQueueing(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.routeChanged(cmd.Context(), st, "queueing "+onOff(st.GetQueueing()), wait)
		},
	}
	reasonFlag(cmd, &req.Reason)
	cmd.Flags().Int64Var(&req.ExpectedEpoch, "expected-epoch", 0, "refuse unless this is the present `epoch`")
	wait.register(cmd, "wait until the change is in force at everybody who follows the service")
	return cmd
}

func (a *App) ackCommand() *cobra.Command {
	req := &jv1.AcknowledgeRequest{}
	cmd := &cobra.Command{
		Use:     "ack SERVICE --reason TEXT",
		Aliases: []string{"acknowledge"},
		Short:   "Clear the cooldowns of a service and the mark of a break-glass, so that its runbooks may start again",
		Example: examples("jurymast ack chat --reason 'looked at it, let it act again'", "after a run that ended"),
		GroupID: GroupSteer,
		Args:    exactArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service = args[0]
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.Acknowledge(cmd.Context(), req)
			if err != nil {
				return err
			}
			verb := "acknowledged; no cooldown was running"
			if n := res.GetCleared(); len(n) > 0 {
				verb = "acknowledged; may start again: " + strings.Join(n, ", ")
			}
			if res.GetBreakGlass() {
				verb += "; the break-glass is lifted: machines may switch again"
			}
			return a.did(res, named{"service", req.GetService()}, verb)
		},
	}
	reasonFlag(cmd, &req.Reason)
	return cmd
}
