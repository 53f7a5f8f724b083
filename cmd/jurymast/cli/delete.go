package cli

import (
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) deleteCommand() *cobra.Command {
	req := &jv1.DeleteRequest{}
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete KIND/NAME",
		Short: "Remove a provider, service, detector, channel, runbook, schedule, maintenance window or the settings",
		Long: "Remove a provider, service, detector, channel, runbook, schedule or maintenance window; of the settings, all that is\n" +
			"not the default. What something else still refers to is not removed. The name is asked for once more, unless with\n" +
			"--yes.",
		Example: examples(
			"jurymast delete runbook/old-one", "asks for the name",
			"jurymast delete detector chat-probe --yes", "doesn't ask",
			"jurymast delete service/chat --dry-run", "only says whether it could be removed",
		),
		GroupID:           GroupDeclare,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeKindNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, names, err := kindAndNames(args)
			if err != nil {
				return err
			}
			k, ok := kindOf(kind)
			switch {
			case !ok:
				return usage("there is no kind %q to delete; there are %s", kind, strings.Join(kindNames(), ", "))
			case len(names) != 1:
				return usage("want one NAME of a %s, as the next command may depend on this one", k.name)
			}
			req.Kind, req.Name, req.RequestId = k.name, names[0], requestID()
			if !yes && !req.GetValidateOnly() {
				if err := a.confirm("This removes the "+k.name+" "+names[0]+".", names[0]); err != nil {
					return err
				}
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.Delete(cmd.Context(), req)
			if err != nil {
				return err
			}
			verb := "deleted"
			if req.GetValidateOnly() {
				verb = "could be deleted"
			}
			return a.did(res, named{k.name, names[0]}, verb)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask for confirmation")
	cmd.Flags().BoolVar(&req.ValidateOnly, "dry-run", false, "only check, remove nothing")
	cmd.Flags().Int64Var(&req.ExpectedRevision, "expected-revision", 0, "refuse unless this is the stored `revision`")
	return cmd
}
