package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) triggerCommand() *cobra.Command {
	req := &jv1.FireTriggerRequest{}
	var params []string
	var expireIn time.Duration
	cmd := &cobra.Command{
		Use:   "trigger SERVICE --reason TEXT",
		Short: "Ask for the runbooks that a failing provider starts",
		Long: "Ask for the runbooks that a failing provider starts, or for one of them. What a guard holds back stays, is tried\n" +
			"again, and is explained by `jurymast why-not`, until the outage is over, or for an hour where there is none.",
		Example: examples(
			"jurymast trigger chat --reason 'customers complain'", "all that fit, for the active provider",
			"jurymast trigger chat --runbook ai-provider-outage -p region=eu --reason 'customers complain'", "one, with a parameter",
		),
		GroupID: GroupSteer,
		Args:    exactArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			req.Service, req.RequestId = args[0], requestID()
			if req.Parameters, err = parameters(params); err != nil {
				return err
			}
			if expireIn < 0 {
				return usage("--expire-in must be more than 0")
			}
			if expireIn > 0 {
				req.ExpireIn = durationpb.New(expireIn)
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			t, err := api.FireTrigger(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.show(result{
				message: t, names: []named{{"trigger", t.GetName()}},
				text: func() error {
					if err := a.printf("trigger/%s stored, %s\n", t.GetName(), word(t.GetState())); err != nil {
						return err
					}
					for _, o := range t.GetOutcomes() {
						if err := a.printf("  %s\n", outcomeText(o)); err != nil {
							return err
						}
					}
					return nil
				},
			})
		},
	}
	reasonFlag(cmd, &req.Reason)
	cmd.Flags().StringVar(&req.Provider, "provider", "", "provider that is said to fail; by default the active one")
	cmd.Flags().StringVar(&req.Runbook, "runbook", "", "only this runbook")
	cmd.Flags().DurationVar(&expireIn, "expire-in", 0, "how long it is wanted when a guard holds it back; zero: until the outage is over, or 1h where there is none")
	cmd.Flags().StringArrayVarP(&params, "param", "p", nil, "parameter as `name=value`; may be repeated")
	return cmd
}

// outcomeText says what became of a runbook for a trigger.
func outcomeText(o *jv1.TriggerOutcome) string {
	text := o.GetRunbook() + " " + word(o.GetState())
	if o.GetRun() != "" {
		text += " run/" + o.GetRun()
	}
	if o.GetGuard() != "" {
		text += " by " + o.GetGuard()
	}
	return strings.TrimSuffix(text+": "+oneLine(o.GetDetail()), ": ")
}

func (a *App) whyNotCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "why-not SERVICE",
		Short:   "Explain what holds the runbooks of a service back",
		Example: examples("jurymast why-not chat", "every runbook and cause, with what would change it"),
		GroupID: GroupLook,
		Args:    exactArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.WhyNot(cmd.Context(), &jv1.WhyNotRequest{Service: args[0]})
			if err != nil {
				return err
			}
			var names []named
			for _, e := range res.GetEntries() {
				names = append(names, named{"runbook", e.GetRunbook()})
			}
			return a.show(result{message: res, names: names, text: func() error {
				if len(res.GetEntries()) == 0 {
					a.say("Nothing is held back, and no runbook waits for anything.")
				}
				for _, e := range res.GetEntries() {
					head := a.paint.as(tintBold, dash(e.GetRunbook())) + "  " + a.paint.as(tintDoubt, e.GetReason()) + "  " + sinceText(a, e)
					if err := a.printf("%s\n", strings.TrimRight(head, " ")); err != nil {
						return err
					}
					for _, l := range fold(oneLine(e.GetExplanation()), screen-2) {
						if err := a.printf("  %s\n", l); err != nil {
							return err
						}
					}
				}
				return nil
			}})
		},
	}
}

func sinceText(a *App, e *jv1.WhyNotEntry) string {
	var parts []string
	if e.GetSince().IsValid() {
		parts = append(parts, "since "+a.moment(e.GetSince()))
	}
	if e.GetTrigger() != "" {
		parts = append(parts, "trigger "+e.GetTrigger())
	}
	return strings.Join(parts, ", ")
}

// fold breaks a text into lines of at most width letters, between words.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(w)) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+w, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
