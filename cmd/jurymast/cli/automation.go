package cli

import (
	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) automationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "automation",
		Short: "Show, stop or restart what the machines do by themselves",
		Long:  "Show, stop or restart what the machines do by themselves. Humans are never stopped.",
		Example: examples(
			"jurymast automation", "the switches",
			"jurymast automation off --reason 'network maintenance'", "stop the machines everywhere",
			"jurymast automation on chat --reason 'done'", "restart them for one service",
		),
		GroupID: GroupSteer,
	}
	cmd = a.group(cmd)
	unknown := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		api, err := a.api()
		if err != nil {
			return err
		}
		res, err := api.GetAutomation(cmd.Context(), &jv1.GetAutomationRequest{})
		if err != nil {
			return err
		}
		return a.showAutomation(res)
	}
	cmd.AddCommand(a.automationSwitchCommand(true), a.automationSwitchCommand(false))
	return cmd
}

func (a *App) showAutomation(res *jv1.GetAutomationResponse) error {
	t := &table{columns: []column{
		{title: "SERVICE"}, {title: "AUTOMATION", tint: tintState}, {title: "BY"}, {title: "REASON", elastic: true}, {title: "AGE"},
	}}
	var names []named
	for _, x := range res.GetAutomation() {
		service := x.GetService()
		if service == "" {
			service = "(all)"
		}
		t.add(service, onOff(x.GetOn()), dash(x.GetActor()), dash(x.GetReason()), a.moment(x.GetTime()))
		names = append(names, named{"automation", service})
	}
	return a.show(result{
		message: res, names: names,
		text: func() error { return a.showTable(t, "Automation is on; no switch was ever touched.") },
	})
}

func (a *App) automationSwitchCommand(on bool) *cobra.Command {
	req := &jv1.SetAutomationRequest{On: on}
	verb := map[bool]string{true: "Let the machines act again", false: "Stop the machines"}[on]
	cmd := &cobra.Command{
		Use:     onOff(on) + " [SERVICE] --reason TEXT",
		Short:   verb + ", everywhere or for one service",
		Example: examples("jurymast automation "+onOff(on)+" --reason '...'", "everywhere", "jurymast automation "+onOff(on)+" chat --reason '...'", "for one service"),
		Args:    atMostArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			where := named{"automation", "(all)"}
			if len(args) == 1 {
				req.Service = args[0]
				where = named{"service", args[0]}
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.SetAutomation(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.did(res, where, "automation "+onOff(res.GetOn()))
		},
	}
	reasonFlag(cmd, &req.Reason)
	return cmd
}
