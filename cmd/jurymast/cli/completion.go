package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) completionCommand() *cobra.Command {
	shells := map[string]func(root *cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(a.Stdout, true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(a.Stdout) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(a.Stdout, true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(a.Stdout) },
	}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the completion of a shell; names are asked of the server",
		Example: examples(
			"source <(jurymast completion bash)", "in this bash",
			"jurymast completion zsh > \"${fpath[1]}/_jurymast\"", "in every zsh",
			"jurymast completion fish > ~/.config/fish/completions/jurymast.fish", "in every fish",
		),
		GroupID: GroupTools,
		Args:    exactArgs("SHELL"), ValidArgs: sortedKeys(shells),
		RunE: func(cmd *cobra.Command, args []string) error {
			generate := shells[args[0]]
			if generate == nil {
				return usage("%q: want %s", args[0], strings.Join(sortedKeys(shells), ", "))
			}
			return generate(cmd.Root())
		},
	}
}

// completionTimeout bounds what a shell waits for after a Tab.
const completionTimeout = 2 * time.Second

type completer = func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective)

// complete makes a completion of the first argument from names that the server gives. A server that doesn't answer
// completes nothing.
func (a *App) complete(names func(ctx context.Context, api *api) ([]string, error)) completer {
	return a.completeAt(0, func(ctx context.Context, api *api, _ []string) ([]string, error) { return names(ctx, api) })
}

func (a *App) completeAt(position int, names func(ctx context.Context, api *api, args []string) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		if len(args) != position {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		api, err := a.api()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list, err := names(ctx, api, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(list, func(n string) bool { return !strings.HasPrefix(n, part) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *App) completeServices(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.complete(serviceNames)(cmd, args, part)
}

func serviceNames(ctx context.Context, api *api) ([]string, error) {
	res, err := api.ListContinuity(ctx, &jv1.ListContinuityRequest{})
	var out []string
	for _, s := range res.GetStates() {
		out = append(out, s.GetService())
	}
	return out, err
}

// completeServiceProvider completes a service, then one of its providers.
func (a *App) completeServiceProvider(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeServices(cmd, args, part)
	}
	return a.completeAt(1, func(ctx context.Context, api *api, args []string) ([]string, error) {
		res, err := api.GetContinuity(ctx, &jv1.GetContinuityRequest{Service: args[0]})
		return res.GetState().GetProviders(), err
	})(cmd, args, part)
}

func (a *App) completeRunbooks(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, api *api) ([]string, error) {
		res, err := api.ListRunbooks(ctx, &jv1.ListRunbooksRequest{PageSize: maxPage})
		var out []string
		for _, r := range res.GetRunbooks() {
			out = append(out, r.GetName())
		}
		return out, err
	})(cmd, args, part)
}

func (a *App) completeRuns(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, api *api) ([]string, error) { return runNames(ctx, api, false) })(cmd, args, part)
}

func (a *App) completeLiveRuns(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, api *api) ([]string, error) { return runNames(ctx, api, true) })(cmd, args, part)
}

func runNames(ctx context.Context, api *api, live bool) ([]string, error) {
	res, err := api.ListRuns(ctx, &jv1.ListRunsRequest{Live: live, PageSize: 100})
	var out []string
	for _, r := range res.GetRuns() {
		out = append(out, r.GetName()+"\t"+r.GetRunbook()+" for "+r.GetService()+", "+word(r.GetState()))
	}
	return out, err
}

func (a *App) completeContexts(_ *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	file, err := a.loadContexts()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, c := range file.Contexts {
		if strings.HasPrefix(c.Name, part) {
			out = append(out, c.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
