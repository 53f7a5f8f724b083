package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) signalCommand() *cobra.Command {
	req := &jv1.SetOperatorSignalRequest{}
	var validFor time.Duration
	cmd := &cobra.Command{
		Use:   "signal SERVICE PROVIDER failing|ok|withdraw --reason TEXT",
		Short: "Say yourself that a provider fails or serves; your word suffices alone",
		Long: "Say yourself that a provider fails or serves. An operator's word suffices alone: `failing` starts what a failing\n" +
			"provider starts. It counts for --for and ends with `withdraw`.",
		Example: examples(
			"jurymast signal chat openai failing --reason 'answers are garbage' --for 2h", "start what a failing provider starts",
			"jurymast signal chat openai withdraw --reason 'fixed'", "leave it to the detectors again",
		),
		GroupID: GroupSteer,
		Args:    exactArgs("SERVICE", "PROVIDER", "STATE"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 2 {
				return []string{"failing", "ok", "withdraw"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeServiceProvider(cmd, args, part)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service, req.Provider = args[0], args[1]
			state, ok := map[string]jv1.SignalState{
				"failing":  jv1.SignalState_SIGNAL_STATE_FAILING,
				"ok":       jv1.SignalState_SIGNAL_STATE_OK,
				"withdraw": jv1.SignalState_SIGNAL_STATE_UNKNOWN,
			}[args[2]]
			if !ok {
				return usage("%q: want failing, ok or withdraw", args[2])
			}
			req.State = state
			if validFor < 0 {
				return usage("--for must not be negative")
			}
			if validFor > 0 {
				req.ValidFor = durationpb.New(validFor)
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.SetOperatorSignal(cmd.Context(), req)
			if err != nil {
				return err
			}
			verb := "said to be " + args[2]
			switch {
			case args[2] == "withdraw":
				verb = "left to the detectors"
			case validFor > 0:
				verb += " for " + age(validFor)
			}
			return a.did(res, named{"provider", req.GetProvider()}, fmt.Sprintf("of %s %s", req.GetService(), verb))
		},
	}
	reasonFlag(cmd, &req.Reason)
	cmd.Flags().DurationVar(&validFor, "for", 0, "how long the word counts, 1s to 720h; zero: the server's default, 4h")
	return cmd
}
